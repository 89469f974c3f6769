"""Many simulations on all cores, in blocks with a progress bar."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm import tqdm

from chemsbi_jax.compute.devices import spread
from chemsbi_jax.errors import InputError
from chemsbi_jax.simulator import simulate
from chemsbi_jax.simulator.physics import Physics
from chemsbi_jax.simulator.yield_factors import simulate_factors
from chemsbi_jax.types import AnyArray
from chemsbi_jax.yields import Yields

SIMULATE_BLOCK = 20_000  # simulations between two steps of the progress bar
_on_all_devices = cache(spread)  # one compilation for all calls of a process


def simulate_blocks(
    theta: Float[AnyArray, "n param"],
    yields: Yields,
    physics: Physics,
    quiet: bool,
    block: int = SIMULATE_BLOCK,
    factors: Float[AnyArray, "n factor"] | None = None,
) -> Float[np.ndarray, "n element"]:
    """`simulate` on all cores with a progress bar; abundances in dex.

    Args:
        theta: parameters, (n, 6).
        yields: `load_yields`.
        physics: `CLEAN`, `LEGACY` or another preset.
        quiet: no progress bar.
        block: simulations of one call; it does not change the result.
        factors: log10 yield factors of each simulation, for `simulate_factors`.

    Raises:
        InputError: there is nothing to simulate.
    """
    n = len(theta)
    if n == 0:
        raise InputError("Expected at least 1 star to simulate; got 0.")
    run = _on_all_devices(simulate if factors is None else _simulate_pairs)
    rows = theta if factors is None else (theta, factors)
    size = min(block, n)
    padded = jax.tree.map(
        lambda x: jnp.pad(x, ((0, -n % size), (0, 0)), mode="edge"), rows
    )
    blocks = []
    with tqdm(total=n, disable=quiet, desc="simulate", unit="star") as bar:
        for first in range(0, n, size):
            part = jax.tree.map(lambda x, i=first: x[i : i + size], padded)
            blocks.append(np.asarray(run(part, yields, physics)))
            bar.update(min(size, n - bar.n))
    return np.concatenate(blocks)[:n]


def _simulate_pairs(
    rows: tuple[Array, Array], yields: Yields, physics: Physics
) -> Array:
    theta, factors = rows
    return simulate_factors(theta, factors, yields, physics)
