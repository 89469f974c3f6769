"""Tables padded to a few fixed lengths, and the keys of their rows."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from chemsbi_jax.devices import spread
from chemsbi_jax.npe.model import Npe, star_keys

BLOCK = 32  # stars at a time: their arrays stay in the cache

# at the first call, as JAX starts with it: a script may still use all cores before
on_all_devices = cache(spread)
keys_of_stars = jax.jit(star_keys, static_argnums=1)


def padded_length(n: int) -> int:
    """Rows of a padded table of `n` stars: a power of two times `BLOCK`."""
    return BLOCK * 2 ** max(0, int(np.ceil(np.log2(max(n, 1) / BLOCK))))


def pad(npe: Npe, known: np.ndarray) -> tuple[Array, Array]:
    """Inputs padded to a few fixed lengths, and which rows are stars."""
    n, length = len(known), padded_length(len(known))
    inputs = np.repeat(np.asarray(npe.reader.blank())[None], length, axis=0)
    inputs[:n] = known
    return jnp.asarray(inputs), jnp.asarray(np.arange(length) < n)
