"""Simulation-based calibration: ranks of the truths among posterior draws.

Talts+ 2018 (arXiv:1804.06788). Draws must be independent: thin a Markov chain first.
Ranks can't tell a posterior that ignores the data from a right one; coverage of joint
densities and TARP with references taken from the data can.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float, Int

from chemsbi_jax.diagnostics.bands import Band, Curve, bin_band, uniform_curve
from chemsbi_jax.diagnostics.pooled import check_draws, count_below
from chemsbi_jax.types import AnyArray


class RankTest(NamedTuple):
    """ECDF and histogram of the ranks, each with its simultaneous band."""

    ecdf: Curve  # share of ranks below each level; its regions are the parameters
    edges: Int[
        np.ndarray, " edge"
    ]  # bin b holds the ranks edges[b] <= r < edges[b + 1]
    histogram: Int[np.ndarray, "bin param"]  # counts
    histogram_expected: Float[np.ndarray, " bin"]  # counts; bins can differ by one rank
    histogram_band: Band  # counts, simultaneous over the bins
    histogram_inside: Bool[np.ndarray, " param"]
    statistic: Float[np.ndarray, " param"]  # largest |ECDF - uniform|
    p_value: Float[np.ndarray, " param"]  # exact, of the ECDF
    inside: Bool[np.ndarray, " param"]  # ECDF within its band


@jax.jit
def ranks(
    truths: Float[AnyArray, "n p"], draws: Float[AnyArray, "n draw p"]
) -> Int[AnyArray, "n p"]:
    """Number of draws below the truth, 0..m; -1 where a value is not finite."""
    return count_below(*check_draws(truths, draws))


def rank_test(
    rank: Int[AnyArray, "n p"],
    n_draws: int,
    confidence: float = 0.99,
    n_points: int = 100,
    n_bins: int = 20,
) -> RankTest:
    """Uniformity of ranks 0..n_draws, one test for each parameter.

    A parameter fails by chance with probability 1 - confidence; for p parameters
    together, divide that by p. `inside` is the verdict, from the ECDF; the histogram is
    for the eye, and its band is right on its own.
    """
    rank = np.asarray(rank)
    if rank.ndim != 2:
        raise ValueError(f"Expected ranks of shape (n, p); got {rank.shape}.")
    levels = np.unique(np.linspace(1, n_draws, min(n_points, n_draws)).round())
    ecdf = uniform_curve(rank, n_draws, levels / (n_draws + 1), confidence)

    edges = (
        np.linspace(0, n_draws + 1, min(n_bins, n_draws + 1) + 1).round().astype(int)
    )
    shares = np.diff(edges) / (n_draws + 1)
    counts = np.stack([np.histogram(r, edges - 0.5)[0] for r in rank.T], axis=-1)
    low, high = bin_band(len(rank), tuple(shares), confidence)
    within = (counts >= low[:, None]) & (counts <= high[:, None])
    return RankTest(
        ecdf=ecdf,
        edges=edges,
        histogram=counts,
        histogram_expected=len(rank) * shares,
        histogram_band=Band(low, high),
        histogram_inside=np.asarray(within.all(0)),
        statistic=ecdf.statistic,
        p_value=ecdf.p_value,
        inside=ecdf.inside,
    )
