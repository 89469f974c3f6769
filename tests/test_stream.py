"""Many stars block by block: what one call gives, however it is cut up."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import cache

import jax
import numpy as np
import pytest
from astropy.table import Table
from scripts_of_tests import EXAMPLE
from test_galaxy import exact_npe, exact_posterior, exact_stars  # noqa: F401

import chemsbi_jax as cs
from chemsbi_jax.compute.devices import join_processes
from chemsbi_jax.galaxy import infer as galaxy_module
from chemsbi_jax.galaxy.amortised import resume as progress
from chemsbi_jax.galaxy.amortised import stream
from chemsbi_jax.galaxy.amortised.stream import stream_galaxy

KEY = jax.random.key(1)
METHODS = ("gaussian", "flow")


def shift_and_width(one, two):
    """Difference in units of the width, and ratio of the widths less one."""
    sd, other = (np.sqrt(np.diag(g.covariance)) for g in (one, two))
    return np.abs(two.mean - one.mean).max() / sd.min(), np.abs(other / sd - 1.0).max()


@pytest.mark.parametrize("n", [1, 32, 333])
@pytest.mark.parametrize("method", METHODS)
def test_gives_what_infer_galaxy_gives(method, n, exact_npe):  # noqa: F811
    stars = exact_stars((-2.1, -2.6), n)
    whole = cs.infer_galaxy(KEY, exact_npe, stars, method)
    found = stream_galaxy(KEY, exact_npe, stars, method, block=64)
    shift, width = shift_and_width(whole, found)
    # the flow's grids differ: its moments have an error of 1e-3
    assert max(shift, width) < (1e-4 if method == "gaussian" else 3e-3)
    assert found.method == method
    assert found.draws.shape == (4000, 2)


@pytest.mark.parametrize("method", METHODS)
def test_the_block_does_not_matter(method, exact_npe):  # noqa: F811
    stars = exact_stars((-2.1, -2.6), 333)
    found = [
        stream_galaxy(KEY, exact_npe, stars, method, block=b) for b in (32, 96, 512)
    ]
    for other in found[1:]:
        # chunks of 32 stars are the same; their sums differ in float64
        np.testing.assert_allclose(other.mean, found[0].mean, rtol=1e-12)
        np.testing.assert_allclose(other.covariance, found[0].covariance, rtol=1e-9)


def test_first_grid_from_a_part_of_a_sorted_table(exact_npe, monkeypatch):  # noqa: F811
    """The part is drawn from all rows, and the grid narrows down to all stars."""
    stars = exact_stars((-2.1, -2.6), 4000)
    order = np.argsort(stars.values[:, 0])
    stars = stars.take(order)
    monkeypatch.setattr(stream, "GUESS_STARS", 32)
    found = stream_galaxy(KEY, exact_npe, stars)
    mean, covariance = exact_posterior(stars)
    sd = np.sqrt(np.diag(covariance))
    assert (np.abs(found.mean - mean) / sd).max() < 0.005
    widths = np.sqrt(np.diag(found.covariance)) / sd
    np.testing.assert_allclose(widths, 1.0, atol=0.005)
    assert 3 <= found.checks["passes"] <= 6
    assert found.checks["mass_at_edge"] < 1e-6


def test_many_stars_go_through_the_stream(exact_npe, monkeypatch):  # noqa: F811
    stars = exact_stars((-2.1, -2.6), 50)
    assert "passes" not in cs.infer_galaxy(KEY, exact_npe, stars).checks
    monkeypatch.setattr(galaxy_module, "STREAM_FROM", 49)
    assert "passes" in cs.infer_galaxy(KEY, exact_npe, stars).checks


@pytest.mark.parametrize("method", METHODS)
def test_no_new_trace_for_another_number(method, exact_npe, caplog):  # noqa: F811
    many = exact_stars((-2.1, -2.6), 400)
    stream_galaxy(KEY, exact_npe, many, method, block=128)
    with jax.log_compiles(), caplog.at_level("WARNING", logger="jax"):
        for n in (201, 399):
            part = many.take(slice(None, n))
            # the first grid has the few lengths of infer_galaxy
            stream_galaxy(KEY, exact_npe, part, method, block=128)
        compiled = [r.message for r in caplog.records if "Compiling" in r.message]
    assert [c for c in compiled if "sums" in c] == []


def test_unknown_method(exact_npe):  # noqa: F811
    with pytest.raises(ValueError, match="Expected method flow or gaussian; got 'exa"):
        stream_galaxy(KEY, exact_npe, exact_stars((-2.1, -2.6), 3), "exact")


# --- interruptions


class Stop(Exception):
    """Stands for whatever ends a run."""


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("stop_at", [1, 4, 7])
def test_goes_on_to_the_same_bits(method, stop_at, exact_npe, tmp_path, monkeypatch):  # noqa: F811
    stars = exact_stars((-2.1, -2.6), 333)  # six blocks; 7 is in the second pass
    whole = stream_galaxy(KEY, exact_npe, stars, method, block=64)
    monkeypatch.setattr(progress, "SAVE_EVERY", 0.0)
    seen = []

    def counted(blocks, i, end=None, load=stream.Blocks.__call__):
        seen.append(i)
        if len(seen) > stop_at and end is None:
            raise Stop
        return load(blocks, i)

    call = stream.Blocks.__call__
    monkeypatch.setattr(stream.Blocks, "__call__", counted)
    path = tmp_path / "progress"

    def run():
        return stream_galaxy(KEY, exact_npe, stars, method, checkpoint=path, block=64)

    stops = method == "flow" or stop_at < 6
    if stops:
        with pytest.raises(Stop):
            run()
    else:
        run()
    monkeypatch.setattr(stream.Blocks, "__call__", call)
    n_blocks = count_blocks(monkeypatch)
    again = run()
    if method == "gaussian":
        assert len(n_blocks) == max(6 - stop_at, 0)
    np.testing.assert_array_equal(again.draws, whole.draws)
    np.testing.assert_array_equal(again.mean, whole.mean)
    np.testing.assert_array_equal(again.covariance, whole.covariance)
    n_blocks.clear()
    run()
    assert n_blocks == []  # complete


def count_blocks(monkeypatch) -> list:
    seen, call = [], stream.Blocks.__call__
    monkeypatch.setattr(
        stream.Blocks, "__call__", lambda b, i: seen.append(i) or call(b, i)
    )
    return seen


def test_other_settings_start_anew(exact_npe, tmp_path, monkeypatch, capsys):  # noqa: F811
    stars = exact_stars((-2.1, -2.6), 100)
    path = tmp_path / "progress"
    values = stars.values.copy()
    values[50, 3] += 1e-3
    other_npe = jax.tree.map(lambda x: x, exact_npe)
    root = other_npe.galaxy_flow.root
    object.__setattr__(other_npe.galaxy_flow, "root", root * 1.001)

    def run(key=KEY, npe=exact_npe, table=stars, method="gaussian"):
        stream_galaxy(key, npe, table, method, checkpoint=path, block=32, quiet=False)
        return capsys.readouterr().err

    assert "anew" not in run()
    assert "Resuming at block 4 of pass 1" in run()
    assert "starting over" in run(key=jax.random.key(2))
    assert "starting over" in run(npe=other_npe)
    assert "starting over" in run(table=stars._replace(values=values))
    assert "starting over" in run(method="flow")
    path.write_text("half a fi")
    assert "starting over" in run()
    path.write_text(json.dumps(["no", "state"]))
    assert "starting over" in run()


SCRIPT = """
import json, sys, time
import jax, numpy as np
{setup}
import chemsbi_jax as cs
from chemsbi_jax.galaxy.amortised import stream
from chemsbi_jax.galaxy.amortised import resume as progress
progress.SAVE_EVERY = 0.0
stars = cs.read_stars({table!r})
npe = cs.load_npe("tng")
path, method, block = {path!r}, {method!r}, 32
call = stream.Blocks.__call__
def tell(blocks, i):
    print("block", i, flush=True)
    time.sleep({pause})
    return call(blocks, i)
