"""The conditional emulator f(theta, yield factors)."""

import os
from typing import NamedTuple

from jaxtyping import Array, ArrayLike, Float, PyTree

from chemsbi_jax.emulator.network import Emulator


class YieldEmulator(NamedTuple):
    """The emulator of one yield set, and networks for factors on these yields."""

    base: Emulator  # abundances at factors of zero
    networks: PyTree  # Flax parameters
    factor_limit: Float[Array, " factor"]  # largest absolute log10 factor of training


def emulate_yields(
    theta: Float[ArrayLike, "*batch param"],
    factors: Float[ArrayLike, "*batch factor"],
    emulator: YieldEmulator,
) -> Float[Array, "*batch element"]:
    """Abundances [dex] as `simulate_factors` gives them, from the networks.

    Args:
        theta: parameters (..., 6) in the order of `PARAMETERS`.
        factors: log10 factors (..., 11) in the order of `constants.YIELD_FACTORS`;
            leading axes broadcast with those of `theta`.
        emulator: `load_yield_emulator`.

    Returns:
        (..., 8) dex in the order of `ABUNDANCES`; NaN outside the box of the training
        in theta or in the factors. At factors of zero it equals `emulate` with the
        emulator of the same yields.

    Raises:
        ValueError: the last axis of `theta` is not 6, or that of `factors` not 11.
    """
    raise NotImplementedError("The weights are not trained yet: use simulate_factors.")


def load_yield_emulator(name: str | os.PathLike = "tng") -> YieldEmulator:
    """Shipped weights, or those in a folder with an emulator of the same yields.

    Raises:
        artifacts.WeightsError: unknown name, or weights that do not fit this package.
    """
    raise NotImplementedError("The weights are not trained yet: use simulate_factors.")
