"""Large tables in `infer`, shown with small ones and other limits."""

import json
import os
import socket
import subprocess
import sys

import jax
import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.cli.flags import InferFlags
from chemsbi_jax.cli.infer import main as run_command
from chemsbi_jax.galaxy.amortised import resume, stream
from chemsbi_jax.galaxy.automatic import first_answer, some_stars
from chemsbi_jax.results.warnings import of_subset
from helpers import linear_galaxy
from helpers.paths import EXAMPLE, ROOT

N_STARS = 90
# 90 stars are many, and 40 few
LIMITS = cs.Limits(
    stream_from=50, max_exact=45, n_checked=40, n_prefixes=20, n_exact=30, n_robust=10
)


@pytest.fixture(scope="module")
def networks():
    return linear_galaxy.networks()


@pytest.fixture(scope="module")
def stars():
    return linear_galaxy.make_stars(N_STARS)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "few.csv"
    Table.read(EXAMPLE, format="ascii.ecsv")[:N_STARS].write(path, format="ascii.csv")
    return path


class Stop(Exception):
    """Stands for whatever ends a run."""


@pytest.fixture(scope="module")
def large(networks, stars):
    return cs.infer(stars, networks=networks, seed=3, quiet=True, limits=LIMITS)


def test_all_stars_count_and_some_are_checked(large, stars, tmp_path):
    mean, covariance = linear_galaxy.closed_form(stars)
    sd = np.sqrt(np.diag(covariance))
    assert large.posterior.method == "flow"
    # the mean score of 2^17 model stars has noise, and the grid is 1 % wide
    np.testing.assert_allclose((large.posterior.mean - mean) / sd, 0.0, atol=0.05)
    assert (large.n_stars, large.n_used) == (N_STARS, N_STARS)
    assert (large.checks.subset.n_stars, large.checks.subset.of) == (40, N_STARS)
    assert len(large.stars.values) == 40
    assert set(large.others) == {"gaussian, 40 stars"}
    assert np.abs(large.checks.methods_differ_sigma_of_all).max() < 2.0
    n, means, _ = large.prefixes
    np.testing.assert_array_equal(n, [1, 2, 5, 10, 20, N_STARS])
    np.testing.assert_array_equal(means[-1], large.posterior.mean)
    summary = large.save(tmp_path)
    assert "40 of 90 stars" in summary["checks"]["subset"]["text"]
    assert len(list(tmp_path.glob("*.png"))) == 4


@pytest.mark.thorough
def test_an_interrupted_call_resumes(
    large, networks, stars, tmp_path, monkeypatch, capsys
):
    path = tmp_path / "progress.json"
    monkeypatch.setattr(resume, "SAVE_EVERY", 0.0)
    save = stream.save_state

    def stop(path, settings, state):
        save(path, settings, state)
        raise Stop

    def run():
        return cs.infer(
            stars, networks=networks, seed=3, limits=LIMITS, checkpoint=path
        )

    monkeypatch.setattr(stream, "save_state", stop)
    with pytest.raises(Stop):
        run()
    assert path.exists()
    monkeypatch.setattr(stream, "save_state", save)
    again = run()
    assert "block 1 of pass 1" in capsys.readouterr().err
    np.testing.assert_array_equal(again.posterior.mean, large.posterior.mean)


def test_an_interval_narrower_than_the_method_is_reported():
    checks = {"subset": {"n_stars": 40}, "methods_differ_sigma_of_all": [0.5, -7.0]}
    (text,) = of_subset(checks)
    assert "40 of the stars" in text
    assert "-7.0 sigma" in text
    assert of_subset(checks | {"methods_differ_sigma_of_all": [0.5, -1.0]}) == []
    assert of_subset({}) == []


@pytest.mark.thorough
def test_an_alarm_of_many_stars_has_the_exact_method_beside(networks, stars):
    # 0.1 dex in an abundance on which no parameter acts: an offset that all stars share
    odd = stars._replace(values=stars.values + 0.1 * np.eye(8)[2])
    found = cs.infer(odd, networks=networks, quiet=True, limits=LIMITS)
    assert found.checks.model_fit.flagged
    assert found.posterior.method == "flow"
    assert found.n_used == N_STARS
    exact = found.checks.exact_subset
    assert exact["n_stars"] == 30
    assert exact["alpha_imf"]["sd"] > found.posterior.sd[0]
    assert any("30 of the stars, drawn at random" in text for text in found.warnings)
    assert "robust, 10 stars" in found.others


def test_random_rows_keep_their_order(stars):
    key = jax.random.key(0)
    some = some_stars(key, stars, 25)
    rows = np.searchsorted(stars.ids.astype(int), some.ids.astype(int))
    assert len(set(rows)) == 25
    assert (np.diff(rows) > 0).all()
    assert rows.max() > 60  # not the first ones
    np.testing.assert_array_equal(some.values, stars.values[rows])
    assert some_stars(key, stars, N_STARS) is stars


@pytest.mark.parametrize("flags", [{"robust": True}, {"method": "exact"}])
def test_several_processes_refuse_what_one_runs(table, tmp_path, flags):
    config = InferFlags(table, tmp_path, n_processes=2, quiet=True, **flags)
    with pytest.raises(ValueError, match="auto, flow or gaussian for several"):
        run_command(config)


@pytest.mark.slow
def test_the_command_cleans_up_its_checkpoint(table, tmp_path):
    config = InferFlags(table, tmp_path / "out", seed=3, weights="tng", quiet=True)
    summary = run_command(config, LIMITS)
    assert not (config.out / "progress.json").exists()
    assert summary["n_stars"] == summary["n_used"] == N_STARS
    assert summary["checks"]["subset"]["n_stars"] == 40
    # the result is that of all stars
    npe, forward = cs.load_networks("tng")
    whole = cs.infer_galaxy(
        jax.random.key(5), npe, cs.read_stars(table), "flow", forward=forward
    )
    found = np.array([summary[name]["mean"] for name in cs.PARAMETERS[:2]])
    # other random numbers for the mean score: 0.02 sigma of 1000 stars
    np.testing.assert_allclose((found - whole.mean) / whole.sd, 0.0, atol=0.05)


def test_quiet_is_silent(networks, stars, capsys):
    def run(quiet):
        key = jax.random.key(0)
        first_answer(key, networks, stars, "gaussian", LIMITS, quiet=quiet)
        return capsys.readouterr()

    assert run(quiet=True) == ("", "")
    assert "1/1" in run(quiet=False).err


@pytest.mark.slow
def test_two_processes_write_what_one_writes(table, tmp_path):
    with socket.socket() as probe:  # a port that is free now
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"

    def start(out, *flags):
        script = [sys.executable, "experiments/infer.py", table, "--quiet"]
        script += [
            "--method",
            "flow",
            "--fast",
        ]  # by default process 0 takes so few alone
        return subprocess.Popen(
            [*script, "--weights", "tng", "--out", tmp_path / out, *flags],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip

    flags = ("--coordinator", address, "--n-processes", "2", "--process-id")
    both = [start("two", *flags, "0"), start("other", *flags, "1")]
    assert [process.wait(timeout=600) for process in both] == [0, 0]
    assert not (tmp_path / "other").exists()
    assert start("one").wait(timeout=600) == 0
    one, two = (
        json.loads((tmp_path / out / "summary.json").read_text())
        for out in ("one", "two")
    )
    for name in cs.PARAMETERS[:2]:
        for word in ("mean", "sd"):
            # the grids differ between the stream and the whole table
            assert two[name][word] == pytest.approx(one[name][word], rel=1e-3)
    assert two["n_stars"] == N_STARS