stream.Blocks.__call__ = tell
found = stream.stream_galaxy(
    jax.random.key(1), npe, stars, method, checkpoint=path, block=block)
print(json.dumps([jax.local_device_count(), jax.process_index(),
    found.mean.tolist(), found.covariance.tolist(), found.draws[:5].tolist()]))
"""


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Some two hundred stars: seven blocks."""
    path = tmp_path_factory.mktemp("stream") / "stars.csv"
    Table.read(EXAMPLE, format="ascii.ecsv")[:222].write(path, format="ascii.csv")
    return path


def start(table, method, path=None, setup="", pause=0.0):
    text = SCRIPT.format(
        setup=setup, table=str(table), path=path and str(path), method=method,
        pause=pause,
    )  # fmt: skip
    return subprocess.Popen(
        [sys.executable, "-c", text],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )  # fmt: skip


def result(process):
    """Devices, index, and what was found."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    lines = out.splitlines()
    return json.loads(lines[-1]), [x for x in lines if x.startswith("block")]


SUBPROCESS = pytest.mark.parametrize(
    "method", ["gaussian", pytest.param("flow", marks=pytest.mark.slow)]
)
TWO_DEVICES = "jax.config.update('jax_num_cpu_devices', 2)"


@pytest.fixture(scope="module")
def alone(table):
    return cache(lambda method: result(start(table, method))[0])


@SUBPROCESS
def test_two_devices_give_what_one_gives(method, alone, table):
    found, _ = result(start(table, method, setup=TWO_DEVICES))
    assert (alone(method)[0], found[0]) == (1, 2)
    # the flow's first grid differs by rounding
    for ours, theirs in zip(found[2:], alone(method)[2:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-9)


@SUBPROCESS
def test_two_processes_give_what_one_gives(method, alone, tmp_path, table):
    with socket.socket() as probe:  # a port that is free now
        probe.bind(("localhost", 0))
        port = probe.getsockname()[1]
    both = [
        start(
            table,
            method,
            tmp_path / f"{i}",
            "from chemsbi_jax.compute.devices import join_processes\n"
            f"join_processes('localhost:{port}', 2, {i})",
        )
        for i in (0, 1)
    ]
    (one, of_one), (two, of_two) = (result(process) for process in both)
    assert (one[1], two[1]) == (0, 1)
    assert one[2:] == two[2:] == alone(method)[2:]
    assert abs(len(of_one) - len(of_two)) <= 2  # of seven blocks a pass, shared
    assert not set(of_one) & set(of_two)
    assert (tmp_path / "0").exists()
    assert not (tmp_path / "1").exists()  # only the first one writes


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("n_blocks", [1, 5, 10])
def test_kill_9_and_go_on(method, n_blocks, alone, tmp_path, table):
    """Of seven blocks a pass, and two passes of the flow."""
    path, n_done = tmp_path / "progress", n_blocks
    n_all = {"gaussian": 7, "flow": 14}[method]
    process = start(table, method, path, pause=0.05)
    for line in process.stdout:
        n_blocks -= line.startswith("block")
        if n_blocks <= 0:
            time.sleep(0.02)
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    again, blocks = result(start(table, method, path))
    assert again[2:] == alone(method)[2:]
    # all that were finished, and written, are not done again
    assert len(blocks) <= max(n_all - max(n_done - 2, 0), 0)


@pytest.mark.parametrize(
    ("coordinator", "n", "i", "says"),
    [
        ("localhost:1234", 2, 2, "process id from 0 to 1; got 2"),
        ("localhost", 2, 0, "HOST:PORT; got 'localhost'"),
        ("localhost:port", 2, 1, "HOST:PORT"),
    ],
)
def test_wrong_processes_are_refused(coordinator, n, i, says):
    with pytest.raises(ValueError, match=says):
        join_processes(coordinator, n, i)
