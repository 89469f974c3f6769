"""Coverage and width of the common interval of several catalogues of a galaxy.

    python experiments/combined_catalogues.py --out plots

Mock galaxies are observed by four catalogues with abundances, zero points, scatter,
populations and errors of the slopes of their own. Two, three and four of them are
combined, as `chemsbi combine` does, and, for comparison, without the correlation of
their errors, and by the posteriors of the two galaxy parameters alone. Writes
combined_catalogues.md and .json.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from common.several_catalogues import IS_SLOPE, Observed, observe
from common.tables import write_table
from jaxtyping import Float
from scipy import stats

from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import GLOBAL_PARAMETERS, N_GLOBAL, SLOPE_ERROR
from chemsbi_jax.galaxy.hierarchical.combine import (
    CORRELATION,
    Information,
    Normal,
    information_of,
    posterior_of,
    tension_of,
    with_own_errors,
)
from chemsbi_jax.inference.combined import MIN_P

LEVELS = (0.68, 0.95)
CORRELATIONS = np.arange(0.0, 0.61, 0.02)  # candidates


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table."""
    n_galaxies: int = 600
    """Number of galaxies."""
    slope_error: float = SLOPE_ERROR
    """Errors of the slopes of each catalogue [dex per dex]."""
    n_draws: int = 4000
    """Draws of each posterior."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar, no table on the screen."""


def main(config: Config) -> dict:
    """All galaxies; returns the content of combined_catalogues.json."""
    check_flags(config, n_galaxies=10, n_draws=100, slope_error=0)
    size = config.n_galaxies, config.slope_error, config.n_draws
    seen = observe(jax.random.key(config.seed), *size, config.quiet)
    variance = (config.slope_error / seen.slope_scale * IS_SLOPE) ** 2
    own = [_all(draws) for draws in seen.draws.values()]
    common = [[with_own_errors(x, variance) for x in each] for each in own]
    alone = {name: count(seen, _alone(draws)) for name, draws in seen.draws.items()}
    rows = alone | of_several(seen, own, common, variance)
    best = best_correlation(seen, common)
    flags = vars(config) | {"out": str(config.out)}
    content = {"flags": flags, "rows": rows, "best_correlation": best}
    path, text = config.out / "combined_catalogues", table(rows, best)
    write_table(path, content, text, quiet=config.quiet)
    return content


def of_several(
    seen: Observed,
    own: list[list[Information]],
    common: list[list[Information]],
    variance: Float[np.ndarray, " common"],
) -> dict:
    """Rows of two and more catalogues.

    Args:
        seen: galaxies.
        own: catalogue, galaxy -> information about its own parameters.
        common: the same about the common parameters.
        variance: of the errors of a catalogue's own parameters.
    """
    others = [_all(draws) for draws in seen.others.values()]
    two = [_all(draws[..., :N_GLOBAL]) for draws in seen.draws.values()]
    rows = {}
    for k in range(2, len(own) + 1):
        rest, task = own[: k - 1], (common[: k - 1], variance)
        next_galaxy = own[k - 1][1:] + own[k - 1][:1]
        for correlation in (CORRELATION, 0.0):
            label = f"{k} catalogues, correlation {correlation:g}"
            rows[label] = count(seen, _together(common[:k], correlation))
            label = f"{k}, galaxy parameters alone, correlation {correlation:g}"
            rows[label] = count(seen, _together(two[:k], correlation))
        rows[f"{k} catalogues, correlation {CORRELATION:g}"] |= {
            "contradict": contradictions([*rest, own[k - 1]], *task),
            "same yields": contradictions([*rest, others[k - 1]], *task),
            "other yields": contradictions([*rest, next_galaxy], *task),
        }
    return rows


def _all(draws: Float[np.ndarray, "galaxy draw common"]) -> list[Information]:
    return [information_of(x) for x in draws]


def _alone(draws: Float[np.ndarray, "galaxy draw common"]) -> list[Normal]:
    return [Normal(x.mean(axis=0), np.cov(x.T)) for x in draws]


