"""A 2-D density on a grid that zooms in and shears along the degeneracy."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key

from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.types import AnyArray

N_GRID = 48  # points a side
GRID_WIDTH = 6.0  # half a side, in standard deviations
N_ZOOMS = 4  # each narrows the grid by up to a factor of four
STEP = 2.0 * GRID_WIDTH / (N_GRID - 1)
ROUNDING = 1e-6  # of float32: a draw never falls behind the last cell
# grid units squared, added to a covariance: all of a posterior may lie in one cell
MIN_CELL_VARIANCE = 1e-4

Density = Callable[[Array, Array], Array]
"""(first latent (column,), second latent (column, row)) -> log density (column, row)"""


class GridPosterior(NamedTuple):
    """Posterior of the two global latents on a sheared grid."""

    mean: Float[AnyArray, " 2"]
    covariance: Float[AnyArray, "2 2"]
    origin: Float[AnyArray, " 2"]  # centre of the grid
    factor: Float[AnyArray, "2 2"]  # lower triangle: grid units to latents
    log_weights: Float[AnyArray, "column row"]  # log-sum-exp is 0


def zoom_in(
    log_density: Density, mean: Float[Array, " 2"], covariance: Float[Array, "2 2"]
) -> GridPosterior:
    """Moments and grid of a density, from a first guess of where it lies.

    The shear is a lower triangle, so all points of a column share their first latent.
    """
    units = jnp.linspace(-GRID_WIDTH, GRID_WIDTH, N_GRID)

    def on_grid(origin: Array, factor: Array) -> Array:
        first = origin[0] + factor[0, 0] * units
        second = origin[1] + factor[1, 0] * units[:, None] + factor[1, 1] * units
        return log_density(first, second)

    def zoom(
        state: tuple[Array, Array], _: None
    ) -> tuple[tuple[Array, Array], tuple[Array, ...]]:
        origin, factor = state
        log_weights = on_grid(origin, factor)
        mean, covariance = grid_moments(log_weights, units)
        # at least a cell: the best point may lie a step along the ridge from the peak
        covariance = covariance + STEP**2 * jnp.eye(2)
        shear = factor @ jnp.linalg.cholesky(covariance)
        return (origin + factor @ mean, shear), (origin, factor, log_weights)

    start = (mean, jnp.linalg.cholesky(covariance))
    # the last turn evaluates the final grid: the density is compiled once
    _, grids = lax.scan(zoom, start, length=N_ZOOMS + 1)
    origin, factor, log_weights = (x[-1] for x in grids)
    mean, covariance = grid_moments(log_weights, units)
    covariance = covariance + MIN_CELL_VARIANCE * jnp.eye(2)
    return GridPosterior(
        mean=origin + factor @ mean,
        covariance=factor @ covariance @ factor.T,
        origin=origin,
        factor=factor,
        log_weights=log_weights - logsumexp(log_weights),
    )


def grid_moments(
    log_weights: Float[Array, "column row"], units: Float[Array, " column"]
) -> tuple[Float[Array, " 2"], Float[Array, "2 2"]]:
    """Mean and covariance in grid units."""
    weights = jax.nn.softmax(log_weights.ravel())
    grid = jnp.stack(jnp.meshgrid(units, units, indexing="ij"), -1).reshape(-1, 2)
    mean = weights @ grid
    centred = grid - mean
    return mean, (centred * weights[:, None]).T @ centred


def moments_on_grid(
    log_weights: Float[np.ndarray, "column row"], units: Float[np.ndarray, " column"]
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
    """`grid_moments` in float64, on the host."""
    weights = np.exp(log_weights - log_weights.max())
    weights = weights.ravel() / weights.sum()
    grid = np.stack(np.meshgrid(units, units, indexing="ij"), -1).reshape(-1, 2)
    mean = weights @ grid
    centred = grid - mean
    return mean, (centred * weights[:, None]).T @ centred


def draw_from_grid(
    key: Key[Array, ""], grid: GridPosterior, n: int
) -> Float[Array, "draw 2"]:
    """Independent draws: a grid point by its weight, then a place in its cell.

    The place in the cell widens a standard deviation by 0.3 %.
    """
    return _draw_from_grid(key, grid.log_weights, grid.origin, grid.factor, int(n))


@quick_jit
def _draw_from_grid(
    key: Key[Array, ""],
    log_weights: AnyArray,
    origin: AnyArray,
    factor: AnyArray,
    n: int,
) -> Float[Array, "draw 2"]:
    parts = (log_weights, origin, factor)
    log_weights, origin, factor = (jnp.asarray(x, jnp.float32) for x in parts)
    key_cell, key_place = jax.random.split(key)
    # inversion of the cumulative weights: a Gumbel draw for each cell and each draw, as
    # `jax.random.categorical` makes them, takes a hundred times longer
    edges = jnp.cumsum(jax.nn.softmax(log_weights.ravel()))
    share = jax.random.uniform(key_cell, (n,), maxval=1.0 - ROUNDING)
    cell = jnp.searchsorted(edges, share * edges[-1], side="right")
    corner = jnp.stack([cell // N_GRID, cell % N_GRID], -1) * STEP - GRID_WIDTH
    place = STEP * (jax.random.uniform(key_place, (n, 2)) - 0.5)
    return origin + (corner + place) @ factor.T
