"""Is a posterior calibrated? Ranks, coverage, TARP and a two-sample test."""

from chemsbi_jax.diagnostics.bands import Band, Curve, uniform_curve
from chemsbi_jax.diagnostics.c2st import C2st, c2st
from chemsbi_jax.diagnostics.coverage import (
    LEVELS,
    central_coverage,
    density_coverage,
    ellipsoid_coverage,
    gaussian_coverage,
    one_sided_coverage,
)
from chemsbi_jax.diagnostics.sbc import RankTest, rank_test, ranks
from chemsbi_jax.diagnostics.score import ScoreTest, score_test
from chemsbi_jax.diagnostics.tarp import tarp

__all__ = [
    "LEVELS",
    "Band",
    "C2st",
    "Curve",
    "RankTest",
    "ScoreTest",
    "c2st",
    "central_coverage",
    "density_coverage",
    "ellipsoid_coverage",
    "gaussian_coverage",
    "one_sided_coverage",
    "rank_test",
    "ranks",
    "score_test",
    "tarp",
    "uniform_curve",
]
