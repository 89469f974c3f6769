"""The second interval for stars whose population has another form than the model's.

    python experiments/population_forms.py --out plots

The model has one normal distribution of each local parameter, without correlation. Here
the stars of a galaxy are of two populations, with correlated local parameters; yields,
zero points and scatter come from their priors. Three posteriors are compared with the
truth: that of the network, the coarsened one, in which the stars count as fewer
(`SharedErrors.model_stars`), and that of the likelihood of all stars, the last two as
the normal at their mode. Writes population_forms.md and .json.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from common.population_forms import WAYS, compare_ways, draw_galaxies
from common.tables import write_table
from scipy import stats as distributions
from tqdm import tqdm

from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical.settings import FAR_MODE

LEVELS = (0.68, 0.95)


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table."""
    n_galaxies: int = 40
    """Galaxies."""
    n_stars: int = 256
    """Stars of a galaxy."""
    error: float = 0.05
    """Error of the abundances [dex]."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar, no table on the screen."""


def main(config: Config) -> dict:
    """All galaxies; returns the content of population_forms.json."""
    check_flags(config, n_galaxies=4, n_stars=20, error=0.001)
    key_galaxies, key_infer = jax.random.split(jax.random.key(config.seed))
    galaxies = draw_galaxies(
        key_galaxies, config.n_galaxies, config.n_stars, config.error
    )
    keys = jax.random.split(key_infer, config.n_galaxies)
    each = zip(tqdm(galaxies, disable=config.quiet), keys, strict=True)
    rows = [compare_ways(key, galaxy) for galaxy, key in each]
    content = {"flags": vars(config) | {"out": str(config.out)}, "rows": rows}
    task = config.out / "population_forms", content, report(rows)
    write_table(*task, quiet=config.quiet)
    return content


def report(rows: list[dict]) -> str:
    """Markdown: one line a posterior."""
    limits = distributions.chi2.ppf(LEVELS, N_GLOBAL)
    lines = [
        "| posterior | 68 % joint | 95 % joint | median chi2 | widths |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        chi2 = np.array([row[way]["chi2"] for row in rows])
        widths = np.median([row[way]["sd"] for row in rows], axis=0)
        shares = [f"{100.0 * (chi2 < limit).mean():.0f} %" for limit in limits]
        cells = [way, *shares, f"{np.median(chi2):.1f}"]
        cells.append(f"{widths[0]:.3f}, {widths[1]:.3f}")
        lines.append(f"| {' | '.join(cells)} |")
    far = sum(row["mode_distance"] > FAR_MODE for row in rows)
    outside = sum(bool(row["far_population"]) for row in rows)
    lines += [
        "",
        f"The mode of the likelihood of all stars is {FAR_MODE} or more widths of the "
        f"network's interval from its middle in {far} of {len(rows)} galaxies; in "
        f"{outside}, its population is far from the prior.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
