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
from common.coverage import count
from common.published_sets import PUBLISHED_SETS
from common.reproduction.galaxies import on_machine
from common.shared_galaxies import Galaxies, default_model, draw_posteriors
from common.simulated_galaxies import Size, simulate_galaxies
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import results
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import (
    SharedErrors,
    hierarchical_posterior,
    load_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.yield_prior import default_scale
from chemsbi_jax.storage.files import whole_file

TABLES = {
    "Bensby+": "stars/real/bensby2014.csv",
    "Reddy+": "stars/real/reddy2003.csv",
}
ERROR = 0.05  # of the abundances of the stars of the other sets [dex]
TABLE_ERROR = 0.07  # of the abundances, which have none in these tables [dex]
STUDIES = {"sets": False, "sets-and-errors": True}  # with errors beside the yields


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table."""
    factors: tuple[float, ...] = (1.0, 0.9, 0.8, 0.7, 0.6)
    """Factors of the default scales of the yield prior."""
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
    key_galaxies, key_infer, key_tables = jax.random.split(
        jax.random.key(config.seed), 3
    )
    names: list[str] = list(PUBLISHED_SETS)
    task = names, Size(config.n_galaxies, config.n_stars, ERROR)
    galaxies = {}
    for study, with_errors in STUDIES.items():
        how = {"with_errors": with_errors, "quiet": config.quiet}
        made = simulate_galaxies(key_galaxies, *task, **how)  # key reuse: the same
        galaxies[study] = made
    rows, tables = [], {name: read_table(file) for name, file in TABLES.items()}
    for factor in tqdm(config.factors, disable=config.quiet):
        settings = narrower(factor)
        # all factors have the same random numbers
        each_width = widths(key_tables, tables, settings)  # key reuse: see above
        row = {"factor": factor, "widths": each_width}
        for study, each in galaxies.items():
            task = each, settings, config.n_draws
            row[study] = coverage(key_infer, *task)  # key reuse: see above
        rows.append(row)
    content = {"flags": vars(config) | {"out": str(config.out)}, "rows": rows}
    results.write_summary(config.out / "yield_prior.json", content)
    with whole_file(config.out / "yield_prior.md") as path:
        path.write_text(report(rows), encoding="utf-8")
    if not config.quiet:
        print(report(rows))
    return content


def read_table(file: str) -> cs.Stars:
    """All stars of a table of CHEMSBI_DATA."""
    path = on_machine(file)
    if path is None:
        raise InputError(
            f"Expected {file} on the machine; set CHEMSBI_DATA, or get it with "
            "experiments/download.py."
        )
    options = cs.CatalogOptions(default_error=TABLE_ERROR)
    return cs.read_catalog(path, options).stars


def narrower(factor: float) -> SharedErrors:
    """The default priors, with other scales of the yield factors and slopes."""
    return SharedErrors(yields={f: factor * default_scale(f) for f in SHARED_FACTORS})


def widths(key, tables: dict[str, cs.Stars], settings: SharedErrors) -> dict:
    """Standard deviations of the galaxy's parameters for tables of stars."""
    trained, found = load_shared_network(), {}
    forward = default_model()[0].forward
    for name, stars in tables.items():
        task = trained, forward, stars, settings
        whole = hierarchical_posterior(key, *task)  # key reuse: the same numbers
        covariance = np.asarray(whole.posterior.covariance)
        found[name] = np.sqrt(np.diag(covariance)).tolist()
    return found


def coverage(key, galaxies: Galaxies, settings: SharedErrors, n_draws: int) -> dict:
    """Shares of galaxies inside regions (`count`), without parameters of the stars."""
    found = count(galaxies.truth, draw_posteriors(key, galaxies, n_draws, settings))
    return {"n": found["n"], "inside": found["inside"], "rms": found["rms_error"]}


def report(rows: list[dict]) -> str:
    """Markdown: one line a factor."""
    names = [f"{name}: `alpha_imf`, `log10_n_ia`" for name in TABLES]
    heads = ["factor", *names, *(f"`{study}`: 68, 95 %" for study in STUDIES)]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        each = [", ".join(f"{x:.3f}" for x in row["widths"][name]) for name in TABLES]
        shares = [
            ", ".join(f"{100 * level['joint']:.0f}" for level in inside.values())
            for inside in (row[study]["inside"] for study in STUDIES)
        ]
        cells = [f"{row['factor']:g}", *each, *shares]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
