"""Gold standard for a table of stars: NUTS over the galaxy and all of its stars.

    python experiments/nuts.py STARS --out DIR
    python experiments/nuts.py --compare --out DIR   # every method against NUTS

Writes summary.json (with a convergence block), posterior.nc and, if it converged, a
figure beside the flow's answer. With --compare it writes compare.md and compare.json
instead, for data sets of reproduce.py. Exit codes as in infer.py.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import jax
import star_flags
import tyro
from jax.tree_util import Partial
from nuts_compare import compare_all, report_comparison

import chemsbi_jax as cs
from chemsbi_jax import plots, results
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.nuts.sampler import run_nuts
from chemsbi_jax.npe import choose_weights
from chemsbi_jax.scripts import Stopwatch, check_flags, load_networks, run_script
from chemsbi_jax.storage.files import whole_file


@dataclass(frozen=True)
class Config(star_flags.StarFlags):
    """Flags of this script."""

    stars: Annotated[Path | None, tyro.conf.Positional] = None
    """Star table: ECSV, FITS, CSV, VOTable or Parquet."""
    out: Path = Path("runs/nuts")
    """Folder for the results."""
    compare: bool = False
    """Compare flow, gaussian and exact with NUTS; needs the published tables."""
    compare_n_stars: tuple[int, ...] = (10, 200, 1000)
    """Numbers of stars of --compare."""
    compare_sets: tuple[str, ...] = ("tng", "chempy-alternative", "illustris-tng")
    """Data sets of --compare, by their names in reproduce.py."""
    n_stars: int | None = None
    """Use only the first stars of the table."""
    weights: str = "auto"
    """Networks: tng-any, tng, tng-legacy, or a folder; auto: the one for the stars."""
    forward: Literal["emulator", "simulator"] = "emulator"
    """Model of the likelihood."""
    yields: str = "tng"
    """Yield set of the simulator."""
    n_chains: int = 2
    """Chains side by side."""
    n_warmup: int = 80
    """Steps that are not kept, per chain."""
    n_draws: int = 500
    """Kept steps, per chain."""
    seed: int = 0
    """Of everything random."""
    strict: bool = False
    """Exit with 3 if the chains did not converge."""
    quiet: bool = False
    """No progress, no summary on the screen."""


def main(config: Config) -> dict:
    """Run NUTS; returns the content of summary.json, or of compare.json."""
    check_flags(config, n_chains=1, n_warmup=1, n_draws=4, compare_n_stars=1)
    if config.compare:
        return run_comparison(config)
    if config.stars is None:
        raise InputError("Expected a star table, or --compare; got neither.")
    watch = Stopwatch(config.quiet)
    with watch("read"):
        catalog = star_flags.read(config.stars, config, config.out, config.quiet)
        stars = first_stars(catalog.stars, config.n_stars)
        if config.weights == "auto":
            config = replace(config, weights=choose_weights(stars))
        npe, forward = load_models(config)
        npe.reader.inputs(stars, str(config.stars))  # complains with the file's name
    key_flow, key_nuts = jax.random.split(jax.random.key(config.seed))
    with watch("flow"):
        flow = cs.infer_galaxy(key_flow, npe, stars, forward=forward)
    with watch("nuts"):
        result = run_nuts(
            key_nuts,
            forward,
            stars,
            npe,
            n_chains=config.n_chains,
            n_warmup=config.n_warmup,
            n_draws=config.n_draws,
            quiet=config.quiet,
        )
    converged = result.convergence["converged"]
    warnings = [] if converged else [why_not(result.convergence)]
    if converged:
        figure = plots.plot_galaxy(result.posterior, others={"flow": flow})
        plots.save_figure(figure, config.out / "posterior.png")
    results.write_posterior(
        config.out / "posterior.nc", result.posterior, stars, result.star_draws
    )
    summary = results.summary(
        result.posterior,
        n_stars=len(stars.values),
        n_used=len(stars.values),
        warnings=warnings,
        seconds=watch.seconds | {"nuts, compilation": watch.compiled["nuts"]},
        provenance=results.provenance(
            seed=config.seed,
            emulator=f"{config.forward} {config.weights}",
            npe=config.weights,
            stars=config.stars,
        ),
    ) | {"convergence": result.convergence}
    summary = star_flags.add_to(summary, catalog.report)
    results.write_summary(config.out / "summary.json", summary)
    if not config.quiet:
        print(report(summary, config.out))
    return summary


def why_not(convergence: dict) -> str:
    """What a user can do about chains that did not pass the gate."""
    n = convergence["divergences"]
    if n:
        return (
            f"not converged: {n} steps diverged, with smaller steps too. Some stars "
            "lie where the model ends: look at the residuals of infer.py."
        )
    return "not converged: use more --n-draws"


def run_comparison(config: Config) -> dict:
    """Every method against NUTS on the same stars; returns compare.json's content."""
    if config.weights == "auto":
        config = replace(config, weights="tng")
    npe, forward = load_models(config)
    sizes = {"n_chains": config.n_chains, "n_warmup": config.n_warmup}
    sizes |= {"n_draws": config.n_draws, "quiet": config.quiet}

    def keep(rows: list[dict]) -> None:
        failed = [r["set"] for r in rows if not r["converged"]]
        content = {"rows": rows, "warnings": failed}
        results.write_summary(config.out / "compare.json", content)
        with whole_file(config.out / "compare.md") as path:
            path.write_text(report_comparison(rows), encoding="utf-8")

    key = jax.random.key(config.seed)
    rows = compare_all(key, npe, forward, config, sizes, keep)
    if not config.quiet:
        print(report_comparison(rows))
    return {"rows": rows, "warnings": [r["set"] for r in rows if not r["converged"]]}


def first_stars(stars: cs.Stars, n: int | None) -> cs.Stars:
    """The first `n` rows of a table."""
    if n is not None and not 1 <= n <= len(stars.values):
        raise InputError(
            f"Expected --n-stars between 1 and {len(stars.values)}, the stars of the "
            f"table; got {n}."
        )
    return stars.take(slice(None, n))


def load_models(config: Config):
    """The posterior network; the emulator, or the exact simulator."""
    if config.forward == "emulator":
        return load_networks(config.weights)
    npe = cs.load_npe(config.weights)
    return npe, Partial(cs.simulate, yields=cs.load_yields(config.yields))


def report(summary: dict, out: Path) -> str:
    """What a user sees on the screen."""
    lines = [f"{summary['n_used']} stars, NUTS:"]
    for name in cs.PARAMETERS[:2]:
        p, c = summary[name], summary["convergence"][name]
        lines.append(
            f"  {name:10s} = {p['mean']:.4f} +- {p['sd']:.4f}  (r-hat "
            f"{c['r_hat']:.3f}, ESS {c['ess_bulk']:.0f} bulk, {c['ess_tail']:.0f} tail)"
        )
    lines.append(
        "converged" if summary["convergence"]["converged"] else "NOT CONVERGED"
    )
    return "\n".join([*lines, f"({summary['seconds']})", f"Results are in {out}."])


if __name__ == "__main__":
    sys.exit(
        run_script(main, Config, lambda s, c: 3 if c.strict and s["warnings"] else 0)
    )
