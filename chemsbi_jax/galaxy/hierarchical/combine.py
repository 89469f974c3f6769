"""Posterior of the parameters that are common to several catalogues of one galaxy.

The parameters of the galaxy and its yields are common. Zero points, scatter and the
population of the selected stars differ between catalogues, which have no star in
common. The posteriors of the common parameters are multiplied, with all priors but one
divided out. A product of the two galaxy parameters alone would be too narrow: an error
of the yields moves all catalogues together.

Each posterior is taken as normal, in whitened parameters, whose prior is a standard
normal distribution. The information of a catalogue is its precision minus that of the
prior. The errors of the posteriors of several catalogues are correlated: a part of the
variance of each is the error of the network that made it. So K catalogues are worth
fewer than K independent ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

KNOWN_WELL = 0.5  # least information of a direction that is tested; the prior's is 1
MARGIN = 1.2  # the largest eigenvalue of noise lies a little beyond its limit
NOTHING = 1e-30  # against 0/0 in directions without information
# correlation of the errors of two catalogues' posteriors, as the network is the same:
# from mock galaxies (experiments/combined_catalogues.py)
CORRELATION = 0.2


class Information(NamedTuple):
    """What the stars of a catalogue add to the prior of whitened parameters."""

    vector: Float[np.ndarray, " common"]  # precision times mean of the posterior
    matrix: Float[np.ndarray, "common common"]  # precision minus the prior's


class Normal(NamedTuple):
    """Mean and covariance."""

    mean: Float[np.ndarray, " common"]
    covariance: Float[np.ndarray, "common common"]


class Tension(NamedTuple):
    """How unusual a catalogue is, given the others."""

    chi2: float
    n_directions: int  # degrees of freedom: those that the catalogue constrains
    p: float
    away: Float[np.ndarray, " common"]  # posterior mean minus the expected one
    scatter: Float[np.ndarray, "common common"]  # covariance that is expected of it


def information_of(
    draws: Float[np.ndarray, "draw common"], n_effective: float | None = None
) -> Information:
    """From draws of the posterior of whitened parameters.

    A direction has no information if its draws are wider than the prior, or narrower by
    no more than chance can make them (Marchenko & Pastur 1967).

    Args:
        draws: of equal weight.
        n_effective: independent draws that they are worth; None: all are independent.
    """
    mean, n_common = draws.mean(axis=0), draws.shape[1]
    n = len(draws) if n_effective is None else n_effective
    # the inverse of a covariance of few draws is too large (Hartlap+ 2007, eq. 17)
    unbiased = (n - n_common - 2.0) / (n - 1.0)
    precision = unbiased * np.linalg.inv(np.atleast_2d(np.cov(draws.T)))
    by_chance = MARGIN * ((1.0 - np.sqrt(n_common / n)) ** -2 - 1.0)
    values, vectors = np.linalg.eigh(precision - np.eye(n_common))
    values = np.where(values > by_chance, values, 0.0)
    matrix = (vectors * values) @ vectors.T
    return Information(mean + matrix @ mean, matrix)


def with_own_errors(
    information: Information, variance: Float[np.ndarray, " common"]
) -> Information:
    """The information about the common parameters, if a catalogue has others.

    Args:
        information: about those of the catalogue, which are the common ones plus
            independent errors.
        variance: of these errors.
    """
    # (inverse(matrix) + variance)^-1, also where the matrix has no inverse
    loss = np.eye(len(variance)) + information.matrix * variance
    return Information(*(np.linalg.solve(loss, part) for part in information))


def posterior_of(
    parts: Sequence[Information], correlation: float = CORRELATION
) -> Normal:
    """The product of catalogues, and of the prior once.

    The mean of K estimates whose errors have a correlation has the variance
    (1 + (K - 1) correlation) / K of that of one. K is counted along each axis of the
    information of all, as not all catalogues constrain all directions.

    Args:
        parts: about the common parameters.
        correlation: of the errors of two catalogues.
    """
    vector, matrix = (np.sum(x, axis=0) for x in zip(*parts, strict=True))
    values, axes = np.linalg.eigh(matrix)
    each = np.array([np.diag(axes.T @ part.matrix @ axes) for part in parts])
    # of equal catalogues their number, and 1 if only one has information
    squares = np.maximum(np.sum(each**2, axis=0), NOTHING)
    n_catalogues = np.maximum(np.sum(each, axis=0) ** 2 / squares, 1.0)
    power = 1.0 / (1.0 + (n_catalogues - 1.0) * correlation)
    precision = 1.0 + power * np.maximum(values, 0.0)  # along the axes
    covariance = (axes / precision) @ axes.T
    return Normal(axes @ (power * (axes.T @ vector) / precision), covariance)


def tension_of(
    information: Information,
    others: Sequence[Information],
    variance: Float[np.ndarray, " common"],
) -> Tension:
    """Compare a catalogue with what the others predict for it.

    Args:
        information: of the catalogue.
        others: of the other catalogues about the common parameters.
        variance: of the errors of the catalogue's own parameters.
    """
    known = posterior_of(others)
    vector, matrix = information
    spread = matrix @ (known.covariance + np.diag(variance)) @ matrix + matrix
    away = vector - matrix @ known.mean
    values, vectors = np.linalg.eigh(matrix)
    tested = vectors[:, values > KNOWN_WELL]
    n = tested.shape[1]
    part = tested.T @ away
    chi2 = float(part @ np.linalg.solve(tested.T @ spread @ tested, part))
    p = float(stats.chi2.sf(chi2, n)) if n else 1.0
    own = posterior_of([information]).covariance
    return Tension(chi2, n, p, own @ away, own @ spread @ own)
