"""What every script shares: flags, exit codes, a stopwatch."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.tree_util import Partial
from jaxtyping import Array, Float
from tqdm import tqdm

from chemsbi_jax.artifacts import WeightsError, load_spec, weights_folder
from chemsbi_jax.devices import spread, use_all_cores
from chemsbi_jax.emulator import emulate, load_emulator
from chemsbi_jax.errors import InputError
from chemsbi_jax.npe import load_npe
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.priors import Prior, to_spec
from chemsbi_jax.results import write_summary
from chemsbi_jax.simulator import Physics, Yields, simulate
from chemsbi_jax.simulator.yield_factors import simulate_factors
from chemsbi_jax.types import Forward

UNUSABLE = 2  # exit code: the input can't be used, and the message says why
MAX_SEED = 2**32 - 1  # JAX cuts off what is larger
MAX_COUNT = 10**9
LARGEST = 1e30  # float32 ends at 3.4e38
N_SIGMA = 3.0  # of an unbounded prior that an emulator must cover
ROUNDING = 1e-3  # of the ends of a prior, in units of the parameters


def run_script(
    main: Callable[[Any], Any],
    config: type,
    exit_code: Callable[[Any, Any], int] = lambda result, config: 0,
) -> int:
    """Read the flags, run `main`, and turn bad input into a sentence.

    Every error of this package about a user's input is an InputError or an OSError (of
    a file) with a full sentence; anything else is a fault of ours and shows its
    traceback.
    """
    flags = tyro.cli(config, description=sys.modules["__main__"].__doc__)
    use_all_cores()
    try:
        result = main(flags)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    return exit_code(result, flags)


def check_flags(config: Any, **lowest: int) -> None:
    """Refuse numbers that no run can use; None, the default of a recipe, passes.

    Args:
        config: flags; `seed` must be one of JAX's, and all numbers must be finite.
        lowest: flag -> smallest value of its numbers.

    Raises:
        InputError: naming the flag, what was expected and what came.
    """
    for name, value in asdict(config).items():
        low, high = (0, MAX_SEED) if name == "seed" else (lowest.get(name), MAX_COUNT)
        each = value if isinstance(value, tuple) else (value,)
        numbers = [x for x in each if type(x) in (int, float)]
        flag = f"--{name.replace('_', '-')}"
        known = value is None or numbers
        if low is not None and not (known and all(low <= x <= high for x in numbers)):
            raise InputError(f"Expected {flag} from {low} to {high}; got {value}.")
        if not all(abs(x) < LARGEST for x in numbers):
            raise InputError(f"Expected {flag} to be finite; got {value}.")


def training_flags(config: Any) -> dict:
    """Flags that decide a training, for `checkpoints.require_same_settings`."""
    others = ("out", "quiet", "n_test")
    return {k: v for k, v in asdict(config).items() if k not in others}


def load_networks(name: str | os.PathLike) -> tuple[Npe, Forward]:
    """The posterior network and the emulator of one folder, which must fit together.

    Args:
        name: shipped weights, or a folder with both.

    Raises:
        WeightsError: one can't be used, or they were trained for different galaxies.
    """
    folder = weights_folder(name)
    npe, emulator = load_npe(name), load_emulator(name)
    one, other = (load_spec(folder, kind) for kind in ("npe", "emulator"))
    differs = [
        f"{key} is {one[key]!r} for npe and {other[key]!r} for the emulator"
        for key in ("yields", "physics")
        if key in one and key in other and one[key] != other[key]
    ]
    for box, (parameter, (low, high)) in zip(
        np.stack([emulator.theta_low, emulator.theta_high], axis=-1),
        _ranges(npe.prior).items(),
        strict=True,
    ):
        if low < box[0] - ROUNDING or high > box[1] + ROUNDING:
            differs.append(
                f"the prior of {parameter} goes from {low:.4g} to {high:.4g}, the "
                f"emulator from {box[0]:.4g} to {box[1]:.4g}"
            )
    if differs:
        raise WeightsError(
            f"{folder}: expected networks for the same galaxies; got others: "
            f"{'; '.join(differs)}. Train one of them again (experiments/train_npe.py, "
            "experiments/train_emulator.py), or name another folder."
        )
    return npe, Partial(emulate, emulator=emulator)


def _ranges(prior: Prior) -> dict[str, tuple[float, float]]:
    """Parameter -> where nearly all of its prior lies."""
    ranges = {}
    for name, (_, numbers) in to_spec(prior).items():
        centre, half = numbers.get("loc", 0.0), N_SIGMA * numbers.get("scale", 0.0)
        ends = numbers.get("low", centre - half), numbers.get("high", centre + half)
        ranges[name] = ends
    return ranges


# what JAX does to a function before its first run: tracing, lowering, compiling
COMPILATION = tuple(
    f"/jax/core/compile/{stage}_duration"
    for stage in ("jaxpr_trace", "jaxpr_to_mlir_module", "backend_compile")
)


@cache
def _compilations() -> list[tuple[float, float]]:
    """Begin and end of all compilations of this process from the first call on."""
    spans: list[tuple[float, float]] = []

    def keep(event: str, duration: float, **_) -> None:
        if event in COMPILATION:
            now = time.perf_counter()
            spans.append((now - duration, now))

    jax.monitoring.register_event_duration_secs_listener(keep)
    return spans


def union_length(spans: Sequence[tuple[float, float]]) -> float:
    """Length of the union of intervals: one function is traced inside another."""
    total, reached = 0.0, -np.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return total


class Stopwatch:
    """Wall-clock seconds of named stages, told on stderr as they begin."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.seconds: dict[str, float] = {}
        self.compiled: dict[str, float] = {}  # of them, how many JAX compiled
        _compilations()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage."""
        if not self.quiet:
            print(f"{stage} ...", file=sys.stderr, flush=True)
        start, before = time.perf_counter(), len(_compilations())
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)
        self.compiled[stage] = round(union_length(_compilations()[before:]), 3)


SIMULATE_BLOCK = 20_000  # simulations between two steps of the progress bar
_on_all_devices = cache(spread)  # one compilation for all calls of a script


def simulate_blocks(
    theta: Float[Array, "n param"],
    yields: Yields,
    physics: Physics,
    quiet: bool,
    factors: Float[Array, "n factor"] | None = None,
) -> Float[np.ndarray, "n element"]:
    """`simulate` on all cores with a progress bar; abundances in dex.

    With `factors` it is `simulate_factors`, each star with its own yield factors.

    Raises:
        InputError: there is nothing to simulate.
    """
    n = len(theta)
    if n == 0:
        raise InputError("Expected at least 1 star to simulate; got 0.")
    run = _on_all_devices(simulate if factors is None else _simulate_pairs)
    rows = theta if factors is None else (theta, factors)
    size = min(SIMULATE_BLOCK, n)
    padded = jax.tree.map(
        lambda x: jnp.pad(x, ((0, -n % size), (0, 0)), mode="edge"), rows
    )
    blocks = []
    with tqdm(total=n, disable=quiet, desc="simulate", unit="star") as bar:
        for first in range(0, n, size):
            block = jax.tree.map(lambda x, i=first: x[i : i + size], padded)
            blocks.append(np.asarray(run(block, yields, physics)))
            bar.update(min(size, n - bar.n))
    return np.concatenate(blocks)[:n]


def _simulate_pairs(rows: tuple[Array, Array], yields: Yields, physics: Physics):
    return simulate_factors(*rows, yields, physics)


def write_record(folder: Path, name: str, config: Any, metrics: Mapping) -> None:
    """The flags and the numbers of a run, as `name`.config.json and .metrics.json."""
    write_summary(folder / f"{name}.config.json", asdict(config))
    write_summary(folder / f"{name}.metrics.json", metrics)
