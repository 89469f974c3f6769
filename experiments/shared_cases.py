"""Coverage of the second interval for tables and priors that differ from the usual.

    python experiments/shared_cases.py

Each case has galaxies with all shared parameters from their priors and any form of the
population, of 100 stars with errors of 0.05 dex: with few abundances, many gaps or held
blocks. Writes shared_cases.json and shared_cases.md: the shares of galaxies inside the
joint regions of 68 and 95 % of both parameters, and the rms of (truth - mean) / sd of
each.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from common.shared_galaxies import (
    draw_galaxies,
    draw_posteriors,
    empty_stars,
    like_stars,
)
from common.tables import write_table
from scipy import stats as distributions
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical import BLOCKS, SharedErrors

LEVELS = (0.68, 0.95)
N_STARS, ERROR = 100, 0.05  # stars of a galaxy; dex, of their abundances
N_DRAWS = 499  # of each posterior


class Case(NamedTuple):
    """Which readings a table has, and which blocks are held."""

    abundances: tuple[str, ...] = cs.ABUNDANCES
    gaps: float = 0.0  # share of missing values
    hold: tuple[str, ...] = ()


CASES = {
    "all eight abundances": Case(),
    "[Fe/H]": Case(("fe_h",)),
    "[Fe/H], [Mg/Fe]": Case(("fe_h", "mg_fe")),
    "[Fe/H], [O/Fe]": Case(("fe_h", "o_fe")),
    "[Fe/H], [Mg/Fe], [Si/Fe]": Case(("fe_h", "mg_fe", "si_fe")),
    "[Fe/H], [Mg/Fe], [O/Fe], [Si/Fe]": Case(("fe_h", "mg_fe", "o_fe", "si_fe")),
    "60 % of the values missing": Case(gaps=0.6),
    "80 % of the values missing": Case(gaps=0.8),
    "yields held": Case(hold=("yields",)),
    "yields and population held": Case(hold=("yields", "population")),
    "yields and zero points held": Case(hold=("yields", "zero_points")),
    "yields and scatter held": Case(hold=("yields", "scatter")),
    "yields, zero points and scatter held": Case(
        hold=("yields", "zero_points", "scatter")
    ),
    "population held": Case(hold=("population",)),
    "all blocks held": Case(hold=BLOCKS),
}


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the tables."""
    n_galaxies: int = 800
    """Galaxies of each case."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bars, no table on the screen."""


def main(config: Config) -> dict:
    """Coverage of all cases; returns the content of the JSON file."""
    check_flags(config, n_galaxies=10)
    keys = jax.random.split(jax.random.key(config.seed), len(CASES))
    bar = tqdm(zip(CASES.items(), keys, strict=True), "cases", len(CASES),
               disable=config.quiet)  # fmt: skip
    n = config.n_galaxies
    rows = {name: coverage(key, case, n) for (name, case), key in bar}
    flags = vars(config) | {"out": str(config.out)}
    content = {"flags": flags, "cases": rows}
    task = config.out / "shared_cases", content, report(rows)
    write_table(*task, quiet=config.quiet)
    return content


def coverage(key, case: Case, n_galaxies: int) -> dict:
    """Shares of galaxies inside joint regions, and rms pulls of both parameters."""
    key_gaps, key_galaxies, key_infer = jax.random.split(key, 3)
    stars = empty_stars(N_STARS, ERROR, case.abundances)
    there = jax.random.uniform(key_gaps, stars.observed.shape) >= case.gaps
    like = like_stars(stars._replace(observed=stars.observed & np.asarray(there)))
    settings = SharedErrors(hold=case.hold)
    how = {"any_form": True, "settings": settings}
    galaxies = draw_galaxies(key_galaxies, n_galaxies, like, **how)
    draws = draw_posteriors(key_infer, galaxies, N_DRAWS, settings)
    draws, truth = draws[..., :N_GLOBAL], galaxies.truth[:, :N_GLOBAL]
    away = truth - draws.mean(axis=1)
    precision = np.linalg.inv([np.cov(x.T) for x in draws])
    chi2 = np.einsum("gi,gij,gj->g", away, precision, away)
    pulls = away / draws.std(axis=1)
    inside = {
        str(level): float(np.mean(chi2 < distributions.chi2.ppf(level, N_GLOBAL)))
        for level in LEVELS
    }
    rms, mean = np.sqrt((pulls**2).mean(axis=0)), pulls.mean(axis=0)
    return {"inside": inside, "rms_pull": rms.tolist(), "mean_pull": mean.tolist()}


def report(rows: dict) -> str:
    """Markdown: one line a case."""
    lines = [
        "| galaxies | inside 68 % | inside 95 % | rms pull of alpha_imf, log10_n_ia | "
        "mean pull |",
        "|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        shares = " | ".join(f"{row['inside'][str(level)]:.0%}" for level in LEVELS)
        rms = ", ".join(f"{x:.2f}" for x in row["rms_pull"])
        mean = ", ".join(f"{x:+.2f}" for x in row["mean_pull"])
        lines.append(f"| {name} | {shares} | {rms} | {mean} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
