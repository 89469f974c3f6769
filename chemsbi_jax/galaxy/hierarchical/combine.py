"""Several catalogues of one galaxy: the posterior of what they have in common.

Catalogues of the same stars' galaxy have its parameters and its yields in common; zero
points, scatter and the selected population are each catalogue's own. The posteriors of
the common parameters are multiplied, with all priors but one divided out. A product of
the two galaxy parameters alone would be too narrow: an error of the yields moves all
catalogues together.

Each posterior is taken as normal, in whitened parameters, whose prior is a standard
normal distribution. The information of a catalogue is its precision minus that of the
prior. A part of the variance of each posterior is the error of the network that made
it. This error is about the same for all catalogues of a galaxy, so that the
posteriors of K catalogues are worth fewer than K independent ones.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

KNOWN_WELL = 0.5  # information of a direction, over that of the prior, that is tested
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


class Surprise(NamedTuple):
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

    Directions in which the draws are wider than the prior, by chance or because they
    are not normal, have no information.

    Args:
        draws: of equal weight.
        n_effective: independent draws that they are worth; None: all are independent.
    """
    mean = draws.mean(axis=0)
    n = len(draws) if n_effective is None else n_effective
    # the inverse of a covariance of few draws is too large (Hartlap+ 2007, eq. 17)
    unbiased = (n - len(mean) - 2.0) / (n - 1.0)
    precision = unbiased * np.linalg.inv(np.cov(draws.T))
    values, vectors = np.linalg.eigh(precision - np.eye(len(mean)))
    matrix = (vectors * np.maximum(values, 0.0)) @ vectors.T
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

    Args:
        parts: about the common parameters.
        correlation: of the errors of two of them: the mean of K such estimates has the
            variance (1 + (K - 1) correlation) / K of that of one.
    """
    power = 1.0 / (1.0 + (len(parts) - 1) * correlation)
    vector, matrix = (power * np.sum(x, axis=0) for x in zip(*parts, strict=True))
    covariance = np.linalg.inv(np.eye(len(vector)) + matrix)
    return Normal(covariance @ vector, covariance)


def surprise_of(
    information: Information,
    others: Sequence[Information],
    variance: Float[np.ndarray, " common"],
) -> Surprise:
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
    return Surprise(chi2, n, p, own @ away, own @ spread @ own)
