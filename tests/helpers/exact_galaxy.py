"""Products of Gaussian posteriors in closed form, and stars of the linear galaxy."""

import numpy as np

from chemsbi_jax.types import Stars
from helpers import linear_galaxy
from helpers.linear_galaxy import SIGMA

PRIOR_MEAN = np.array([-2.3, -2.89])
PRIOR_COVARIANCE = 0.3**2 * np.eye(2)


def as_stars(values) -> Stars:
    n = len(values)
    unknown = np.full(n, np.nan)
    errors, observed = np.full((n, 8), SIGMA), np.ones((n, 8), bool)
    ids = np.arange(n).astype(str)
    return Stars(np.asarray(values, float), errors, observed, unknown, unknown, ids)


def closed_form(means, covariances, sign: int = -1):
    """The right formula; with `sign=+1` the one of the reference's code."""
    precisions, of_prior = np.linalg.inv(covariances), np.linalg.inv(PRIOR_COVARIANCE)
    rest = sign * (len(means) - 1)
    covariance = np.linalg.inv(precisions.sum(axis=0) + rest * of_prior)
    push = np.einsum("nij,nj->i", precisions, means) + rest * of_prior @ PRIOR_MEAN
    return covariance @ push, covariance


def exact_stars(truth, n, seed=0):
    return linear_galaxy.make_stars(n, truth, seed)


def exact_posterior(stars):
    return linear_galaxy.closed_form(stars)
