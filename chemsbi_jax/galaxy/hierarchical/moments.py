"""First and second moments of a galaxy's readings, and the stars in their units.

The stars of a galaxy lie close to a surface in the space of their readings: chemical
evolution gives few directions of wide scatter, and the errors set the width of the
others. The triangular factor of the covariance separates these directions: each
reading, less what the readings before it predict linearly. In these units, the inputs
of the networks show the curvature and the thickness of the surface.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.galaxy.hierarchical.mock import N_READINGS
from chemsbi_jax.galaxy.small import in_units
from chemsbi_jax.types import AnyArray

ORDER = ("fe_h", "mg_fe", "o_fe", "si_fe", "c_fe", "n_fe", "he_fe", "ne_fe")
"""Of the factor: what most tables have comes first; the birth time is the last one."""
PLACES = np.array([*map(ABUNDANCES.index, ORDER), N_READINGS - 1])
N_MOMENTS = N_READINGS * (N_READINGS + 3) // 2
SMALLEST_VARIANCE = 1e-4  # of standardised readings
FARTHEST = 6.0  # standard deviations
STEEPEST = 10.0  # slope of a linear prediction
LOG_WIDTH_WEIGHT, SLOPE_WEIGHT = 0.5, 0.3  # so that inputs are of order 1


class Moments(NamedTuple):
    """Moments of a galaxy's readings, and its stars in their units."""

    values: Float[Array, " moment"]  # means, log widths, slopes of the predictions
    stars: Float[Array, "star reading"]  # in the order of the factor


def find_moments(
    values: Float[AnyArray, "star reading"], seen: Float[AnyArray, "star reading"]
) -> Moments:
    """Means, log widths given the preceding readings, and regression slopes on these.

    A gap counts as the mean of its reading; the moments of a reading that no star has
    are 0.

    Args:
        values: standardised readings.
        seen: 1 where a star that counts has the reading, else 0.
    """
    values, seen = values[:, PLACES], seen[:, PLACES]
    given = jnp.sum(seen, axis=0)
    total = jnp.maximum(given, 1.0)
    mean = jnp.sum(seen * values, axis=0) / total
    rest = seen * (values - mean)
    covariance = rest.T @ rest / jnp.sqrt(total[:, None] * total)
    smallest = SMALLEST_VARIANCE * jnp.eye(N_READINGS)
    root, stars = in_units(covariance + smallest, rest)
    width, is_given = jnp.diag(root), (given > 0.0).astype(mean.dtype)
    slopes = jnp.clip(root / width, -STEEPEST, STEEPEST)
    slopes = slopes * is_given[:, None] * is_given
    i, j = np.tril_indices(N_READINGS, -1)
    log_width = LOG_WIDTH_WEIGHT * is_given * jnp.log(width)
    parts = mean, log_width, SLOPE_WEIGHT * slopes[i, j]
    return Moments(jnp.concatenate(parts), jnp.clip(stars, -FARTHEST, FARTHEST))
