r"""Exact simultaneous bands for the curves and histograms of calibration checks.

Ranks, coverage and TARP all end in the same question: are n numbers uniform? Their
counts below a set of thresholds form one multinomial path. The band is the set of
binomial quantiles at a common tail probability gamma, which is lowered until whole
paths stay inside with the wanted confidence (Sailynoja, Buerkner & Vehtari 2022,
arXiv:2103.10522). The probability of a path is exact and needs no simulation: a
multinomial is n independent Poisson counts given their sum (Levin 1981), so it is
a chain of short convolutions.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Real
from scipy.special import gammaln, xlogy
from scipy.stats import binom

from chemsbi_jax.types import AnyArray

N_BISECTION = 40  # halvings of log gamma; more than double precision resolves


class Band(NamedTuple):
    """Range that holds under the null, ends included."""

    lower: Float[np.ndarray, " point"]
    upper: Float[np.ndarray, " point"]


class Curve(NamedTuple):
    """Share of the truths inside regions of growing credibility, and its test."""

    levels: Float[np.ndarray, " level"]  # requested credibility
    expected: Float[np.ndarray, " level"]  # exact null value, for finitely many draws
    measured: Float[np.ndarray, "level region"]  # share of truths inside
    band: Band  # simultaneous over the levels, under the null
    pointwise: Band  # one level at a time, under the null
    statistic: Float[np.ndarray, " region"]  # largest |measured - expected|
    p_value: Float[np.ndarray, " region"]  # of the whole curve; exact above 1e-10
    inside: Bool[np.ndarray, " region"]  # whole curve within the simultaneous band


def uniform_curve(
    positions: Real[AnyArray, "n *region"],
    n_draws: int | None,
    levels: Sequence[float] | Float[np.ndarray, " level"],
    confidence: float = 0.99,
) -> Curve:
    """Test positions (n,) or (n, region) that are uniform for a right posterior.

    Positions are integers 0..n_draws, or reals in [0, 1] if `n_draws` is None; a truth
    is inside the region of credibility `level` if its position is below it.
    """
    positions, levels = _check_positions(positions, n_draws), _check_levels(levels)
    check_confidence(confidence)
    if n_draws is None:
        thresholds = expected = levels
    else:  # the nearest region that draws can make, and its exact probability
        thresholds = np.round(levels * (n_draws + 1))
        expected = thresholds / (n_draws + 1)
    n = len(positions)
    counts = (positions[:, None, :] < thresholds[:, None]).sum(0)
    low, high = path_band(n, tuple(expected), confidence)
    gamma = _smallest_tail(n, expected, counts)
    band_inside = (counts >= low[:, None]) & (counts <= high[:, None])
    return Curve(
        levels=levels,
        expected=expected,
        measured=counts / n,
        band=Band(low / n, high / n),
        pointwise=Band(*(c / n for c in _quantiles(n, expected, 1 - confidence))),
        statistic=np.abs(counts / n - expected[:, None]).max(0),
        p_value=np.array([_path_p_value(n, expected, g) for g in gamma]),
        inside=band_inside.all(0),
    )


@lru_cache(maxsize=64)
def path_band(
    n: int, expected: tuple[float, ...], confidence: float
) -> tuple[Int[np.ndarray, " point"], Int[np.ndarray, " point"]]:
    """Counts between which a null path of cumulative counts stays, ends included."""
    prob = np.asarray(expected)
    return _widest(n, prob, confidence, partial(_path_probability, n, prob))


@lru_cache(maxsize=64)
def bin_band(
    n: int, shares: tuple[float, ...], confidence: float
) -> tuple[Int[np.ndarray, " bin"], Int[np.ndarray, " bin"]]:
    """Counts between which all bins of a null histogram stay, ends included."""
    prob = np.asarray(shares)
    return _widest(n, prob, confidence, partial(_bin_probability, n, prob))


def check_confidence(confidence: float) -> None:
    """Refuse a confidence that is no probability."""
    if not 0 < confidence < 1:
        raise ValueError(f"Expected a confidence between 0 and 1; got {confidence}.")


def _widest(
    n: int,
    prob: np.ndarray,
    confidence: float,
    probability: Callable[[np.ndarray, np.ndarray], float],
) -> tuple[np.ndarray, np.ndarray]:
    """Quantile band of the largest tail probability that keeps the confidence."""
    # Bonferroni's gamma always holds, gamma = 1 (the medians) hardly ever
    safe, high = np.log((1 - confidence) / len(prob)), 0.0
    for _ in range(N_BISECTION):
        middle = 0.5 * (safe + high)
        if probability(*_quantiles(n, prob, np.exp(middle))) >= confidence:
            safe = middle
        else:
            high = middle
    return _quantiles(n, prob, np.exp(safe))


def _quantiles(n: int, prob: np.ndarray, gamma: float) -> tuple[np.ndarray, np.ndarray]:
    """Binomial counts whose lower and upper tails both have at least gamma / 2."""
    below = _cdf(n, tuple(prob))
    high = (below <= 1 - gamma / 2).sum(1)  # P(X >= c) = 1 - P(X <= c - 1)
    return (below < gamma / 2).sum(1), np.minimum(high, n)


@lru_cache(maxsize=8)
def _cdf(n: int, prob: tuple[float, ...]) -> Float[np.ndarray, "point count"]:
    """P(X <= c) for c = 0..n; a table, since scipy's quantiles may not converge."""
    return binom.cdf(np.arange(n + 1), n, np.asarray(prob)[:, None])


