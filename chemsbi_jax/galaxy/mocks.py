"""Mock galaxies: stars of the model, measured like those of a table or a survey."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.constants import ABUNDANCES, BIRTH_TIME, N_GLOBAL
from chemsbi_jax.npe.measurements import Measurements
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import AbundanceNames, AnyArray, Stars


def mock_stars(
    key: Key[Array, ""],
    forward: Callable[[Float[Array, "n 6"]], Float[AnyArray, "n element"]],
    measure: Measurements,
    n: int,
    truth: tuple[float, float] | Float[AnyArray, " 2"] | None = None,
    prior: Prior | None = None,
    abundances: Sequence[str] = ABUNDANCES,
) -> Stars:
    """Stars of one galaxy; their local parameters come from the prior.

    Args:
        key: determines parameters and noise.
        forward: theta (n, 6) -> abundances [dex], NaN where there is no star.
        measure: errors and gaps: `npe.OneError`, or `npe.AnyErrors` for the eight.
        n: draws of the prior; those without a star are left out.
        truth: (alpha_imf, log10_n_ia) of the galaxy; None draws them for each star.
        prior: of all parameters; None is `paper_prior`.
        abundances: names of what `forward` gives.

    Returns:
        At most `n` stars, with noise.
    """
    key_theta, key_noise = jax.random.split(key)
    theta = priors.sample(key_theta, prior or priors.paper_prior(), n)
    if truth is not None:
        theta = theta.at[:, :N_GLOBAL].set(jnp.asarray(truth))
    clean = jnp.asarray(forward(theta))
    inputs = np.asarray(measure.observe(key_noise, clean, theta[:, BIRTH_TIME]))
    is_born = np.isfinite(inputs).all(axis=1)
    stars = measure.blank_reader().stars(inputs[is_born])
    return stars._replace(abundances=AbundanceNames(abundances))
