"""The likelihood of observed stars: Gaussian errors, gaps left out.

Errors are independent, except where [X/Fe] was made from [X/H] with independent errors
(`Stars.fe_covariance`). There the readings are compared as [X/H] = [X/Fe] + [Fe/H],
which makes their covariance diagonal again: an exact transformation, of volume 1.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from chemsbi_jax.constants import ABUNDANCES, BIRTH_TIME
from chemsbi_jax.types import (
    EIGHT,
    AbundanceNames,
    AnyArray,
    Forward,
    Stars,
    shared_variance,
)

BAD = -1e10  # log likelihood where the forward model is undefined
IRON = ABUNDANCES.index("fe_h")  # in the default columns


class Observed(NamedTuple):
    """Measurements of the stars; missing ones have weight zero."""

    values: Float[AnyArray, "*star element"]  # dex, 0 where not observed
    weight: Float[AnyArray, "*star element"]  # dex^-2, 0 where not observed
    birth_time: Float[AnyArray, "*star"]  # Gyr since the Big Bang, 0 unknown
    birth_weight: Float[AnyArray, "*star"]  # Gyr^-2, 0 if unknown
    # 1 where a reading is that of [X/H], 0 where it is [X/Fe] or [Fe/H]; None: all are
    over_h: Float[AnyArray, "*star element"] | None = None
    abundances: AbundanceNames = EIGHT  # of the columns; static under `jit`


def observe(stars: Stars) -> Observed:
    """Measurements and weights (1 / error^2) of a star table, as float32."""
    seen = np.asarray(stars.observed)
    dated = np.isfinite(stars.birth_time) & np.isfinite(stars.e_birth_time)
    values, errors, over_h = np.where(seen, stars.values, 0.0), stars.errors, None
    shared, names = shared_variance(stars), AbundanceNames(stars.abundances)
    if shared is not None:
        is_over_h = shared > 0.0
        iron = names.index("fe_h")
        values = values + np.where(is_over_h, values[:, [iron]], 0.0)
        errors = np.sqrt(np.where(seen, errors, 1.0) ** 2 - shared)
        over_h = is_over_h.astype(np.float32)
    return Observed(
        values.astype(np.float32),
        _weight(errors, seen).astype(np.float32),
        np.where(dated, stars.birth_time, 0.0).astype(np.float32),
        _weight(stars.e_birth_time, dated).astype(np.float32),
        over_h,
        names,
    )


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


def distance(
    predicted: Float[Array, "*b element"], observed: Observed
) -> Float[Array, "*b element"]:
    """Model less readings [dex], in the quantities of the readings; 0 where NaN."""
    if observed.over_h is not None:
        iron = observed.abundances.index("fe_h")
        predicted = predicted + observed.over_h * predicted[..., iron : iron + 1]
    predicted = jnp.where(jnp.isnan(predicted), observed.values, predicted)
    return predicted - observed.values


def _residuals(
    forward: Forward, theta: Float[Array, "*b param"], observed: Observed
) -> tuple[Bool[Array, "*b"], Float[Array, "*b reading"]]:
    predicted = forward(theta)
    bad = jnp.any(jnp.isnan(predicted), axis=-1)
    # the inner guard keeps the gradient finite where the outer one drops the value
    each = jnp.sqrt(observed.weight) * distance(predicted, observed)
    difference = theta[..., BIRTH_TIME] - observed.birth_time
    of_birth = jnp.sqrt(observed.birth_weight) * difference
    return bad, jnp.concatenate([each, of_birth[..., None]], axis=-1)
