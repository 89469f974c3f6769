"""Wall-clock and compilation time of the named stages of a run."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache

import jax
import numpy as np

# what JAX does to a function before its first run: tracing, lowering, compiling
COMPILATION = tuple(
    f"/jax/core/compile/{stage}_duration"
    for stage in ("jaxpr_trace", "jaxpr_to_mlir_module", "backend_compile")
)


class Stopwatch:
    """Wall-clock seconds of named stages; prints each stage on stderr as it begins."""

    def __init__(self, quiet: bool) -> None:
        self.quiet = quiet
        self.seconds: dict[str, float] = {}  # stage -> wall-clock time [s]
        self.compiled: dict[str, float] = {}  # stage -> part of it spent compiling [s]
        _compilations()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage; a stage of the same name adds to the first one."""
        if not self.quiet and stage not in self.seconds:
            # in one piece: two threads may begin a stage at a time
            sys.stderr.write(f"{stage} ...\n")
            sys.stderr.flush()
        start, before = time.perf_counter(), len(_compilations())
        yield
        compiled = union_length(_compilations()[before:])
        self._add(self.seconds, stage, time.perf_counter() - start)
        self._add(self.compiled, stage, compiled)

    def _add(self, clock: dict[str, float], stage: str, seconds: float) -> None:
        clock[stage] = round(clock.get(stage, 0.0) + seconds, 3)


@cache
def _compilations() -> list[tuple[float, float]]:
    """Begin and end of all compilations of this process from the first call on."""
    spans: list[tuple[float, float]] = []

    def record(event: str, duration_secs: float, **_: str | int) -> None:
        if event in COMPILATION:
            now = time.perf_counter()
            spans.append((now - duration_secs, now))

    jax.monitoring.register_event_duration_secs_listener(record)
    return spans


def union_length(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals: one function is traced inside another."""
    total, reached = 0.0, -np.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total
