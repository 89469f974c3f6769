"""Width and coverage of the second interval for narrower yield priors.

    python experiments/yield_prior.py --out plots

The scales of all yield factors and slopes are multiplied by one factor. The table has
the widths for two catalogues of real stars (CHEMSBI_DATA), and the shares of galaxies
of other published yield sets inside the regions of 68 and 95 %: with the yields as the
only error, and with zero points, scatter and populations from their priors as well
(`sets` and `sets-and-errors` of shared_coverage.py). Writes yield_prior.md and .json.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from common.coverage import LEVELS, count
from common.published_sets import PUBLISHED_SETS
from common.reproduction.galaxies import published_file
from common.shared_galaxies import Galaxies, default_model, draw_posteriors
from common.simulated_galaxies import Size, simulate_galaxies
from common.tables import write_table
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import (
    SharedErrors,
    hierarchical_posterior,
    load_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.yield_prior import default_scale

TABLES = {
    "Bensby+": "stars/real/bensby2014.csv",
    "Reddy+": "stars/real/reddy2003.csv",
}
ERROR = 0.05  # of the abundances of the stars of the other sets [dex]
TABLE_ERROR = 0.07  # of the abundances, which have none in these tables [dex]
CHECKS = ("predictive_p", "predictive_distance", "mode_distance")
STUDIES = {"sets": False, "sets-and-errors": True}  # with errors beside the yields


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table."""
    factors: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.6)
    """Factors of the default scales of the yield prior, at most 1."""
    n_galaxies: int = 600
    """Galaxies of each study."""
    n_stars: int = 100
    """Stars of a galaxy."""
    n_draws: int = 499
    """Draws of each posterior of a galaxy."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar, no table on the screen."""


def main(config: Config) -> dict:
    """All factors; returns the content of yield_prior.json."""
    check_flags(config, n_galaxies=10, n_stars=2, n_draws=50)
    settings = {factor: narrower(factor) for factor in config.factors}
    options = cs.CatalogOptions(default_error=TABLE_ERROR)
    tables = {
        name: cs.read_catalog(published_file(file), options).stars
        for name, file in TABLES.items()
    }
    seed = jax.random.key(config.seed)
    key_galaxies, key_infer, key_tables = jax.random.split(seed, 3)
    galaxies = make_galaxies(key_galaxies, config)
    rows = []
    for factor, priors in tqdm(settings.items(), disable=config.quiet):
        # rows differ by the prior alone, not by their random numbers
        real = infer_tables(key_tables, tables, priors)  # key reuse: see above
        row = {"factor": factor, "tables": real}
        for study, each in galaxies.items():
            task = each, config.n_draws, priors
            draws = draw_posteriors(key_infer, *task)  # key reuse: see above
            row[study] = coverage(each, draws)
        rows.append(row)
    content = {"flags": vars(config) | {"out": str(config.out)}, "rows": rows}
    task = config.out / "yield_prior", content, report(rows)
    write_table(*task, quiet=config.quiet)
    return content


def make_galaxies(key, config: Config) -> dict[str, Galaxies]:
    """Study -> its galaxies."""
    names: list[str] = list(PUBLISHED_SETS)
    size, made = Size(config.n_galaxies, config.n_stars, ERROR), {}
    for study, with_errors in STUDIES.items():
        how = {"with_errors": with_errors, "quiet": config.quiet}
        task = names, size
        made[study] = simulate_galaxies(key, *task, **how)  # key reuse: same galaxies
    return made


def narrower(factor: float) -> SharedErrors:
    """The default priors, with other scales of the yield factors and slopes."""
    if not 0.0 < factor <= 1.0:
        raise InputError(
            "Expected --factors above 0 and at most 1, which has the largest scales of "
            f"the network's training; got {factor:g}."
        )
    return SharedErrors(yields={f: factor * default_scale(f) for f in SHARED_FACTORS})


def infer_tables(key, tables: dict[str, cs.Stars], priors: SharedErrors) -> dict:
    """Standard deviations of the galaxy's parameters, and checks, for real stars."""
    trained, forward, found = load_shared_network(), default_model()[0].forward, {}
    for key_table, (name, stars) in zip(
        jax.random.split(key, len(tables)), tables.items(), strict=True
    ):
        result = hierarchical_posterior(key_table, trained, forward, stars, priors)
        sd = np.sqrt(np.diag(np.asarray(result.posterior.covariance))).tolist()
        checks = {k: result.posterior.checks.get(k) for k in CHECKS}
        found[name] = {"sd": sd, "converged": result.is_converged} | checks
    return found


def coverage(galaxies: Galaxies, draws: np.ndarray) -> dict:
    """Shares of galaxies inside the joint regions: of all, and the least of a set.

    Args:
        galaxies: true latents and yield sets.
        draws: of the latents (galaxy, draw, psi).
    """
    each = [
        _shares(galaxies.truth[rows], draws[rows])
        for rows in (galaxies.labels == label for label in np.unique(galaxies.labels))
    ]
    least = np.min(each, axis=0).tolist()
    shares = _shares(galaxies.truth, draws)
    return {"n": len(draws), "inside": shares, "least_of_a_set": least}


def _shares(truth: np.ndarray, draws: np.ndarray) -> list[float]:
    inside = count(truth, draws)["inside"]
    return [inside[str(level)]["joint"] for level in LEVELS]


def report(rows: list[dict]) -> str:
    """Markdown: one line a factor."""
    names = [f"{name}: `alpha_imf`, `log10_n_ia`" for name in TABLES]
    levels = ", ".join(f"{100 * level:.0f}" for level in LEVELS)
    studies = [f"`{study}`: {levels} % (least of a set)" for study in STUDIES]
    heads = ["factor", *names, *studies]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        cells = [f"{row['factor']:g}"]
        for name in TABLES:
            sd = ", ".join(f"{x:.3f}" for x in row["tables"][name]["sd"])
            cells.append(sd if row["tables"][name]["converged"] else "no interval")
        for study in (row[name] for name in STUDIES):
            least = _percent(study["least_of_a_set"])
            cells.append(f"{_percent(study['inside'])} ({least})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _percent(shares: list[float]) -> str:
    return ", ".join(f"{100 * share:.1f}" for share in shares)


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
