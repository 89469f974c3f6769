"""Gold standard for a table of stars: NUTS over the galaxy and all of its stars.

    python experiments/nuts.py STARS --out DIR
    python experiments/nuts.py --compare --out DIR   # every method against NUTS

Writes summary.json (with a convergence block), posterior.nc and, if it converged, a
figure beside the flow's answer. With --compare it writes compare.md and compare.json
instead, for data sets of reproduce.py. Exit codes as in infer.py.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import numpy as np
import tyro
from jax.tree_util import Partial
from nuts_compare import compare_all, report_comparison

import chemsbi_jax as cs
from chemsbi_jax import plots, results
from chemsbi_jax.catalog import require_complete
from chemsbi_jax.errors import InputError
from chemsbi_jax.files import whole_file
from chemsbi_jax.joint import run_nuts
from chemsbi_jax.scripts import Stopwatch, check_flags, load_networks, run_script


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    stars: Annotated[Path | None, tyro.conf.Positional] = None
    """Star table: ECSV, FITS, CSV or VOTable."""
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
    weights: str = "tng"
    """Networks: tng, tng-legacy, or a folder."""
    forward: Literal["emulator", "simulator"] = "emulator"
    """Model of the likelihood."""
    yields: str = "tng"
    """Yield set of the simulator."""
    n_chains: int = 2
    """Chains side by side."""
    n_warmup: int = 100
    """Steps that adapt the sampler, per chain."""
    n_draws: int = 400
    """Kept steps, per chain."""
    default_error: Annotated[float | None, tyro.conf.arg(metavar="DEX")] = None
    """Error of abundances that have none in the table."""
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
        stars = first_stars(
            cs.read_stars(config.stars, default_error=config.default_error),
            config.n_stars,
        )
        npe, forward = load_models(config)
        require_complete(stars, float(npe.sigma), name=str(config.stars))
    key_flow, key_nuts = jax.random.split(jax.random.key(config.seed))
    with watch("flow"):
        flow = cs.infer_galaxy(key_flow, npe, stars)
    with watch("nuts, with compilation"):
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
    warnings = [] if converged else ["not converged: use more --n-draws or --n-warmup"]
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
        seconds=watch.seconds,
        provenance=results.provenance(
            seed=config.seed,
            emulator=f"{config.forward} {config.weights}",
            npe=config.weights,
            stars=config.stars,
        ),
    ) | {"convergence": result.convergence}
    results.write_summary(config.out / "summary.json", summary)
    if not config.quiet:
        print(report(summary, config.out))
    return summary


def run_comparison(config: Config) -> dict:
    """Every method against NUTS on the same stars; returns compare.json's content."""
    npe, forward = load_models(config)
    sizes = {"n_chains": config.n_chains, "n_warmup": config.n_warmup}
    sizes |= {"n_draws": config.n_draws, "quiet": config.quiet}
    rows = compare_all(jax.random.key(config.seed), npe, forward, config, sizes)
    content = {"rows": rows, "warnings": [r["set"] for r in rows if not r["converged"]]}
    results.write_summary(config.out / "compare.json", content)
    text = report_comparison(rows)
    with whole_file(config.out / "compare.md") as path:
        path.write_text(text, encoding="utf-8")
    if not config.quiet:
        print(text)
    return content


def first_stars(stars: cs.Stars, n: int | None) -> cs.Stars:
    """The first `n` rows of a table."""
    if n is not None and not 1 <= n <= len(stars.values):
        raise InputError(
            f"Expected --n-stars between 1 and {len(stars.values)}, the stars of the "
            f"table; got {n}."
        )
    return cs.Stars(*(np.asarray(x)[:n] for x in stars))


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
