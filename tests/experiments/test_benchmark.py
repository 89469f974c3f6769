"""experiments/benchmark.py with tiny sizes, made-up yields and no peer."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from chemsbi_jax.constants import ABUNDANCES
from helpers.paths import ROOT, TOY


@pytest.fixture(scope="module")
def script():
    folder = str(ROOT / "experiments")
    sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(
        "benchmark_script", f"{folder}/benchmark.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["benchmark_script"] = module
    spec.loader.exec_module(module)
    yield module
    sys.path.remove(folder)


@pytest.fixture(scope="module")
def clock(script):
    return sys.modules["common.clock"]


def tiny(script, out, **more):
    sizes = dict(n_batch=8, n_stars=3, n_draws=5, budgets=(1.0,), beat_epochs=2)
    sizes |= dict(n_simulations=300, n_valid=50, emulator_epochs=2, emulator_steps=5)
    sizes |= dict(beat_steps=3, npe_batch_size=16, quiet=True)
    return script.Config(out=out, yields=str(TOY), **sizes | more)


def write_stars(folder, n):
    """Stars of a linear model, in the files of peers/make_data.py."""
    rng = np.random.default_rng(n)
    for name in ("train", "test"):
        theta = rng.normal([-2.3, -2.89, -0.3, 0.55, 0.5, 7.0], 0.02, (n, 6))
        abundances = theta @ np.linspace(-1, 1, 6 * len(ABUNDANCES)).reshape(6, -1)
        x = abundances + rng.normal(0.0, 0.05, abundances.shape)
        arrays = dict(theta=theta, abundances=abundances, x=x)
        arrays = {k: v.astype(np.float32) for k, v in arrays.items()}
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


@pytest.mark.slow
def test_every_part_without_a_peer(script, tmp_path):
    history = [
        dict(seconds=9.0, cpu_seconds=8.0, heldout_log_prob=-1e9, epochs=1),
        dict(seconds=10.0, cpu_seconds=9.0, heldout_log_prob=-2e9, epochs=2),
    ]
    sbi = tmp_path / "sbi.json"
    sbi.write_text(json.dumps({"history": history}))
    stars = write_stars(tmp_path, 200)
    config = tiny(script, tmp_path / "out", peer_data=stars, sbi_converged=sbi)
    script.main(config)
    report = json.loads((config.out / "benchmark.json").read_text())
    text = (config.out / "benchmark.md").read_text()
    parts = report["parts"]
    assert set(parts) == {"simulator", "npe", "emulator", "draws", "start"}
    runs = parts["start"]["whole"]
    first, second = runs["first run"], runs["second run"]
    start = sys.modules["benchmarks.start"]
    every = [run for runs in start.WORK for run in parts["start"][runs].values()]
    assert {run["exit_code"] for run in every} == {0}
    assert first["compiled"] > 0
    # the second run finds all programs that the first one compiled or found: the first
    # finds a program that it compiled before under another name
    n_programs = first["compiled"] + first["loaded"]
    assert (second["compiled"], second["loaded"]) == (0, n_programs)
    assert all(len(part["load_average"]) == 2 for part in parts.values())
    assert parts["npe"]["sbi"] == parts["draws"]["sbi"] == "not run"
    assert parts["emulator"]["torch"] == "not run"
    assert text.count("not run") >= 4
    assert parts["npe"]["ours"][0]["budget"] == 1.0
    assert np.isfinite(parts["npe"]["ours"][0]["heldout_log_prob"])
    beat = parts["npe"]["beat"]
    assert beat["goal"] == -1e9
    first = beat["first_better"]
    assert beat["times_sooner"]["seconds"] == pytest.approx(10.0 / first["seconds"])
    curve = parts["emulator"]["ours"]["curve"]
    assert [entry["steps"] for entry in curve] == [5, 10]
    assert all(entry["rms_paper"] > 0 and entry["rms_wide"] > 0 for entry in curve)
    assert not list(config.out.glob(".*"))


@pytest.mark.slow
def test_simulations_are_kept(script, tmp_path):
    emulator = sys.modules["benchmarks.emulator"]
    config = tiny(script, tmp_path)
    files = emulator.make_data(config, tmp_path)
    times = [f.stat().st_mtime_ns for f in files.values()]
    again = emulator.make_data(config, tmp_path)
    assert [f.stat().st_mtime_ns for f in again.values()] == times


def test_clock_stops_inside_with(clock):
    watch = clock.Clock()
    with watch:
        before = watch.read().seconds
        np.linalg.svd(np.ones((200, 200)))
        inside = watch.read().seconds - before
    after = watch.read().seconds - before
    assert 0.0 <= after < inside


def test_warm_times_leave_the_first_call_out(clock):
    calls = []
    times = clock.measure(lambda: calls.append(1), repeats=3)
    assert len(calls) == 1 + times["repeats"] == 4
    assert times["seconds"] >= 0.0
    assert times["compile_seconds"] >= 0.0


def test_goal_reached_never_or_by_no_peer(clock):
    curve = [dict(seconds=s, cpu_seconds=s / 2, rms=1 / s) for s in (1.0, 2.0, 4.0)]
    first = clock.first_time(curve, "rms", lambda x: x < 0.6)
    assert first["seconds"] == 2.0
    assert clock.first_time(curve, "rms", lambda x: x < 0.1) is None
    peer = dict(seconds=20.0, cpu_seconds=5.0)
    assert clock.ratio(first, peer) == dict(seconds=10.0, cpu_seconds=5.0)
    assert clock.ratio(None, peer) == "goal not reached"
    assert clock.ratio(first, None) == "not run"


def test_compare_takes_the_peers_best_not_its_last(script):
    compare = sys.modules["benchmarks.emulator"].compare

    def curve(*errors):
        return [
            dict(seconds=i + 1.0, cpu_seconds=i + 1.0, rms_paper=e, rms_wide=e)
            for i, e in enumerate(errors)
        ]

    report = compare(curve(0.3, 0.1), curve(0.4, 0.2, 0.25))
    assert report["paper"]["goal"] == 0.2
    assert report["paper"]["times_sooner"]["seconds"] == 1.0
    assert compare(curve(0.3), curve(0.2))["wide"]["times_sooner"] == "goal not reached"


def test_no_peer_without_its_python(clock, tmp_path):
    assert not clock.has_peer(None, "json")
    assert not clock.has_peer(tmp_path / "python", "json")
    assert not clock.has_peer(Path(sys.executable), "no_such_module_at_all")
    assert clock.has_peer(Path(sys.executable), "json")


def test_a_peer_that_fails_names_its_log(clock, tmp_path):
    with pytest.raises(OSError, match="torch.log"):
        clock.run_peer(
            Path(sys.executable), "no_such_script.py", tmp_path / "torch.json"
        )
