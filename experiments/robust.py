"""What a model error for each abundance changes, on galaxies with known truth.

    python experiments/robust.py --out plots

Compares `robust` with `exact` on stars that the model made (the price) and on stars of
other yields (the gain); writes robust.md and robust.json. Needs the published tables.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from common.reproduction.galaxies import load_galaxies
from common.reproduction.inference import chi2, first
from common.tables import write_table
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax.cli.run import run_script
from chemsbi_jax.errors import InputError
from chemsbi_jax.results.stopwatch import Stopwatch

SURE = 5.991  # 95 % point of chi2 with two degrees of freedom


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table."""
    sets: tuple[str, ...] = ("tng", "chempy-alternative", "alternative")
    """Data sets, by their names in reproduce.py; the first one is the model's own."""
    n_stars: int = 200
    """Stars of each data set."""
    weights: str = "tng"
    """Networks."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress, no table on the screen."""


def main(config: Config) -> dict:
    """All sets; returns the content of robust.json."""
    watch = Stopwatch(config.quiet)
    key_data, key_infer = jax.random.split(jax.random.key(config.seed))
    npe = cs.load_npe(config.weights)
    forward = Partial(cs.emulate, emulator=cs.load_emulator(config.weights))
    galaxies = load_galaxies(key_data, 1000, config.seed)
    rows = []
    for name in config.sets:
        galaxy = galaxies.get(name)
        if galaxy is None or galaxy.stars is None:
            raise InputError(
                f"Expected data sets among {tuple(galaxies)} that are on the machine "
                f"(experiments/download.py); got {name!r}."
            )
        stars = first(galaxy.stars, config.n_stars)
        with watch(name):
            exact, robust = (
                # key reuse: common random numbers
                cs.infer_galaxy(key_infer, npe, stars, m, forward=forward)  # key reuse:
                for m in ("exact", "robust")
            )
        rows.append(compare(name, galaxy.truth, exact, robust))
    content = {"rows": rows, "seconds": watch.seconds}
    write_table(config.out / "robust", content, report(rows), quiet=config.quiet)
    return content


def compare(name: str, truth, exact, robust) -> dict:
    """One row: both posteriors, their widths and distances from the truth."""
    row = {"set": name, "truth": truth}
    for posterior in (exact, robust):
        sd = np.sqrt(np.diag(posterior.covariance))
        row[posterior.method] = {
            "mean": np.asarray(posterior.mean),
            "sd": sd,
            "distance": float(np.sqrt(chi2(posterior, truth))),
            "holds_truth": bool(chi2(posterior, truth) < SURE),
        }
    row["width_ratio"] = row["robust"]["sd"] / row["exact"]["sd"]
    return row | {"model_error_dex": robust.checks["model_error_dex"]}


def report(rows: list[dict]) -> str:
    """A table in Markdown."""
    lines = [
        "| stars | exact | distance | robust | distance | widths | errors [dex] |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        cells = [r["set"]]
        for method in ("exact", "robust"):
            p = r[method]
            pairs = zip(p["mean"], p["sd"], strict=True)
            cells += [", ".join(f"{m:.3f} ± {s:.3f}" for m, s in pairs)]
            inside = " (inside 95 %)" if p["holds_truth"] else ""
            cells += [f"{p['distance']:.2f}{inside}"]
        cells += [", ".join(f"{x:.2f}" for x in r["width_ratio"])]
        errors = r["model_error_dex"]
        worst = sorted(errors, key=errors.get, reverse=True)[:3]
        cells += [", ".join(f"{k} {errors[k]:.3f}" for k in worst)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
