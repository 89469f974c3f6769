"""Method `hierarchical` on galaxies whose shared errors are known, and on real stars.

    python experiments/shared_errors.py --study population --n-stars 200
    python experiments/shared_errors.py --study tables

`population` moves the mean of each local parameter by one prior width. `tables` reads
real and simulated star tables of CHEMSBI_DATA. (shared_coverage.py draws many galaxies
from the priors.) Each galaxy is a line of shared_errors_STUDY.jsonl, from which a run
that was stopped goes on; the summary is in shared_errors_STUDY.json and .md.
"""

import contextlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common.findings import findings
from common.intervals import agreement, coverage
from common.shared_galaxies import empty_stars, like_stars
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import priors, results
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS, SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy.checks import describe_fit
from chemsbi_jax.galaxy.hierarchical import (
    BLOCKS,
    HierarchicalPosterior,
    SharedErrors,
    hierarchical_posterior,
    load_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.mock import draw_stars
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import Model, make_stars
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes
from chemsbi_jax.storage.files import sha256_of_arrays, whole_file

TRUTH = (-2.3, -2.89)
N_GAIN = 200
TABLES = {
    "real/bensby2014.csv": (0.07, None),
    "real/reddy2003.csv": (0.07, None),
    "chempy_alternative.ecsv": (0.05, TRUTH),
    "illustris_tng.ecsv": (0.05, TRUTH),
}
"""Star table -> error where it has none [dex], and the truth where there is one."""


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the tables."""
    study: Literal["population", "tables"] = "population"
    """Which galaxies."""
    n_stars: int = 100
    """Stars of a galaxy; of a table, the first ones."""
    error: float = 0.05
    """Error of the abundances of mock stars [dex]."""
    hold: tuple[str, ...] = ()
    """Blocks that the inference holds, with blanks between them (infer.py: commas):
    yields, zero_points (infer.py: zero-points), population, scatter."""
    sampler: Literal["network", "nuts"] = "network"
    """What draws the posteriors; NUTS takes minutes a galaxy."""
    model_stars: float | None = SharedErrors.model_stars
    """With NUTS: m in the power m / (m + n) of the likelihood (`SharedErrors`)."""
    n_draws: int = 2000
    """Draws of each posterior of the network."""
    data: Path = Path("stars")
    """Folder of the star tables."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar, no table on the screen."""


def main(config: Config) -> dict:
    """All galaxies of a study; returns the content of the JSON file."""
    check_flags(config, n_stars=2, n_draws=10)
    prior = cs.paper_prior()
    forward = forward_with_slopes(load_yield_emulator())
    trained = load_shared_network()
    stem = config.out / f"shared_errors_{config.study}"
    if config.sampler == "nuts":
        stem = stem.with_name(stem.name + "_nuts")
    path = stem.with_suffix(".jsonl")
    named = "n_stars", "error", "n_draws", "seed", "model_stars"
    flags = {k: getattr(config, k) for k in named}
    leaves = jax.tree.leaves(eqx.filter(trained.network, eqx.is_inexact_array))
    weights = sha256_of_arrays({str(i): x for i, x in enumerate(leaves)})
    flags |= {"hold": list(config.hold), "network": weights[:12]}
    rows = [r for r in read_rows(path) if r["flags"] == flags]
    done = {r["name"] for r in rows}
    key_infer = jax.random.key(config.seed)
    each = galaxies(config, forward, prior)
    for name, stars, truth in tqdm(each, disable=config.quiet):
        if name in done:
            continue
        key_i, key_gain = jax.random.split(jax.random.fold_in(key_infer, len(rows)))
        stars = stars if isinstance(stars, cs.Stars) else stars()
        how = {k: getattr(config, k) for k in ("hold", "sampler", "model_stars")}
        task = key_i, trained, forward, stars, SharedErrors(**how)
        found = hierarchical_posterior(*task, n_draws=config.n_draws)
        row = {"name": name, "flags": flags, "n_stars": len(stars.values)}
        row |= describe(found, truth)
        if config.study == "tables":
            row["gain"] = gain(key_gain, stars, Model(forward, prior))
        rows.append(row)
        config.out.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(rows[-1]) + "\n")
    summary = {"study": config.study, "flags": flags} | coverage(rows)
    summary["agreement"] = agreement(rows)
    results.write_summary(stem.with_suffix(".json"), summary)
    with whole_file(stem.with_suffix(".md")) as file:
        file.write_text(table(rows, summary), encoding="utf-8")
    if config.study == "tables":
        with whole_file(stem.with_name(f"{stem.name}_findings.md")) as file:
            file.write_text(findings(rows), encoding="utf-8")
    if not config.quiet:
        print(table(rows, summary))
    return summary


def read_rows(path: Path) -> list[dict]:
    """Galaxies of an earlier run; lines that were cut off are removed from the file."""
    text, rows = path.read_text(encoding="utf-8") if path.exists() else "", []
    for line in text.splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    if (whole := "".join(json.dumps(row) + "\n" for row in rows)) != text:
        with whole_file(path) as file:
            file.write_text(whole, encoding="utf-8")
    return rows


