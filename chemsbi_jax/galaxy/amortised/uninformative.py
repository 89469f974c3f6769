"""Exclude uninformative stars from the amortised products.

A network's density is off by a few hundredths. Stars whose errors leave a direction of
(alpha_imf, log10_n_ia) as wide as the prior add nothing there but this fault, once for
each star. Whether a star is used depends on what is measured and how well, never on the
values: to choose stars by their values would bias the product.

The limit is empirical: galaxies of 300 stars with few abundances or large errors at
(-2.1, -2.6) and (-2.6, -3.3), flow beside exact. Without the limit,
the flow diverged for stars with neon alone. Above it, with 0.2 to 0.3 dex in two to
eight abundances, the flow stays within two sigma. C and N alone (0.4 to 0.6) are the
exception: three sigma and more.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from tqdm import tqdm

from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.amortised.gaussian import star_gains, star_moments
from chemsbi_jax.galaxy.amortised.padding import (
    keys_of_stars,
    on_all_devices,
    pad,
    padded_length,
)
from chemsbi_jax.npe.model import Npe

MIN_INFORMATION = 0.2  # in any direction, in units of the prior's
MAX_KINDS = 256  # kinds of stars at a time
MAX_LENGTH = 1024  # rows of their table


def find_uninformative(
    npe: Npe, inputs: Float[np.ndarray, "star input"], quiet: bool = True
) -> Bool[np.ndarray, " star"]:
    """Whether a typical star with these errors and gaps is below `MIN_INFORMATION`."""
    typical = npe.reader.typical(inputs)
    if typical is None or not len(inputs):
        return np.zeros(len(inputs), bool)
    kinds, kind_of_star = np.unique(typical, axis=0, return_inverse=True)
    starts = tqdm(range(0, len(kinds), MAX_KINDS), desc="kinds of stars", disable=quiet)
    # the length of the table, if that is not much: its program is needed anyway
    length = min(padded_length(len(inputs)), MAX_LENGTH)
    parts = [
        _is_weak(npe, kinds[i : i + MAX_KINDS].astype(np.float32), length)
        for i in starts
    ]
    return np.concatenate(parts)[kind_of_star.ravel()]


def _is_weak(npe: Npe, inputs: np.ndarray, length: int) -> np.ndarray:
    # a length that does not depend on the number of kinds, which would trace again
    padded = jnp.asarray(np.resize(inputs, (length, inputs.shape[1])))
    # always the same draws: a star's kind does not change from run to run
    stars = (keys_of_stars(jax.random.key(0), len(padded)), padded)
    moments = on_all_devices(star_moments)(stars, npe)
    return np.asarray(_least_gain(*moments))[: len(inputs)] < MIN_INFORMATION


@quick_jit
def _least_gain(means: jax.Array, covariances: jax.Array) -> jax.Array:
    zero, one = jnp.zeros(N_GLOBAL), jnp.eye(N_GLOBAL)
    gain = star_gains(means, covariances, zero, one)
    return jnp.linalg.eigvalsh(gain.precision)[:, 0]


def pad_informative(npe: Npe, inputs: np.ndarray) -> tuple[Array, Array]:
    """Padded inputs, and which rows are informative stars."""
    padded, is_star = pad(npe, inputs)
    is_star = np.array(is_star)
    is_star[: len(inputs)] = ~find_uninformative(npe, inputs)
    return padded, jnp.asarray(is_star)
