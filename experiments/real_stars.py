"""Real stars of the solar neighbourhood through the whole chain, with every warning.

    python experiments/real_stars.py --out plots

For each table and set of abundances: the posterior by `exact` and what the misfit alarm
says; with all abundances the robust posterior, too. Writes real_stars.md and .json, and
a figure of the stars over the model's predictive range. Needs the published star tables
(CHEMSBI_DATA, or experiments/download.py).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from common.reproduction.galaxies import published_file

import chemsbi_jax as cs
from chemsbi_jax import plots, results
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.galaxy.checks import N_CHECK_DRAWS, check_fit
from chemsbi_jax.galaxy.networks import Networks, load_networks
from chemsbi_jax.npe.noise import add_noise
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.storage.files import whole_file

SETS = {
    "bensby2014": ("", "o_fe", "mg_fe", "si_fe"),
    "reddy2003": ("", "c_fe,n_fe", "o_fe", "mg_fe", "si_fe"),
}
"""Tables, and the abundances that are left out in turn."""


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table and the figures."""
    default_error: float = 0.07
    """Error of the abundances [dex]; the tables have none."""
    weights: str = "tng-any"
    """Networks."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress, no table on the screen."""


def main(config: Config) -> dict:
    """All tables and sets; returns the content of real_stars.json."""
    check_flags(config)
    watch = Stopwatch(config.quiet)
    npe, forward = load_networks(config.weights)
    rows = []
    for name, sets in SETS.items():
        path = published_file(f"stars/real/{name}.csv")
        for without in sets:
            with watch(f"{name} without {without}" if without else name):
                rows.append(infer_set(name, path, without, npe, forward, config))
            results.write_summary(config.out / "real_stars.json", {"rows": rows})
            with whole_file(config.out / "real_stars.md") as file:
                file.write_text(report(rows), encoding="utf-8")
    if not config.quiet:
        print(report(rows))
    return {"rows": rows}


def infer_set(name, path: Path, without: str, npe, forward, config: Config) -> dict:
    """One row: exact, robust and the alarm for one set of abundances."""
    options = cs.CatalogOptions(default_error=config.default_error, without=without)
    catalog = cs.read_catalog(path, options)
    stars = catalog.stars
    keys = jax.random.split(jax.random.key(config.seed), 4)
    draws = cs.sample_stars(keys[0], npe, stars, N_CHECK_DRAWS)
    flow = cs.infer_galaxy(keys[1], npe, stars, forward=forward)
    exact = cs.infer_galaxy(keys[1], npe, stars, "exact", forward=forward)
    misfit = check_fit(keys[2], Networks(npe, forward), stars, draws, flow)
    seen = [n for i, n in enumerate(cs.ABUNDANCES) if stars.observed[:, i].any()]
    each = zip(cs.ABUNDANCES, misfit.mean_residual.tolist(), strict=True)
    residuals: dict[str, float] = dict(each)
    row = {
        "set": name,
        "abundances": seen,
        "n_stars": len(stars.values),
        "left_out": len(exact.checks["left_out"]),
        "catalogue": list(catalog.report.notes),
        "flow": numbers(flow),
        "exact": numbers(exact),
        "flagged": misfit.is_flagged,
        "p_value": misfit.p_value,
        "text": misfit.text,
        "mean_residual_dex": {k: residuals[k] for k in seen},
    }
    if without:
        return row
    draw_predictive(keys[3], stars, exact, draws, forward, config.out / name)
    robust = cs.infer_galaxy(keys[1], npe, stars, "robust", forward=forward)
    errors = robust.checks["model_error_dex"]
    return row | {
        "robust": numbers(robust),
        "model_error_dex": {k: errors[k] for k in seen},
    }


def numbers(posterior: cs.GalaxyPosterior) -> dict:
    """Mean and standard deviation of both parameters."""
    sd = np.sqrt(np.diag(posterior.covariance))
    return {"mean": np.asarray(posterior.mean), "sd": sd}


def draw_predictive(key, stars, galaxy, draws, forward, stem: Path) -> None:
    """The stars over what the model expects of them at the galaxy's parameters."""
    theta = jnp.swapaxes(draws, 0, 1)
    theta = theta.at[..., :2].set(jnp.asarray(galaxy.mean))
    predicted = add_noise(key, forward(theta), np.nan_to_num(stars.errors))
    figure = plots.plot_predictive(stars, np.asarray(predicted))
    plots.save_figure(figure, stem.with_name(f"real_{stem.name}.png"))


def report(rows: list[dict]) -> str:
    """A table in Markdown."""
    lines = [
        "| stars | abundances | N (left out) | exact | robust | alarm "
        "| mean residuals [dex] | model errors [dex] |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        names = ", ".join(n.removesuffix("_fe").removesuffix("_h") for n in
                          r["abundances"])  # fmt: skip
        cells = [r["set"], names, f"{r['n_stars']} ({r['left_out']})"]
        for method in ("exact", "robust"):
            p = r.get(method)
            pairs = zip(p["mean"], p["sd"], strict=True) if p else ()
            cells.append(", ".join(f"{m:.3f} ± {s:.3f}" for m, s in pairs))
        cells.append(
            f"fires (p = {r['p_value']:.1g})"
            if r["flagged"]
            else f"silent (p = {r['p_value']:.2g})"
        )
        for key, form in (("mean_residual_dex", "+.3f"), ("model_error_dex", ".3f")):
            pairs = r.get(key, {}).items()
            cells.append(", ".join(f"{k.split('_')[0]} {v:{form}}" for k, v in pairs))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
