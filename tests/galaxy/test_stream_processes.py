"""A large table in several processes, on several devices, and after SIGKILL."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from functools import cache

import numpy as np
import pytest
from astropy.table import Table

from chemsbi_jax.compute.devices import join_processes
from helpers.paths import EXAMPLE

METHODS = ("gaussian", "flow")


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


@pytest.mark.thorough
@SUBPROCESS
def test_two_devices_give_what_one_gives(method, alone, table):
    found, _ = result(start(table, method, setup=TWO_DEVICES))
    assert (alone(method)[0], found[0]) == (1, 2)
    # the flow's first grid differs by rounding
    for ours, theirs in zip(found[2:], alone(method)[2:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-9)


@pytest.mark.thorough
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
