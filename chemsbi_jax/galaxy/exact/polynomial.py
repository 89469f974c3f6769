"""A 2-D posterior from its values at a few points, by a polynomial fit."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.polynomial.legendre import legvander2d

from chemsbi_jax.galaxy.grid import (
    GRID_WIDTH,
    MIN_CELL_VARIANCE,
    N_GRID,
    GridPosterior,
    moments_on_grid,
)
from chemsbi_jax.galaxy.likelihood import BAD

MAX_DEGREE = 8  # of the polynomial
# weight of points: exp(log posterior / FIT_TEMPERATURE) + MIN_FIT_WEIGHT
FIT_TEMPERATURE, MIN_FIT_WEIGHT = 8.0, 0.02
MAX_EDGE_SHIFT = 0.75  # half sides from the centre; beyond, a posterior is at the edge
# a posterior has converged on a design if its mean is at most MAX_SHIFT half sides
# from the centre, and its widths are within MIN_WIDTH to MAX_WIDTH half sides; a design
# reaches 4 sigma, so that 0.25 is the ideal width
MAX_SHIFT, MIN_WIDTH, MAX_WIDTH = 0.25, 0.12, 0.33
MAX_HALF_SIDE = 4.0  # prior widths: the networks were trained within
MIN_VARIANCE = 1e-12  # prior widths squared


class Design(NamedTuple):
    """A sheared square of points in the two global latents."""

    centre: Float[np.ndarray, " 2"]  # latents
    factor: Float[np.ndarray, "2 2"]  # lower triangle, half a side in latents
    side: int  # points a side, an odd number

    @property
    def units(self) -> Float[np.ndarray, "2 point"]:
        """The points in half sides from the centre; the middle column is the centre."""
        return unit_grid(self.side)

    @property
    def points(self) -> Float[np.ndarray, "2 point"]:
        """The points in latents."""
        return self.centre[:, None] + self.factor @ self.units


def design_factor(
    covariance: Float[np.ndarray, "2 2"], reach: float
) -> Float[np.ndarray, "2 2"]:
    """Lower triangle of a design that reaches `reach` sigma, but within the model."""
    squares, axes = np.linalg.eigh(covariance)
    # rounding may leave a square below zero
    half_sides = np.minimum(reach * np.sqrt(squares.clip(MIN_VARIANCE)), MAX_HALF_SIDE)
    return np.linalg.cholesky(axes * half_sides**2 @ axes.T)


def unit_grid(side: int) -> Float[np.ndarray, "2 point"]:
    """Evenly spread points of the square of half side one."""
    units = np.linspace(-1.0, 1.0, side)
    return np.stack(np.meshgrid(units, units, indexing="ij")).reshape(2, -1)


def log_posterior(
    design: Design, log_likelihood: Float[np.ndarray, " point"]
) -> Float[np.ndarray, " point"]:
    """Log posterior at the points, 0 at the best; -inf where the model is undefined."""
    total = log_likelihood - 0.5 * (design.points**2).sum(axis=0)
    return np.where(log_likelihood < 0.5 * BAD, -np.inf, total - total.max())


def fit_polynomial(
    design: Design, log_likelihood: Float[np.ndarray, " point"]
) -> tuple[GridPosterior, float]:
    """Posterior on a fine grid from the log likelihood of all stars on a design.

    Returns:
        The posterior within the design, and the rms error of the polynomial in log
        density, weighted with the posterior.
    """
    log_post = log_posterior(design, log_likelihood)
    coefficients = _coefficients(design, log_post, log_post)
    share = np.where(np.isfinite(log_post), np.exp(log_post), 0.0)
    target = np.where(np.isfinite(log_post), log_post, 0.0)
    error = (_terms(design, design.units) @ coefficients - target) ** 2 @ share
    error = error / (share.sum() or 1.0)  # the model may be undefined in the design
    return _as_grid(_on_grid(design, coefficients), design), float(error**0.5)


def log_integral(design: Design, log_likelihood: Float[np.ndarray, " point"]) -> float:
    """Log of the integral of likelihood times prior over the two global latents.

    The prior is a standard normal, with its constant; the part outside the design is
    neglected (`edge_mass` says how much lies at its edge).
    """
    log_post = log_posterior(design, log_likelihood)
    total = log_likelihood - 0.5 * (design.points**2).sum(axis=0)
    on_grid = _on_grid(design, _coefficients(design, log_post, log_post))
    cell = (2.0 / (N_GRID - 1)) ** 2 * abs(np.linalg.det(design.factor))
    largest = on_grid.max()
    log_sum = largest + np.log(np.exp(on_grid - largest).sum())
    best = total[np.isfinite(log_post)].max()
    return float(best + log_sum + np.log(cell) - np.log(2.0 * np.pi))


def interpolate(
    design: Design,
    log_likelihood: Float[np.ndarray, " point"],
    each: Float[np.ndarray, "star point"],
    at: Float[np.ndarray, "2 draw"],
) -> Float[np.ndarray, "star draw"]:
    """Values of each star between the points of a design, at some latents.

    Args:
        design: the points.
        log_likelihood: of all stars, which weights the points.
        each: log likelihood of each star at the points.
        at: global latents within the design.
    """
    log_post = log_posterior(design, log_likelihood)
    coefficients = _coefficients(design, log_post, each.T)
    units = np.linalg.solve(design.factor, at - design.centre[:, None])
    return (_terms(design, units) @ coefficients).T


def _terms(
    design: Design, units: Float[np.ndarray, "2 *b"]
) -> Float[np.ndarray, "*b term"]:
    degree = min(design.side - 1, MAX_DEGREE)
    low = np.add.outer(np.arange(degree + 1), np.arange(degree + 1)) <= degree
    return legvander2d(units[0], units[1], [degree, degree])[..., low.ravel()]


def _coefficients(
    design: Design,
    log_post: Float[np.ndarray, " point"],
    target: Float[np.ndarray, "point *star"],
) -> Float[np.ndarray, "term *star"]:
    """Weighted least squares; points where the model is undefined do not count."""
    is_known = np.isfinite(log_post)
    # points of low density count little, but keep the polynomial from rising there
    weight = np.exp(log_post / FIT_TEMPERATURE) + MIN_FIT_WEIGHT
    weight = np.where(is_known, weight, 0.0)
    target = np.where(is_known, target.T, 0.0).T
    scaled = (_terms(design, design.units).T * weight).T
    return np.linalg.lstsq(scaled, (target.T * weight).T, rcond=None)[0]


def _on_grid(
    design: Design, coefficients: Float[np.ndarray, " term"]
) -> Float[np.ndarray, "n n"]:
    fine = unit_grid(N_GRID).reshape(2, N_GRID, N_GRID)
    return _terms(design, fine) @ coefficients


def _as_grid(log_weights: Float[np.ndarray, "n n"], design: Design) -> GridPosterior:
    units = np.linspace(-GRID_WIDTH, GRID_WIDTH, N_GRID)
    log_weights = log_weights - log_weights.max()
    log_weights = log_weights - np.log(np.exp(log_weights).sum())
    factor = design.factor / GRID_WIDTH
    mean, covariance = moments_on_grid(log_weights, units)
    covariance = covariance + MIN_CELL_VARIANCE * np.eye(2)
    return GridPosterior(
        mean=design.centre + factor @ mean,
        covariance=factor @ covariance @ factor.T,
        origin=design.centre,
        factor=factor,
        log_weights=log_weights,
    )


def is_converged(grid: GridPosterior, design: Design) -> bool:
    """Whether the posterior lies well within its design, and fills enough of it."""
    spread = np.linalg.solve(design.factor, np.linalg.cholesky(grid.covariance))
    width = np.linalg.svd(spread, compute_uv=False)
    is_central = _shift(grid, design) < MAX_SHIFT
    return bool(is_central and width.max() < MAX_WIDTH and width.min() > MIN_WIDTH)


def touches_edge(grid: GridPosterior, design: Design) -> bool:
    """Whether the posterior is cut off by the edge of its design."""
    return bool(_shift(grid, design) > MAX_EDGE_SHIFT)


def edge_mass(grid: GridPosterior) -> float:
    """Posterior probability in the outermost cells of the grid."""
    weights = np.exp(np.asarray(grid.log_weights, float))
    return float(1.0 - weights[1:-1, 1:-1].sum() / weights.sum())


def _shift(grid: GridPosterior, design: Design) -> float:
    """Distance of the mean from the centre of the design, in half sides."""
    shift = np.asarray(grid.mean, float) - design.centre
    return float(np.abs(np.linalg.solve(design.factor, shift)).max())
