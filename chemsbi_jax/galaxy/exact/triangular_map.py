"""Smooth coordinates of one star, in which its local parameters are nearly normal.

A triangular map: each local latent is a quadratic of the global ones and of those
before it, plus a scale times a standard normal, the scale being log-linear. It is
fitted to weighted draws by least squares, has a closed volume and no kinks, so that
Hamiltonian steps through it can be long (a spline's knots would shorten them).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.small import eliminate
from chemsbi_jax.npe.model import N_LOCAL

RIDGE_DRAWS = 3.0  # weight, in draws, of a prior without dependence
MAX_LOG_SCALE_CHANGE = 1.5  # largest change of a log scale by the slopes
MEAN_LOG_ABS = 0.6352  # -E log|u| of a standard normal


class Chart(NamedTuple):
    """Map of one star, or of all; the tuples have one entry a local parameter."""

    centre: Float[Array | np.ndarray, "*star 4"]  # latents
    scale: Float[Array | np.ndarray, "*star 4"]  # latents
    mean: tuple[Float[Array | np.ndarray, "*star term"], ...]  # of quadratic terms
    log_scale: tuple[Float[Array | np.ndarray, "*star before"], ...]  # slopes
    constant: Float[Array | np.ndarray, "*star 4"]  # log scale at the centre


def transform(
    chart: Chart, galaxy: Float[Array, "2 *batch"], noise: Float[Array, "4 *batch"]
) -> tuple[Float[Array, "4 *batch"], Float[Array, "*batch"]]:
    """Local latents from standard normals, and the log volume of the map.

    `galaxy` has the global latents in the units that the map was fitted in.
    """
    before, log_det = galaxy, jnp.sum(jnp.log(chart.scale))
    for k in range(N_LOCAL):
        log_scale = chart.constant[k] + _bend(chart.log_scale[k], before)
        value = _dot(chart.mean[k], _quadratic(before))
        value = value + jnp.exp(log_scale) * noise[k]
        before = jnp.concatenate([before, value[None]])
        log_det = log_det + log_scale
    column = (-1, *(1,) * (noise.ndim - 1))
    local = before[N_GLOBAL:] * chart.scale.reshape(column)
    return local + chart.centre.reshape(column), log_det


def prior_chart(n_stars: int) -> Chart:
    """The identity for each star: its local latents are standard normals."""
    before = [N_GLOBAL + k for k in range(N_LOCAL)]
    zeros = np.zeros((n_stars, N_LOCAL), np.float32)
    terms = [1 + n + n * (n + 1) // 2 for n in before]
    return Chart(
        centre=zeros,
        scale=np.ones_like(zeros),
        mean=tuple(np.zeros((n_stars, n), np.float32) for n in terms),
        log_scale=tuple(np.zeros((n_stars, n), np.float32) for n in before),
        constant=zeros,
    )


def fit_chart(
    galaxy: Float[Array, "2 draw"],
    local: Float[Array, "4 draw"],
    weight: Float[Array, " draw"],
) -> Chart:
    """Weighted least squares, one local parameter after the other.

    Args:
        galaxy: global parameters of the draws, centred and in units of their width.
        local: local latents of the draws.
        weight: of the draws; their sum is the number of effective draws.
    """
    total = weight.sum()
    centre = (local @ weight) / total
    spread = ((local - centre[:, None]) ** 2 @ weight) / total
    scale = jnp.sqrt(spread) + 1e-4
    units = (local - centre[:, None]) / scale[:, None]
    before, means, slopes, constants = galaxy, [], [], []
    for k in range(N_LOCAL):
        terms = _quadratic(before)
        mean = _least_squares(terms, units[k], weight)
        rest = units[k] - mean @ terms
        size = jnp.log(jnp.abs(rest) + 1e-6) + MEAN_LOG_ABS
        line = jnp.concatenate([jnp.ones_like(before[:1]), before])
        slope = _least_squares(line, size, weight)[1:]
        flat = rest * jnp.exp(-_bend(slope, before))
        constants.append(0.5 * jnp.log(flat**2 @ weight / total + 1e-8))
        means, slopes = [*means, mean], [*slopes, slope]
        before = jnp.concatenate([before, units[k : k + 1]])
    return Chart(centre, scale, tuple(means), tuple(slopes), jnp.stack(constants))


def _least_squares(terms: Array, target: Array, weight: Array) -> Array:
    weighted = terms * weight
    ridge = RIDGE_DRAWS * jnp.eye(len(terms))
    return eliminate(weighted @ terms.T + ridge, weighted @ target)


def _quadratic(x: Float[Array, "before *batch"]) -> Float[Array, "term *batch"]:
    i, j = np.triu_indices(x.shape[0])
    return jnp.concatenate([jnp.ones_like(x[:1]), x, x[i] * x[j]])


def _bend(slope: Array | np.ndarray, before: Array) -> Array:
    return MAX_LOG_SCALE_CHANGE * jnp.tanh(_dot(slope, before) / MAX_LOG_SCALE_CHANGE)


def _dot(coefficients: Array | np.ndarray, terms: Array) -> Array:
    return jnp.tensordot(coefficients, terms, axes=1)