def _together(parts: list[list[Information]], correlation: float) -> list[Normal]:
    return [posterior_of(each, correlation) for each in zip(*parts, strict=True)]


class Away(NamedTuple):
    """The true parameters of the galaxies beside their posteriors."""

    error: Float[np.ndarray, "galaxy 2"]  # truth less the mean, in prior widths
    covariance: Float[np.ndarray, "galaxy 2 2"]
    chi2: Float[np.ndarray, " galaxy"]


def away(seen: Observed, found: list[Normal]) -> Away:
    """Distances of the true parameters from the posteriors."""
    first = slice(N_GLOBAL)
    error = seen.truth[:, first] - np.array([x.mean[first] for x in found])
    covariance = np.array([x.covariance[first, first] for x in found])
    chi2 = np.einsum("gi,gij,gj->g", error, np.linalg.inv(covariance), error)
    return Away(error, covariance, chi2)


def count(seen: Observed, found: list[Normal]) -> dict:
    """Shares of galaxies inside the joint regions; widths in those of the prior."""
    error, covariance, chi2 = away(seen, found)
    sd = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).mean(axis=0)
    rms = np.sqrt((error**2).mean(axis=0))
    return {
        "inside": {
            str(level): float(np.mean(chi2 < stats.chi2.ppf(level, N_GLOBAL)))
            for level in LEVELS
        },
        "median_chi2": float(np.median(chi2)),
        "sd": dict(zip(GLOBAL_PARAMETERS, sd.tolist(), strict=True)),
        "rms_error": dict(zip(GLOBAL_PARAMETERS, rms.tolist(), strict=True)),
    }


def contradictions(
    own: list[list[Information]],
    first: list[list[Information]],
    variance: Float[np.ndarray, " common"],
) -> float:
    """Share of galaxies whose catalogues are said to contradict each other.

    Args:
        own: catalogue, galaxy -> information about its own parameters.
        first: the same of all catalogues but the last one about the common parameters.
        variance: of the errors of a catalogue's own parameters.
    """
    last = [with_own_errors(x, variance) for x in own[-1]]
    flagged = []
    for mine, rest in zip(
        zip(*own, strict=True), zip(*first, last, strict=True), strict=True
    ):
        p = [
            tension_of(one, rest[:j] + rest[j + 1 :], variance).p
            for j, one in enumerate(mine)
        ]
        flagged.append(min(p) * len(p) < MIN_P)
    return float(np.mean(flagged))


def best_correlation(seen: Observed, common: list[list[Information]]) -> float:
    """The correlation with the largest density of the true galaxy parameters."""

    def density(correlation: float) -> float:
        _, covariance, chi2 = away(seen, _together(common, correlation))
        return float(-np.sum(chi2 + np.linalg.slogdet(covariance)[1]))

    return float(max(CORRELATIONS, key=density))


def table(rows: dict, best: float) -> str:
    """The rows as Markdown."""
    lines = [
        "| catalogues | 68 % joint | 95 % joint | median chi2 | widths | rms errors | "
        "contradictions: one galaxy, two with the same yields, two with other yields |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        shares = [f"{100 * share:.1f} %" for share in row["inside"].values()]
        each = [
            ", ".join(f"{row[key][p]:.2f}" for p in GLOBAL_PARAMETERS)
            for key in ("sd", "rms_error")
        ]
        keys = [k for k in ("contradict", "same yields", "other yields") if k in row]
        flagged = ", ".join(f"{100 * row[key]:.1f}" for key in keys)
        flagged += " %" if keys else ""
        cells = (name, *shares, f"{row['median_chi2']:.2f}", *each, flagged)
        lines.append(f"| {' | '.join(cells)} |")
    lines.append(
        f"\nThe correlation of the errors of two catalogues that gives the true "
        f"parameters the largest density is {best:.2f} in this sample; "
        f"{CORRELATION:.2f} is used."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
