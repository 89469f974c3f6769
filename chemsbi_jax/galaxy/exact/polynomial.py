"""A 2-D posterior from its values at a few points: a polynomial joins them."""

import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Float
from numpy.polynomial.legendre import legvander2d

from chemsbi_jax.galaxy.grid import (
    GRID_WIDTH,
    N_GRID,
    SMALL,
    GridPosterior,
    grid_moments,
)
from chemsbi_jax.galaxy.likelihood import BAD

MAX_DEGREE = 8  # of the polynomial
FLOOR = 0.02  # weight of points where the posterior vanishes
EDGE = 0.75  # half sides of a design from its centre


def square(side: int) -> Float[np.ndarray, "2 point"]:
    """Evenly spread points of the square of half side one."""
    units = np.linspace(-1.0, 1.0, side)
    return np.stack(np.meshgrid(units, units, indexing="ij")).reshape(2, -1)


def join_points(
    units: Float[np.ndarray, "2 point"],
    total: Float[np.ndarray, " point"],
    mean: Float[np.ndarray, " 2"],
    factor: Float[np.ndarray, "2 2"],
) -> tuple[GridPosterior, float]:
    """Posterior on a fine grid from the log likelihood at the points of a design.

    Args:
        units: `square`.
        total: log likelihood of all stars at `mean + factor @ units`.
        mean: centre of the design, in latents.
        factor: lower triangle, half a side of the design.

    Returns:
        The posterior within the design, and the rms error of the polynomial where the
        posterior is.
    """
    degree = min(round(units.shape[1] ** 0.5) - 1, MAX_DEGREE)
    low = np.add.outer(np.arange(degree + 1), np.arange(degree + 1)) <= degree

    def terms(u: np.ndarray) -> np.ndarray:
        return legvander2d(u[0], u[1], [degree, degree])[..., low.ravel()]

    at = mean[:, None] + factor @ units
    log_post = total - 0.5 * (at**2).sum(axis=0)
    log_post = np.where(total < 0.5 * BAD, -np.inf, log_post - log_post.max())
    # what lies far down counts little, but keeps the polynomial from rising there
    weight = np.where(np.isfinite(log_post), np.exp(log_post / 8.0) + FLOOR, 0.0)
    target = np.where(np.isfinite(log_post), log_post, 0.0)
    basis = terms(units)
    scaled = basis * weight[:, None]
    coefficients = np.linalg.lstsq(scaled, target * weight, rcond=None)[0]
    share = np.where(np.isfinite(log_post), np.exp(log_post), 0.0)
    error = (basis @ coefficients - target) ** 2 @ share
    error = error / (share.sum() or 1.0)  # the model may have no star in the design
    fine = square(N_GRID).reshape(2, N_GRID, N_GRID)
    grid = _as_grid(terms(fine) @ coefficients, mean, factor)
    return grid, float(error**0.5)


def _as_grid(log_weights, mean, factor) -> GridPosterior:
    units = jnp.linspace(-GRID_WIDTH, GRID_WIDTH, N_GRID)
    log_weights = jnp.asarray(log_weights - log_weights.max(), jnp.float32)
    of_grid = factor / GRID_WIDTH
    centre, covariance = (
        np.asarray(x, float) for x in grid_moments(log_weights, units)
    )
    covariance = covariance + SMALL * np.eye(2)
    return GridPosterior(
        mean=mean + of_grid @ centre,
        covariance=of_grid @ covariance @ of_grid.T,
        origin=jnp.asarray(mean),
        factor=jnp.asarray(of_grid),
        log_weights=log_weights - logsumexp(log_weights),
    )


def at_rest(grid: GridPosterior, mean: np.ndarray, factor: np.ndarray) -> bool:
    """Whether the posterior lies well within its design, and fills enough of it."""
    spread = np.linalg.solve(factor, np.linalg.cholesky(grid.covariance))
    width = np.linalg.svd(spread, compute_uv=False)
    # a design reaches 4 sigma: a quarter of half a side
    return bool(
        _shift(grid, mean, factor) < 0.25 and width.max() < 0.33 and width.min() > 0.12
    )


def piles_up(grid: GridPosterior, mean: np.ndarray, factor: np.ndarray) -> bool:
    """Whether the posterior ends where its design does."""
    return bool(_shift(grid, mean, factor) > EDGE)


def _shift(grid: GridPosterior, mean: np.ndarray, factor: np.ndarray) -> float:
    """From the centre of the design, in half sides."""
    return np.abs(np.linalg.solve(factor, np.asarray(grid.mean, float) - mean)).max()
