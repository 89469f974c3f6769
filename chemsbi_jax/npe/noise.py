"""Measurement noise: part of the training model, added once and nowhere else."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.constants import BIRTH_TIME
from chemsbi_jax.types import AnyArray, Stars, shared_variance

SIGMA = 0.05  # dex, of every abundance (Buck+ 2025)


def add_noise(
    key: Key[Array, ""],
    abundances: Float[Array, "*batch element"],
    sigma: Float[Array, "..."] | float = SIGMA,
) -> Float[Array, "*batch element"]:
    """Independent Gaussian noise of `sigma` dex; never for stars that have noise."""
    return abundances + sigma * jax.random.normal(
        key, abundances.shape, abundances.dtype
    )


def observe_like(
    key: Key[Array, ""],
    table: Stars,
    theta: Float[Array, "star 6"],
    abundances: Float[Array, "star element"],
) -> Stars:
    """Model stars measured as the stars of a table are: errors and gaps row by row.

    Where the [X/Fe] of a star share the error of its [Fe/H] (`Stars.fe_covariance`),
    they do so here.

    Args:
        key: determines the noise.
        table: whose errors are taken, as many rows as `theta`.
        theta: parameters of the model stars.
        abundances: their abundances without noise [dex].
    """
    errors, shared = table.errors, shared_variance(table)
    if shared is not None:
        errors = np.sqrt(np.asarray(errors) ** 2 - shared)
    noisy, shift = map(np.asarray, _noise_and_shift(key, abundances, errors))
    if shared is not None:  # [X/Fe] = [X/H] - [Fe/H]
        iron = table.abundances.index("fe_h")
        of_iron = noisy[:, [iron]] - np.asarray(abundances)[:, [iron]]
        noisy = noisy - np.where(shared > 0.0, of_iron, 0.0)
    values = np.where(table.observed, noisy, np.nan)
    birth_time = np.asarray(theta)[:, BIRTH_TIME] + table.e_birth_time * shift
    return table._replace(values=values, birth_time=birth_time)


@quick_jit
def _noise_and_shift(
    key: Key[Array, ""],
    abundances: Float[AnyArray, "star element"],
    errors: Float[AnyArray, "star element"],
) -> tuple[Float[Array, "star element"], Float[Array, " star"]]:
    """Abundances with noise, and a standard normal for the birth time of each star."""
    key_values, key_birth = jax.random.split(key)
    noisy = add_noise(key_values, jnp.asarray(abundances), jnp.asarray(errors))
    return noisy, jax.random.normal(key_birth, (len(abundances),))
