"""The likelihood of observed stars: independent Gaussian errors, gaps left out."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from chemsbi_jax.constants import BIRTH_TIME
from chemsbi_jax.types import Forward, Stars

BAD = -1e10  # log likelihood where the forward model is undefined


class Observed(NamedTuple):
    """Measurements of the stars; missing ones have weight zero."""

    values: Float[Array | np.ndarray, "*star element"]  # dex, 0 where not observed
    weight: Float[Array | np.ndarray, "*star element"]  # dex^-2, 0 where not observed
    birth_time: Float[Array | np.ndarray, "*star"]  # Gyr since the Big Bang, 0 unknown
    birth_weight: Float[Array | np.ndarray, "*star"]  # Gyr^-2, 0 if unknown


def observe(stars: Stars) -> Observed:
    """Measurements and weights (1 / error^2) of a star table, as float32."""
    seen = np.asarray(stars.observed)
    dated = np.isfinite(stars.birth_time) & np.isfinite(stars.e_birth_time)
    columns = (
        np.where(seen, stars.values, 0.0),
        _weight(stars.errors, seen),
        np.where(dated, stars.birth_time, 0.0),
        _weight(stars.e_birth_time, dated),
    )
    return Observed(*(column.astype(np.float32) for column in columns))


def _weight(
    errors: Float[np.ndarray, "..."], known: Bool[np.ndarray, "..."]
) -> Float[np.ndarray, "..."]:
    return np.where(known, np.where(known, errors, 1.0) ** -2.0, 0.0)


def log_likelihood(
    forward: Forward, theta: Float[Array, "*b param"], observed: Observed
) -> Float[Array, "*b"]:
    """Gaussian log likelihood of stars, up to a constant."""
    bad, each = _residuals(forward, theta, observed)
    return jnp.where(bad, BAD, -0.5 * jnp.sum(each**2, axis=-1))


def standardised(
    forward: Forward, theta: Float[Array, "*b param"], observed: Observed
) -> Float[Array, "*b reading"]:
    """Standardised residuals, (model - data) / sigma.

    They are zero for missing measurements and where the model is undefined.
    """
    return _residuals(forward, theta, observed)[1]


def _residuals(
    forward: Forward, theta: Float[Array, "*b param"], observed: Observed
) -> tuple[Bool[Array, "*b"], Float[Array, "*b reading"]]:
    predicted = forward(theta)
    bad = jnp.any(jnp.isnan(predicted), axis=-1)
    # the inner guard keeps the gradient finite where the outer one drops the value
    predicted = jnp.where(jnp.isnan(predicted), observed.values, predicted)
    each = jnp.sqrt(observed.weight) * (predicted - observed.values)
    difference = theta[..., BIRTH_TIME] - observed.birth_time
    of_birth = jnp.sqrt(observed.birth_weight) * difference
    return bad, jnp.concatenate([each, of_birth[..., None]], axis=-1)
