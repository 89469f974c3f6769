r"""Expected coverage: how often credible regions hold the truth.

Central and one-sided intervals of each parameter; regions of highest density and
ellipsoids of all parameters together. A region of credibility :math:`\alpha` must hold
a share :math:`\alpha` of the truths (Hermans+ 2022, arXiv:2110.06581).

What each detects: a wrong width shows in all of them. A shift by :math:`\delta` sigma
changes the central coverage only by order :math:`\delta^2`, and more truths enter on
one side as leave on the other, so look at one-sided intervals or at SBC for shifts.
To test some parameters alone, pass their columns.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.stats import chi2

from chemsbi_jax.diagnostics.bands import Curve, uniform_curve
from chemsbi_jax.diagnostics.pooled import check_draws, count_below, standardize
from chemsbi_jax.types import AnyArray

LEVELS = tuple(sorted([*np.linspace(0.05, 0.95, 19).round(2).tolist(), 0.68, 0.99]))


def central_coverage(
    truths: Float[AnyArray, "n p"],
    draws: Float[AnyArray, "n draw p"],
    levels: tuple[float, ...] = LEVELS,
    confidence: float = 0.99,
) -> Curve:
    """Coverage of the equal-tailed interval of each parameter; regions = parameters."""
    truths, draws = check_draws(truths, draws)
    n_draws = draws.shape[1]
    rank = np.asarray(_count(truths, draws))
    position = np.where(rank < 0, -1, _from_the_middle(rank, n_draws))
    return uniform_curve(position, n_draws, levels, confidence)


def one_sided_coverage(
    truths: Float[AnyArray, "n p"],
    draws: Float[AnyArray, "n draw p"],
    levels: tuple[float, ...] = LEVELS,
    confidence: float = 0.99,
) -> Curve:
    """Share of truths below each posterior quantile; regions = parameters."""
    truths, draws = check_draws(truths, draws)
    return uniform_curve(_count(truths, draws), draws.shape[1], levels, confidence)


def density_coverage(
    truth_log_prob: Float[AnyArray, " n"],
    draw_log_prob: Float[AnyArray, "n draw"],
    levels: tuple[float, ...] = LEVELS,
    confidence: float = 0.99,
) -> Curve:
    """Coverage of highest-density regions, in any dimension; one region.

    Takes the natural log posterior density at the truths and at draws from it, up to a
    constant for each posterior.
    """
    truth, draw = jnp.asarray(truth_log_prob), jnp.asarray(draw_log_prob)
    if truth.ndim != 1 or draw.ndim != 2 or len(draw) != len(truth):
        raise ValueError(
            "Expected log densities of shapes (n,) and (n, m); "
            f"got {truth.shape} and {draw.shape}."
        )
    return uniform_curve(_count(-truth, -draw), draw.shape[1], levels, confidence)


def ellipsoid_coverage(
    truths: Float[AnyArray, "n p"],
    draws: Float[AnyArray, "n draw p"],
    levels: tuple[float, ...] = LEVELS,
    confidence: float = 0.99,
) -> Curve:
    """Coverage of ellipsoids from the mean and covariance of the draws; one region.

    The credibility of an ellipsoid is the share of draws in it, so the test is exact
    for posteriors of any shape.
    """
    truths, draws = check_draws(truths, draws)
    n_draws = draws.shape[1]
    if n_draws <= truths.shape[1]:
        raise ValueError(f"Expected more than p draws; got draws.shape {draws.shape}.")
    return uniform_curve(_ellipsoid_rank(truths, draws), n_draws, levels, confidence)


def gaussian_coverage(
    truths: Float[AnyArray, "n p"],
    mean: Float[AnyArray, "n p"],
    covariance: Float[AnyArray, "n p p"],
    levels: tuple[float, ...] = LEVELS,
    confidence: float = 0.99,
) -> Curve:
    """Coverage of the ellipsoids of Gaussian posteriors, without draws; one region."""
    truths, mean, covariance = (
        np.asarray(a, float) for a in (truths, mean, covariance)
    )
    shapes = truths.shape, mean.shape, covariance.shape
    n, p = truths.shape if truths.ndim == 2 else (0, 0)
    if shapes != ((n, p), (n, p), (n, p, p)):
        raise ValueError(f"Expected shapes (n, p), (n, p) and (n, p, p); got {shapes}.")
    delta = truths - mean
    distance = (delta * np.linalg.solve(covariance, delta[..., None])[..., 0]).sum(-1)
    return uniform_curve(chi2.cdf(distance, p), None, levels, confidence)


_count = jax.jit(count_below)


@jax.jit
def _ellipsoid_rank(
    truths: Float[AnyArray, "n p"], draws: Float[AnyArray, "n draw p"]
) -> Int[AnyArray, " n"]:
    both, *_ = standardize(truths, draws)
    covariance = jnp.einsum("nmi,nmj->nij", both, both) / both.shape[1]
    precision = jnp.linalg.inv(covariance)
    distance = jnp.einsum("nmi,nij,nmj->nm", both, precision, both)
    return count_below(distance[:, 0], distance[:, 1:])


def _from_the_middle(rank: np.ndarray, n_draws: int) -> np.ndarray:
    """Order of the ranks 0..m by distance from m / 2: 0 is the median, m the end.

    One to one, so that uniform ranks stay uniform; of two equally far ranks the lower
    one comes first.
    """
    off = 2 * rank - n_draws
    return np.where(off > 0, off, np.maximum(-off - 1, 0))