def _smallest_tail(
    n: int, expected: np.ndarray, counts: Int[np.ndarray, "point region"]
) -> Float[np.ndarray, " region"]:
    """Two-sided tail probability of the least likely point of each path."""
    upper = binom.sf(counts - 1, n, expected[:, None])
    return 2 * np.minimum(binom.cdf(counts, n, expected[:, None]), upper).min(0)


def _path_p_value(n: int, expected: np.ndarray, gamma: float) -> float:
    """Probability that a null path has a point as unlikely as `gamma`."""
    beyond = gamma * (1 + 1e-9)  # just inside, so that ties count
    if beyond >= 1:
        return 1.0
    low, high = _quantiles(n, expected, beyond)
    # 1 minus a sum of thousands of terms: rounding errors of up to 1e-11
    return max(0.0, 1.0 - _path_probability(n, expected, low, high))


def _path_probability(
    n: int, expected: np.ndarray, low: np.ndarray, high: np.ndarray
) -> float:
    """Exact probability that all cumulative counts lie in [low, high]."""
    if np.any(low > high):
        return 0.0
    means = n * np.diff(np.concatenate([[0.0], expected, [1.0]]))
    weight, start = np.ones(1), 0
    for mean, first, last in zip(
        means, [*low.tolist(), n], [*high.tolist(), n], strict=True
    ):
        step = _poisson(np.arange(last - start + 1), mean)
        weight = np.convolve(weight, step)[max(first - start, 0) : last - start + 1]
        start = max(first, start)
    return float(weight[0] / _poisson(n, n))


def _bin_probability(
    n: int, shares: np.ndarray, low: np.ndarray, high: np.ndarray
) -> float:
    """Exact probability that all multinomial counts lie in [low, high]."""
    rest = n - low.sum()  # counts beyond the lower ends, shared by the bins
    if rest < 0 or np.any(low > high):
        return 0.0
    weight = np.ones(1)
    for share, first, last in zip(shares, low, high, strict=True):
        weight = np.convolve(weight, _poisson(np.arange(first, last + 1), n * share))
    return float(weight[rest] / _poisson(n, n)) if rest < len(weight) else 0.0


def _poisson(count: np.ndarray | int, mean: float) -> np.ndarray:
    return np.asarray(np.exp(xlogy(count, mean) - mean - gammaln(count + 1.0)))


def _check_positions(
    positions: Real[AnyArray, "n *region"], n_draws: int | None
) -> Real[np.ndarray, "n region"]:
    positions = np.asarray(positions)
    if positions.ndim == 1:
        positions = positions[:, None]
    if positions.ndim != 2 or len(positions) == 0:
        raise ValueError(
            f"Expected ranks of shape (n,) or (n, region); got {positions.shape}."
        )
    top = 1 if n_draws is None else n_draws
    if not np.all((positions >= 0) & (positions <= top)):
        raise ValueError(
            f"Expected ranks between 0 and {top}; got {positions.min()} to "
            f"{positions.max()} (-1 or NaN: a truth or its draws are not finite, "
            "or all draws are equal)."
        )
    return positions


def _check_levels(levels: Sequence[float] | np.ndarray) -> np.ndarray:
    levels = np.asarray(levels, dtype=float)
    ordered = levels.ndim == 1 and len(levels) > 0 and np.all(np.diff(levels) >= 0)
    if not ordered or not np.all((levels > 0) & (levels < 1)):
        raise ValueError(f"Expected rising levels between 0 and 1; got {levels}.")
    return levels
