"""The likelihood of observed stars: Gaussian errors, gaps left out.

Errors are independent, except where [X/Fe] was made from [X/H] with independent errors
(`Stars.fe_covariance`). There the readings are compared as [X/H] = [X/Fe] + [Fe/H],
which makes their covariance diagonal again: an exact transformation, of volume 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.constants import ABUNDANCES, BIRTH_TIME
from chemsbi_jax.types import Forward, Stars, shared_variance

BAD = -1e10  # log likelihood where the forward model has no star
IRON = ABUNDANCES.index("fe_h")


class Observed(NamedTuple):
    """What the likelihood needs of the stars; gaps have weight zero."""

    values: Float[Array, "*star element"]  # dex, 0 where not observed
    weight: Float[Array, "*star element"]  # 1 / error^2, 0 where not observed
    birth_time: Float[Array, "*star"]  # Gyr since the Big Bang, 0 if unknown
    birth_weight: Float[Array, "*star"]  # 1 / error^2, 0 if unknown
    # 1 where a reading is that of [X/H], 0 where it is [X/Fe] or [Fe/H]; None: all are
    over_h: Float[Array, "*star element"] | None = None


def observe(stars: Stars) -> Observed:
    """Arrays of the likelihood from a star table."""
    seen = np.asarray(stars.observed)
    dated = np.isfinite(stars.birth_time) & np.isfinite(stars.e_birth_time)
    values, errors, over_h = np.where(seen, stars.values, 0.0), stars.errors, None
    shared = shared_variance(stars)
    if shared is not None:
        is_over_h = shared > 0.0
        values = values + np.where(is_over_h, values[:, [IRON]], 0.0)
        errors = np.sqrt(np.where(seen, errors, 1.0) ** 2 - shared)
        over_h = jnp.asarray(is_over_h.astype(float))
    return Observed(
        jnp.asarray(values),
        jnp.asarray(_weight(errors, seen)),
        jnp.asarray(np.where(dated, stars.birth_time, 0.0)),
        jnp.asarray(_weight(stars.e_birth_time, dated)),
        over_h,
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


def distance(
    predicted: Float[Array, "*b element"], observed: Observed
) -> Float[Array, "*b element"]:
    """Model less readings [dex], in the quantities of the readings; 0 where NaN."""
    if observed.over_h is not None:
        predicted = predicted + observed.over_h * predicted[..., IRON : IRON + 1]
    predicted = jnp.where(jnp.isnan(predicted), observed.values, predicted)
    return predicted - observed.values


def _residuals(forward: Forward, theta: Array, observed: Observed):
    predicted = forward(theta)
    bad = jnp.any(jnp.isnan(predicted), axis=-1)
    # the inner guard keeps the gradient finite where the outer one drops the value
    each = jnp.sqrt(observed.weight) * distance(predicted, observed)
    late = theta[..., BIRTH_TIME] - observed.birth_time
    late = jnp.sqrt(observed.birth_weight) * late
    return bad, jnp.concatenate([each, late[..., None]], axis=-1)