def galaxies(config: Config, forward, prior) -> list[tuple]:
    """Name, stars (or a function that reads them) and true latents or parameters."""
    key = jax.random.key(config.seed + 1)
    layout = make_layout(SharedErrors(), SHARED_FACTORS)
    n_psi = len(layout.scale)
    at = layout.slices()
    if config.study == "tables":
        return [
            (name, lambda n=name: read_table(config, n), truth)
            for name, (_, truth) in TABLES.items()
        ]
    found, keys = [], jax.random.split(key, 2 * len(PARAMETERS[N_GLOBAL:]))
    for i, name in enumerate(PARAMETERS[N_GLOBAL:]):
        for j, shift in enumerate((-1.0, 1.0)):
            psi = jnp.zeros(n_psi).at[at["population"].start + i].set(shift)
            stars = make_galaxy(keys[2 * i + j], psi, layout, forward, prior, config)
            label = f"{name} {shift:+.0f}"
            found.append((label, stars, true_parameters(psi, prior)))
    return found


def true_parameters(psi, prior) -> list[float]:
    """alpha_imf and log10_n_ia of true latents."""
    return np.asarray(
        priors.from_normal(tuple(prior)[:N_GLOBAL], psi[:N_GLOBAL])
    ).tolist()


def make_galaxy(key, psi, layout, forward, prior, config: Config) -> cs.Stars:
    """Mock stars of known shared parameters; fewer where the model has no star."""
    empty, model = empty_stars(config.n_stars, config.error), Model(forward, prior)
    width = SharedErrors().outlier_width
    draw = jax.jit(draw_stars)
    drawn, born = draw(key, model, layout, psi, like_stars(empty), width)
    values = np.asarray(drawn.values[:, :-1], float)
    return empty._replace(values=values).take(np.flatnonzero(np.asarray(born)))


def gain(key, stars: cs.Stars, model: Model) -> float:
    """Log likelihood at the mode of psi above that with all shared errors held [nats].

    Of the first `N_GAIN` stars, without outliers.
    """
    total = []
    for hold in ((), tuple(b for b in BLOCKS if b != "outliers")):
        settings = SharedErrors(hold=hold, outlier_share=0.0)
        layout = make_layout(settings, SHARED_FACTORS)
        rows = make_stars(stars.take(slice(N_GAIN)), settings, model.prior)
        mode = find_shared_mode(key, rows, model, layout)  # key reuse: same points
        total.append(mode.value + 0.5 * float((mode.psi**2).sum()))
    return total[0] - total[1]


def read_table(config: Config, name: str) -> cs.Stars:
    """The first stars of a table, with noise where it has none."""
    error, _ = TABLES[name]
    is_clean = name == "chempy_alternative.ecsv"
    names = ",".join(f"{a}=true_{a}" for a in cs.ABUNDANCES) if is_clean else ""
    options = cs.CatalogOptions(default_error=error, columns=names)
    stars = cs.read_catalog(config.data / name, options).stars
    stars = stars.take(np.arange(min(config.n_stars, len(stars.values))))
    if not is_clean:
        return stars
    rng = np.random.default_rng(config.seed)  # noise-free in the file
    return stars._replace(
        values=stars.values + error * rng.normal(size=stars.values.shape)
    )


def describe(found: HierarchicalPosterior, truth) -> dict:
    """Interval, distance from the truth and checks of one galaxy."""
    mean = np.asarray(found.posterior.mean)
    covariance = np.asarray(found.posterior.covariance)
    row = found.summary() | {
        "mean": mean.tolist(),
        "sd": np.sqrt(np.diag(covariance)).tolist(),
    }
    if truth is not None:
        away = np.asarray(truth) - mean
        row |= {"truth": list(truth), "away": (away / row["sd"]).tolist()}
        row["chi2"] = float(away @ np.linalg.solve(covariance, away))
    if found.misfit is not None:
        row["model_fit"] = describe_fit(found.misfit)._asdict()
    return row


def table(rows: list[dict], summary: dict) -> str:
    """Markdown: one line a galaxy, and the coverage below."""
    lines = [
        "| stars | alpha_imf | log10_n_ia | distance [sd] | chi2 | predictive p "
        "| mode_distance | p of the alarm | gain [nats] "
        "| r-hat of NUTS; weight in stars |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        pairs = [f"{m:.3f} ± {s:.3f}" for m, s in zip(r["mean"], r["sd"], strict=True)]
        pairs = pairs if r["converged"] else ["not made"] * 2
        away = ", ".join(f"{x:+.2f}" for x in r.get("away", ()))
        chi2 = f"{r['chi2']:.2f}" if "chi2" in r else ""
        c, checks = r["checks"], f"{r['checks']['predictive_p']:.3f}"
        mode = f"{c['mode_distance']:.1f}" if "mode_distance" in c else ""
        alarm = f"{r['model_fit']['p_value']:.2g}" if "model_fit" in r else ""
        gained = f"{r['gain']:.0f}" if "gain" in r else ""
        r_hat = f"{c['r_hat']:.2f}" if "r_hat" in c else ""
        r_hat += " (by the network)" if c.get("sampler") == "network" else ""
        r_hat += f"; {c['counted_stars']:.0f} stars" if "counted_stars" in c else ""
        cells = (
            f"{r['name']} ({r['n_stars']})",
            *pairs,
            away,
            chi2,
            checks,
            mode,
            alarm,
            gained,
            r_hat,
        )
        lines.append(f"| {' | '.join(cells)} |")
    if summary.get("n"):
        each = [f"{100 * v['joint']:.0f}" for v in summary["inside"].values()]
        lines.append("\nThe regions of 68 and 95 % contain the truth of ")
        lines[-1] += f"{' and '.join(each)} % of {summary['n']} galaxies."
    for pair, chi2 in summary["agreement"].items():
        lines.append(f"\nDifference of {pair}: chi2 {chi2:.1f} of two parameters.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
