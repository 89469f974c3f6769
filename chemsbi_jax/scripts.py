"""What every script shares: flags, exit codes, a stopwatch."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import tyro
from jaxtyping import Array, Float
from tqdm import tqdm

from chemsbi_jax.devices import spread, use_all_cores
from chemsbi_jax.files import whole_file
from chemsbi_jax.simulator import Physics, Yields, simulate

UNUSABLE = 2  # exit code: the input can't be used, and the message says why


def run_script(
    main: Callable[[Any], Any],
    config: type,
    exit_code: Callable[[Any, Any], int] = lambda result, config: 0,
) -> int:
    """Read the flags, run `main`, and turn bad input into a sentence.

    Every error of this package about a user's input is a ValueError or an OSError with
    a full sentence; anything else is a fault of ours and shows its traceback.
    """
    flags = tyro.cli(config, description=sys.modules["__main__"].__doc__)
    use_all_cores()
    try:
        result = main(flags)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    return exit_code(result, flags)


class Stopwatch:
    """Wall-clock seconds of named stages, told on stderr as they begin."""

    def __init__(self, quiet: bool):
        self.quiet = quiet
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time one stage."""
        if not self.quiet:
            print(f"{stage} ...", file=sys.stderr, flush=True)
        start = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - start, 3)


SIMULATE_BLOCK = 20_000  # simulations between two steps of the progress bar
_on_all_devices = cache(spread)  # one compilation for all calls of a script


def simulate_blocks(
    theta: Float[Array, "n param"], yields: Yields, physics: Physics, quiet: bool
) -> Float[np.ndarray, "n element"]:
    """`simulate` on all cores with a progress bar; abundances in dex.

    Raises:
        ValueError: there is nothing to simulate.
    """
    n = len(theta)
    if n == 0:
        raise ValueError("Expected at least 1 star to simulate; got 0.")
    run = _on_all_devices(simulate)
    size = min(SIMULATE_BLOCK, n)
    padded = jnp.pad(theta, ((0, -n % size), (0, 0)), mode="edge")
    blocks = []
    with tqdm(total=n, disable=quiet, desc="simulate", unit="star") as bar:
        for block in padded.reshape(-1, size, theta.shape[-1]):
            blocks.append(np.asarray(run(block, yields, physics)))
            bar.update(min(size, n - bar.n))
    return np.concatenate(blocks)[:n]


def write_record(folder: Path, name: str, config: Any, metrics: Mapping) -> None:
    """The flags and the numbers of a run, as `name`.config.json and .metrics.json."""
    flags = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    for kind, content in (("config", flags), ("metrics", dict(metrics))):
        with whole_file(folder / f"{name}.{kind}.json") as path:
            path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
