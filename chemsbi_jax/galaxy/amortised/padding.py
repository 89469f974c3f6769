"""Tables padded to a few fixed lengths, and the keys of their rows."""

from collections.abc import Sequence
from functools import cache, partial

import jax
import numpy as np
from jaxtyping import Array, Float, Int

from chemsbi_jax.compute.devices import spread
from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.npe.model import Npe, star_keys
from chemsbi_jax.types import Stars, shared_variance

BLOCK = 32  # stars at a time: their arrays stay in the cache

# at the first call, as JAX starts with it: a script may still use all cores before
on_all_devices = cache(spread)
quickly_on_all_devices = cache(partial(spread, quick=True))
keys_of_stars = quick_jit(star_keys)


def padded_length(n: int) -> int:
    """Rows of a padded table of `n` stars: a power of two times `BLOCK`."""
    return BLOCK * 2 ** max(0, int(np.ceil(np.log2(max(n, 1) / BLOCK))))


def pad(npe: Npe, known: np.ndarray) -> tuple[Array, Array]:
    """Inputs padded to a few fixed lengths, and which rows are stars."""
    n, length = len(known), padded_length(len(known))
    inputs = np.repeat(np.asarray(npe.reader.blank())[None], length, axis=0)
    inputs[:n] = known
    # `jnp.asarray` would compile a program for each shape
    return jax.device_put((inputs, np.arange(length) < n))


def iron_share(
    stars: Stars, abundances: Sequence[str]
) -> Float[np.ndarray, "star element"]:
    """Share of the variance of each [X/Fe] that is that of [Fe/H] of the same star.

    From `Stars.fe_covariance`; zeros without it.
    """
    stars = stars.select(abundances)
    shared = shared_variance(stars)
    if shared is None:
        return np.zeros((len(stars.values), len(abundances)), np.float32)
    errors = np.where(shared > 0.0, np.asarray(stars.errors, float), 1.0)
    return (shared / errors**2).astype(np.float32)


def padded_share(
    npe: Npe, stars: Stars, length: int
) -> Float[np.ndarray, "row element"]:
    """`iron_share` of the stars in the first rows, and zeros."""
    return _filled_up(iron_share(stars, npe.reader.abundances), length)


def _filled_up(
    share: Float[np.ndarray, "star element"], length: int
) -> Float[np.ndarray, "row element"]:
    padded = np.zeros((length, share.shape[1]), share.dtype)
    padded[: len(share)] = share
    return padded


class Blocks:
    """The inputs of all stars, and equal blocks of them."""

    def __init__(
        self,
        npe: Npe,
        inputs: Float[np.ndarray, "star input"],
        size: int,
        stars: Stars,
    ) -> None:
        self.npe, self.inputs, self.n_stars = npe, inputs, len(inputs)
        self.share = iron_share(stars, npe.reader.abundances)
        # a small table is one block, of a few possible lengths
        self.size = min(
            -(-size // BLOCK) * BLOCK, padded_length(min(size, self.n_stars))
        )
        self.n_blocks = -(-self.n_stars // self.size)

    def __call__(self, i: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Rows, inputs, and which rows are stars, in (chunk, 32) of block `i`."""
        rows = i * self.size + np.arange(self.size)
        part = self.inputs[i * self.size : (i + 1) * self.size]
        full = np.tile(np.asarray(self.npe.reader.blank(), np.float32), (self.size, 1))
        full[: len(part)] = part
        chunks = (rows.astype(np.uint32), full, rows < self.n_stars)
        rows, inputs, is_star = (x.reshape(-1, BLOCK, *x.shape[1:]) for x in chunks)
        return rows, inputs, is_star

    def some(self, rows: Int[np.ndarray, " row"]) -> tuple[Array, Array, np.ndarray]:
        """Padded inputs of some stars, which rows are stars, and `iron_share`."""
        inputs, is_star = pad(self.npe, self.inputs[rows])
        return inputs, is_star, _filled_up(self.share[rows], len(inputs))
