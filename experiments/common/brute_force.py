"""Marginal likelihood of a galaxy by prior draws on the simulator alone."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.interpolate import RegularGridInterpolator
from scipy.special import logsumexp
from scipy.stats import norm
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.galaxy.grid import GRID_WIDTH, N_GRID, STEP, GridPosterior
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.yields import Yields

# points of the global parameters along each axis of the posterior, at this distance
# [sigma] from one another: the sum over a Gaussian is 0.4 % too small
GRID_STEP, GRID_SIDE = 1.7, 3
LOWEST = -60.0  # log weight of the cells that a cubic interpolation need not resolve


class BruteEvidence(NamedTuple):
    """Natural log of the marginal likelihood."""

    value: float  # less the bias of the log of a mean
    error: float  # standard deviation by the draws, which all stars share
    bias: float  # what was subtracted
    effective_draws: float  # smallest number of a star at the posterior's mean
    grid_error: float  # of the sum over the points, by the shape of the posterior


class _Likelihood(NamedTuple):
    """Log likelihood of all stars at one point of the global parameters."""

    value: float
    error: float
    bias: float
    effective: float


def brute_evidence(
    key: Key[Array, ""],
    yields: Yields,
    stars: cs.Stars,
    posterior: cs.GalaxyPosterior,
    shape: GridPosterior,
    n_prior: int,
    quiet: bool,
) -> BruteEvidence:
    """Sum over a grid of global parameters; the same local draws at each point.

    Args:
        key: determines the prior draws of the local parameters.
        yields: those of the simulator; its abundances are the columns of the stars.
        stars: with Gaussian errors.
        posterior: it gives the place and the axes of the grid.
        shape: the same posterior in latents, for `grid_error`.
        n_prior: draws of the local parameters.
        quiet: no progress bar.
    """
    mean, covariance = np.asarray(posterior.mean), np.asarray(posterior.covariance)
    root = np.linalg.cholesky(covariance)
    grid = _points()
    theta = np.array(priors.sample(key, cs.paper_prior(), n_prior))
    total, each = [], []
    for at in tqdm(mean + grid @ root.T, desc="brute force", disable=quiet):
        theta[:, :2] = at
        made = simulate_blocks(jnp.asarray(theta), yields, cs.CLEAN, True)
        each.append(_likelihood(made, stars))
        total.append(each[-1].value - each[-1].bias + _log_prior(at))
    centre = each[len(each) // 2]
    value = float(logsumexp(total) + np.log(GRID_STEP**2 * np.linalg.det(root)))
    return BruteEvidence(
        value, centre.error, centre.bias, centre.effective, grid_error(shape)
    )


def grid_error(shape: GridPosterior) -> float:
    """Log of the sum of a normalised posterior over the points of the brute force.

    Zero for a sum without error. The posterior is interpolated on its own grid, which
    has 48 x 48 points.
    """
    mean, covariance = np.asarray(shape.mean), np.asarray(shape.covariance)
    root, factor = np.linalg.cholesky(covariance), np.asarray(shape.factor)
    axis = np.linspace(-GRID_WIDTH, GRID_WIDTH, N_GRID)
    weights = np.maximum(np.asarray(shape.log_weights, float), LOWEST)
    log_density = RegularGridInterpolator((axis, axis), weights, method="cubic")
    away = mean + _points() @ root.T - np.asarray(shape.origin)
    at_points = log_density(np.linalg.solve(factor, away.T).T)
    own_cell = STEP**2 * abs(np.linalg.det(factor))
    cell = GRID_STEP**2 * np.linalg.det(root)
    return float(logsumexp(at_points) + np.log(cell / own_cell))


def _points() -> Float[np.ndarray, "point 2"]:
    """Points of the grid in standard deviations; that in the middle is the mean."""
    units = GRID_STEP * (np.arange(GRID_SIDE) - GRID_SIDE // 2)
    return np.stack(np.meshgrid(units, units), axis=-1).reshape(-1, 2)


def _likelihood(
    made: Float[np.ndarray, "draw abundance"], stars: cs.Stars
) -> _Likelihood:
    """Log of the mean likelihood over the simulations, summed over the stars."""
    made, n = np.asarray(made, np.float32), len(made)
    value, influence, variances = 0.0, np.zeros(n), []
    columns = zip(stars.values, stars.errors, stars.observed, strict=True)
    for values, errors, seen in columns:
        errors = errors[seen]
        away = (made[:, seen] - values[seen].astype(np.float32)) / errors
        gain = np.nan_to_num(-0.5 * (away**2).sum(axis=1), nan=-np.inf)
        level = logsumexp(gain) - np.log(n)
        share = np.exp(gain - level) - 1.0  # relative to the mean likelihood
        influence += share
        variances.append(share.var() / n)
        value += level - np.log(errors).sum() - 0.5 * seen.sum() * np.log(2.0 * np.pi)
    bias = -0.5 * sum(variances)
    error = influence.std() / np.sqrt(n)
    return _Likelihood(float(value), float(error), bias, 1.0 / max(variances))


def _log_prior(at: Float[np.ndarray, " 2"]) -> float:
    """Log density of the global parameters."""
    mean, sd = priors.moments(tuple(cs.paper_prior())[:2])
    return float(norm.logpdf(at, mean, sd).sum())
