"""Large tables in the main script, shown with small ones."""

import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from test_infer import EXAMPLE, ROOT, load_script

import chemsbi_jax as cs
from chemsbi_jax.galaxy.amortised import resume as progress
from chemsbi_jax.galaxy.amortised import stream
from chemsbi_jax.results.stopwatch import Stopwatch

N_STARS = 90


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "few.csv"
    Table.read(EXAMPLE, format="ascii.ecsv")[:N_STARS].write(path, format="ascii.csv")
    return path


@pytest.fixture
def infer(monkeypatch):
    """The script, to which 90 stars are many and 40 few."""
    script = load_script("infer")
    monkeypatch.setattr(script.infer_stream, "STREAM_FROM", 50)
    monkeypatch.setattr(script.infer_stream, "MAX_EXACT", 45)
    monkeypatch.setattr(script.infer_stream, "N_CHECKED", 40)
    monkeypatch.setattr(script.infer_stream, "N_PREFIXES", 20)
    return script


class Stop(Exception):
    """Stands for whatever ends a run."""


@pytest.mark.slow
def test_all_stars_count_and_some_are_checked(
    infer, table, tmp_path, monkeypatch, capsys
):
    config = infer.Config(table, tmp_path / "out", seed=3, weights="tng")
    progress_file = config.out / "progress.json"
    monkeypatch.setattr(progress, "SAVE_EVERY", 0.0)
    save = stream.save_state

    def stop(path, settings, state):
        save(path, settings, state)
        raise Stop

    monkeypatch.setattr(stream, "save_state", stop)
    with pytest.raises(Stop):
        infer.main(config)
    assert progress_file.exists()
    monkeypatch.setattr(stream, "save_state", save)
    summary = infer.main(config)
    assert "Resuming at block 1 of pass 1" in capsys.readouterr().err
    assert not progress_file.exists()
    assert summary["n_stars"] == summary["n_used"] == N_STARS
    assert summary["checks"]["subset"]["n_stars"] == 40
    assert summary["checks"]["subset"]["of"] == N_STARS
    assert summary["method"] == "flow"
    # the result is that of all stars
    loaded = infer.load(config, cs.read_stars(table))
    key = infer.jax.random.split(infer.jax.random.key(config.seed), 3)[0]
    whole = infer.infer(key, loaded, "flow", quiet=True)
    found = np.array([summary[name]["mean"] for name in cs.PARAMETERS[:2]])
    sd = np.sqrt(np.diag(whole.covariance))
    np.testing.assert_allclose((found - whole.mean) / sd, 0.0, atol=0.01)
    assert len(list(config.out.glob("*.png"))) == 4
    assert np.abs(summary["checks"]["methods_differ_sigma_of_all"]).max() < 2.0


def test_an_interval_narrower_than_the_method_is_told(infer):
    warn = infer.infer_stream.warn_of_subset
    checks = {"subset": {"n_stars": 40}, "methods_differ_sigma_of_all": [0.5, -7.0]}
    (text,) = warn(checks)
    assert "40 of the stars" in text
    assert "-7.0 sigma" in text
    assert warn(checks | {"methods_differ_sigma_of_all": [0.5, -1.0]}) == []
    assert warn({}) == []


@pytest.mark.slow
def test_an_alarm_of_many_stars_has_the_exact_method_beside(
    infer, table, tmp_path, monkeypatch
):
    odd = Table.read(table)
    odd["mg_fe"] += 0.2
    odd.write(tmp_path / "odd.csv", format="ascii.csv")
    monkeypatch.setattr(infer.infer_stream, "N_EXACT", 30)
    config = infer.Config(
        tmp_path / "odd.csv", tmp_path / "out", quiet=True, weights="tng"
    )
    summary = infer.main(config)
    assert summary["checks"]["model_fit"]["flagged"]
    assert summary["method"] == "flow"
    assert summary["n_used"] == N_STARS
    exact = summary["checks"]["exact_subset"]
    assert exact["n_stars"] == 30
    assert exact["alpha_imf"]["sd"] > summary["alpha_imf"]["sd"]
    assert any(
        "30 of the stars, drawn at random" in text for text in summary["warnings"]
    )


def test_random_rows_keep_their_order(infer, table):
    stars = cs.read_stars(table)
    key = infer.jax.random.key(0)
    some = infer.infer_stream.some_stars(key, stars, 25)
    rows = np.searchsorted(stars.ids.astype(int), some.ids.astype(int))
    assert len(set(rows)) == 25
    assert (np.diff(rows) > 0).all()
    assert rows.max() > 60  # not the first ones
    np.testing.assert_array_equal(some.values, stars.values[rows])
    assert infer.infer_stream.some_stars(key, stars, N_STARS) is stars


@pytest.mark.parametrize("flags", [{"robust": True}, {"method": "exact"}])
def test_several_processes_refuse_what_one_runs(infer, table, tmp_path, flags):
    config = infer.Config(table, tmp_path, n_processes=2, quiet=True, **flags)
    with pytest.raises(ValueError, match="auto, flow or gaussian for several"):
        infer.main(config)


@pytest.mark.slow
def test_two_processes_write_what_one_writes(table, tmp_path):
    with socket.socket() as probe:  # a port that is free now
        probe.bind(("localhost", 0))
        address = f"localhost:{probe.getsockname()[1]}"

    def start(out, *flags):
        script = [sys.executable, "experiments/infer.py", table, "--quiet"]
        script += ["--method", "flow"]  # by default process 0 takes so few alone
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


def test_quiet_is_silent(infer, table, tmp_path, capsys):
    config = infer.Config(table, tmp_path, method="gaussian", quiet=True)
    loaded = infer.load(config, cs.read_stars(table))
    with Stopwatch(True)("inference"):
        infer.infer_stream.infer_all(
            infer.jax.random.key(0), loaded, "gaussian", config
        )
    assert capsys.readouterr() == ("", "")
    loud = infer.Config(table, tmp_path, method="gaussian")
    infer.infer_stream.infer_all(infer.jax.random.key(0), loaded, "gaussian", loud)
    assert "1/1" in capsys.readouterr().err
