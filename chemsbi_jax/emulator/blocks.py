"""Emulated stars in blocks, for the memory."""

import jax
import numpy as np
from jaxtyping import Float

from chemsbi_jax.emulator.network import Emulator, emulate
from chemsbi_jax.types import AnyArray

EMULATE_BLOCK = 20_000  # stars at a time


def emulate_blocks(
    theta: Float[AnyArray, "n param"], emulator: Emulator
) -> Float[np.ndarray, "n element"]:
    """`emulate` [dex] of some stars at a time; NaN where the model has no star."""
    emulate_some = jax.jit(emulate)
    blocks = np.array_split(theta, -(-len(theta) // EMULATE_BLOCK))
    return np.concatenate([np.asarray(emulate_some(b, emulator)) for b in blocks])
