"""What all parts of the benchmark share: clocks, curves and the peers' processes.

Every time is a pair, wall-clock seconds and CPU seconds of the process with all its
threads: on a busy machine only the second one measures the work.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

NOT_RUN = "not run"
REPEATS = 5
PEERS = Path(__file__).parents[1] / "benchmarks" / "peers"


class Seconds(NamedTuple):
    """A stretch of time."""

    seconds: float  # wall clock
    cpu_seconds: float  # of the process, all threads


class Clock:
    """Time since it was made; stopped inside `with`."""

    def __init__(self):
        self.start = np.zeros(2)
        self.start = np.array(self.read())

    def read(self) -> Seconds:
        """Time so far."""
        now = np.array([time.perf_counter(), time.process_time()])
        return Seconds(*(now - self.start).tolist())

    def __enter__(self):
        self.paused = np.array(self.read())

    def __exit__(self, *_):
        self.start += np.array(self.read()) - self.paused


def measure(function: Callable[[], Any], repeats: int = REPEATS) -> dict:
    """Median time of warm calls, and what the first call took longer: compilation."""
    clock = Clock()
    jax.block_until_ready(function())
    first = clock.read()
    times = []
    for _ in range(repeats):
        clock = Clock()
        jax.block_until_ready(function())
        times.append(clock.read())
    warm = Seconds(*np.median(times, axis=0).tolist())
    return warm._asdict() | {
        "compile_seconds": max(0.0, first.seconds - warm.seconds),
        "compile_cpu_seconds": max(0.0, first.cpu_seconds - warm.cpu_seconds),
        "repeats": repeats,
    }


def first_time(curve: list[dict], name: str, beats: Callable[[float], bool]):
    """The first entry of a curve whose value `name` beats the goal, or None."""
    return next((entry for entry in curve if beats(entry[name])), None)


def ratio(ours: dict | None, peer: dict | None) -> dict | str:
    """How many times sooner ours was, by wall clock and by CPU seconds."""
    if ours is None or peer is None:
        return NOT_RUN if peer is None else "goal not reached"
    return {k: peer[k] / ours[k] for k in Seconds._fields}


def has_peer(python: Path | None, module: str) -> bool:
    """Whether the peers' Python is there and has the module."""
    if python is None:
        return False
    try:
        found = subprocess.run([python, "-c", f"import {module}"], capture_output=True)
    except OSError:
        return False
    return found.returncode == 0


def run_peer(python: Path, script: str, out: Path, *flags: Any) -> dict:
    """Run a script of benchmarks/peers/ in its own Python; return its JSON.

    Raises:
        OSError: it failed; says where its output is.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    log = out.with_suffix(".log")
    command = [python, PEERS / script, "--out", out, *flags]
    with open(log, "w") as file:
        done = subprocess.run(
            [str(word) for word in command], stdout=file, stderr=subprocess.STDOUT
        )
    if done.returncode != 0:
        raise OSError(f"{script} failed: its output is in {log}.")
    return json.loads(out.read_text())


def load_average() -> float:
    """Processes that wanted a core in the last minute."""
    return round(os.getloadavg()[0], 2)
