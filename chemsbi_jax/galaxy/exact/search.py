"""Search of the whole prior for the posterior of a galaxy, bounded for each star.

A likelihood of N stars is so narrow that rounds from a wrong guess may never find it,
and one star outside the model may pull them anywhere. So grids over the whole prior,
each around the best place of the one before, add what each star loses against its own
best place, but not more than `MAX_STAR_LOSS`: a star outside the model loses the same
everywhere.
"""

import jax
import numpy as np
from jaxtyping import Bool, Float
from scipy import stats as distributions

from chemsbi_jax.galaxy.exact.importance import Evidence, Star
from chemsbi_jax.galaxy.exact.laplace import laplace_evidence
from chemsbi_jax.galaxy.exact.polynomial import (
    Design,
    fit_polynomial,
    is_converged,
    log_posterior,
)
from chemsbi_jax.galaxy.grid import GridPosterior, moments_on_grid
from chemsbi_jax.galaxy.likelihood import BAD, Observed
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward

SEARCH_STARS = 16  # rows of the table, evenly spread; and stars a call
SHARPEN_STARS, SHARPEN_SIDE, MAX_SHARPENINGS = 128, 5, 4  # of `sharpen`
SHARPEN_SIGMA = 4.0  # half a side of its grids, in standard deviations
SEARCH_SIDE = 9  # points a side
PRIOR_HALF_SIDE = 4.0  # prior widths
MAX_ZOOMS = 8
ZOOM_SIGMA = 2.0  # half a side of the next grid, in standard deviations
MIN_WIDTH_CELLS = 1.0  # width of a resolved posterior
MAX_STAR_LOSS = 50.0  # in log likelihood: 10 sigma
MAX_DISTANCE = 3.0  # standard deviations: two answers are the same place
MIN_CHI2_PROBABILITY = 1e-25  # below (10 sigma), a star is outside the model
BACK_BELOW = 0.8  # of that chi2, where a star that was left out is within it again


def search_prior(
    stars: Star, npe: Npe, forward: Forward
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
    """Mean and covariance of the global latents, roughly, from no guess at all."""
    n_stars = len(stars.seen)
    n_some = min(n_stars, SEARCH_STARS)
    rows = np.linspace(0, n_stars - 1, n_some).astype(int)
    some = jax.tree.map(lambda x: np.asarray(x)[rows], stars)
    eye = np.eye(2)
    design = Design(np.zeros(2), PRIOR_HALF_SIDE * eye, SEARCH_SIDE)
    best, chi2 = np.full(n_some, -np.inf), np.full(n_some, np.inf)
    units, cell = np.linspace(-1.0, 1.0, SEARCH_SIDE), 2.0 / (SEARCH_SIDE - 1)
    for _ in range(MAX_ZOOMS):
        found = laplace_evidence(some, npe, forward, design.points, SEARCH_STARS)
        gain = np.nan_to_num(found.log_likelihood, nan=BAD)
        best = np.maximum(best, gain.max(axis=1))
        chi2 = np.minimum(chi2, found.chi2)
        is_used = within_model(found._replace(chi2=chi2), some.observed)
        loss = np.maximum(gain - best[:, None], -MAX_STAR_LOSS)
        total = loss[is_used if is_used.any() else ~is_used].sum(axis=0, dtype=float)
        log_post = log_posterior(design, total).reshape(SEARCH_SIDE, SEARCH_SIDE)
        mean, spread = moments_on_grid(log_post, units)
        centre = design.centre + design.factor @ mean
        # at least a cell: the best point may lie a step along the ridge from the peak
        wide = design.factor @ (spread + cell**2 * eye) @ design.factor.T
        if np.linalg.eigvalsh(spread)[0] > (MIN_WIDTH_CELLS * cell) ** 2:
            break
        design = Design(centre, ZOOM_SIGMA * np.linalg.cholesky(wide), SEARCH_SIDE)
    # the other stars add as much as these do
    values, vectors = np.linalg.eigh(np.linalg.inv(wide) - eye)
    more = (vectors * values.clip(0.0)) @ vectors.T * n_stars / n_some
    return centre, np.linalg.inv(eye + more)


def sharpen(
    stars: Star,
    npe: Npe,
    forward: Forward,
    mean: Float[np.ndarray, " 2"],
    covariance: Float[np.ndarray, "2 2"],
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
    """The place that `search_prior` found, with more stars, and their width.

    A first design of `exact` can then be about as wide as its posterior, within which
    the same draws serve a star everywhere.
    """
    n_stars = len(stars.seen)
    n_some = min(n_stars, SHARPEN_STARS)
    rows = np.linspace(0, n_stars - 1, n_some).astype(int)
    some = jax.tree.map(lambda x: np.asarray(x)[rows], stars)
    covariance = covariance * n_stars / min(n_stars, SEARCH_STARS)
    for _ in range(MAX_SHARPENINGS):
        factor = SHARPEN_SIGMA * np.linalg.cholesky(covariance)
        design = Design(np.asarray(mean, float), factor, SHARPEN_SIDE)
        found = laplace_evidence(some, npe, forward, design.points, SEARCH_STARS)
        gain = np.nan_to_num(found.log_likelihood, nan=BAD)
        is_used = within_model(found, some.observed)
        # a star is bounded as in the search
        gain = np.maximum(gain, gain.max(axis=1, keepdims=True) - MAX_STAR_LOSS)
        total = gain[is_used if is_used.any() else ~is_used].sum(axis=0, dtype=float)
        grid, _ = fit_polynomial(design, total)
        mean, covariance = np.asarray(grid.mean, float), np.asarray(grid.covariance)
        if is_converged(grid, design):
            break
    return mean, covariance


def is_consistent(
    grid: GridPosterior,
    mean: Float[np.ndarray, " 2"],
    covariance: Float[np.ndarray, "2 2"],
) -> bool:
    """Whether a posterior is at the place that `search_prior` found."""
    shift = np.asarray(grid.mean, float) - mean
    total = covariance + np.asarray(grid.covariance, float)
    return bool(shift @ np.linalg.solve(total, shift) < MAX_DISTANCE**2)


def within_model(
    found: Evidence,
    observed: Observed,
    was_out: Bool[np.ndarray, " star"] | bool = False,
) -> Bool[np.ndarray, " star"]:
    """Stars that some parameters of the model come near to.

    One star that no parameters explain would outweigh all others of its galaxy.

    Args:
        found: the evidence of the stars.
        observed: their measurements.
        was_out: which stars the round before left out. They come back only below
            `BACK_BELOW` of the limit. A star at the limit would else join and leave
            from round to round, and move the posterior each time.
    """
    n_measured = np.asarray(observed.weight > 0.0).sum(axis=-1)
    limit = distributions.chi2.isf(MIN_CHI2_PROBABILITY, np.maximum(n_measured, 1))
    return np.asarray(found.chi2) < np.where(was_out, BACK_BELOW, 1.0) * limit
