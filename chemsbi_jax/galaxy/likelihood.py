"""The likelihood of observed stars: independent Gaussian errors, gaps left out."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.constants import BIRTH_TIME
from chemsbi_jax.types import Forward, Stars

BAD = -1e10  # log likelihood where the forward model has no star


class Observed(NamedTuple):
    """What the likelihood needs of the stars; gaps have weight zero."""

    values: Float[Array, "*star element"]  # dex, 0 where not observed
    weight: Float[Array, "*star element"]  # 1 / error^2, 0 where not observed
    birth_time: Float[Array, "*star"]  # Gyr since the Big Bang, 0 if unknown
    birth_weight: Float[Array, "*star"]  # 1 / error^2, 0 if unknown


def observe(stars: Stars) -> Observed:
    """Arrays of the likelihood from a star table."""
    seen = np.asarray(stars.observed)
    dated = np.isfinite(stars.birth_time) & np.isfinite(stars.e_birth_time)
    return Observed(
        jnp.asarray(np.where(seen, stars.values, 0.0)),
        jnp.asarray(_weight(stars.errors, seen)),
        jnp.asarray(np.where(dated, stars.birth_time, 0.0)),
        jnp.asarray(_weight(stars.e_birth_time, dated)),
    )


def _weight(errors: np.ndarray, known: np.ndarray) -> np.ndarray:
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
    """Model less readings in units of their errors; zeros in gaps and without model."""
    return _residuals(forward, theta, observed)[1]


def _residuals(forward: Forward, theta: Array, observed: Observed):
    predicted = forward(theta)
    bad = jnp.any(jnp.isnan(predicted), axis=-1)
    # the inner guard keeps the gradient finite where the outer one drops the value
    predicted = jnp.where(jnp.isnan(predicted), observed.values, predicted)
    each = jnp.sqrt(observed.weight) * (predicted - observed.values)
    late = theta[..., BIRTH_TIME] - observed.birth_time
    late = jnp.sqrt(observed.birth_weight) * late
    return bad, jnp.concatenate([each, late[..., None]], axis=-1)
