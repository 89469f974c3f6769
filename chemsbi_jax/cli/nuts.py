"""The command `nuts`: the gold standard, NUTS over the galaxy and all of its stars."""

from dataclasses import replace
from pathlib import Path

import jax
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax import plots, results
from chemsbi_jax.catalog.shipped import table_of
from chemsbi_jax.cli.flags import NutsFlags
from chemsbi_jax.cli.infer import read_and_report
from chemsbi_jax.cli.run import check_flags
from chemsbi_jax.errors import InputError, counted
from chemsbi_jax.galaxy.any_yields import columns_to_read, needed_elements
from chemsbi_jax.galaxy.infer import infer_of_any_width
from chemsbi_jax.galaxy.networks import Networks, load_networks
from chemsbi_jax.galaxy.nuts.sampler import NutsResult, run_nuts
from chemsbi_jax.galaxy.width import require_width
from chemsbi_jax.inference.rows import add_rows, save_rows
from chemsbi_jax.npe import choose_weights
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.results.warnings import of_left_out
from chemsbi_jax.storage.files import require_folder


def main(config: NutsFlags) -> dict:
    """Run NUTS; returns the content of summary.json."""
    check_flags(config, n_chains=1, n_warmup=1, n_draws=4)
    require_folder(config.out)
    watch = Stopwatch(config.quiet)
    with watch("read"):
        columns = columns_to_read(None, config.weights)
        catalog = read_and_report(config.stars, config, config.quiet, columns)
        stars = first_stars(catalog.stars, config.n_stars)
        if config.weights == "auto":
            config = replace(config, weights=choose_weights(stars))
        npe, forward = load_models(config)
        npe.reader.inputs(stars, str(config.stars))  # raises with the file's name
        stars = stars.select(npe.reader.abundances)
    key_flow, key_nuts = jax.random.split(jax.random.key(config.seed))
    with watch("flow"):
        flow = infer_of_any_width(key_flow, npe, stars, forward=forward)
    names = ("n_chains", "n_warmup", "n_draws", "quiet")
    sizes = {name: getattr(config, name) for name in names}
    with watch("nuts"):
        result = run_nuts(key_nuts, forward, stars, npe, **sizes)
    if result.convergence["converged"]:
        require_width(result.posterior, npe.prior, stars, str(config.stars))
        figure = plots.plot_galaxy(result.posterior, others={"flow": flow})
        plots.save_figure(figure, config.out / "posterior.png")
    else:  # a figure of an earlier run would show another result
        (config.out / "posterior.png").unlink(missing_ok=True)
    save_rows(config.out, catalog.report)
    path = config.out / "posterior.nc"
    results.write_posterior(path, result.posterior, stars, result.star_draws)
    summary = add_rows(summarise(config, stars, result, watch), catalog.report)
    results.write_summary(config.out / "summary.json", summary)
    if not config.quiet:
        print(report(summary, config.out))
    return summary


def summarise(
    config: NutsFlags, stars: cs.Stars, result: NutsResult, watch: Stopwatch
) -> dict:
    """Content of summary.json, with the block "convergence"."""
    left_out = stars.ids[result.posterior.checks["left_out"]].tolist()
    checks = result.posterior.checks | {"left_out": left_out}
    warnings = [of_left_out(left_out)] if left_out else []
    if not result.convergence["converged"]:
        warnings.append(why_not(result.convergence))
    return results.summary(
        result.posterior._replace(checks=checks),
        n_stars=len(stars.values),
        n_used=len(stars.values) - len(left_out),
        warnings=warnings,
        seconds=watch.seconds | {"nuts, compilation": watch.compiled["nuts"]},
        provenance=results.provenance(
            seed=config.seed,
            emulator=f"{config.forward} {config.weights}",
            npe=config.weights,
            stars=table_of(config.stars),
        ),
    ) | {"convergence": result.convergence}


def why_not(convergence: dict) -> str:
    """Remedies for chains that did not converge."""
    n = convergence["divergences"]
    if n:
        return (
            f"The chains did not converge: {counted(n, 'step')} diverged, also with "
            "smaller steps. Some stars lie at the edge of the range of the model: see "
            "the residuals in the report of chemsbi infer."
        )
    return "The chains did not converge: repeat the run with a larger --n-draws."


def first_stars(stars: cs.Stars, n: int | None) -> cs.Stars:
    """The first `n` rows of a table."""
    if n is not None and not 1 <= n <= len(stars.values):
        raise InputError(
            f"Expected --n-stars between 1 and {len(stars.values)}, the stars of the "
            f"table; got {n}."
        )
    return stars.take(slice(n))


def load_models(config: NutsFlags) -> Networks:
    """The posterior network; the emulator, or the exact simulator."""
    if config.forward == "emulator":
        return load_networks(config.weights)
    npe = cs.load_npe(config.weights)
    yields = needed_elements(cs.load_yields(config.yields), npe.reader.abundances)
    return Networks(npe, Partial(cs.simulate, yields=yields))


def report(summary: dict, out: Path) -> str:
    """The text for the screen."""
    lines = [f"{counted(summary['n_used'], 'star')}, NUTS:"]
    for name in cs.PARAMETERS[:2]:
        p, c = summary[name], summary["convergence"][name]
        lines.append(
            f"  {name:10s} = {p['mean']:.4f} +- {p['sd']:.4f}  (r-hat "
            f"{c['r_hat']:.3f}, ESS {c['ess_bulk']:.0f} bulk, {c['ess_tail']:.0f} tail)"
        )
    lines.append(
        "converged" if summary["convergence"]["converged"] else "NOT CONVERGED"
    )
    seconds = ", ".join(f"{k} {v:.1f} s" for k, v in summary["seconds"].items())
    return "\n".join([*lines, f"({seconds})", f"Results are in {out}."])


def exit_code(summary: dict, config: NutsFlags) -> int:
    """3 if chains did not converge and --strict is given, else 0.

    The warnings of a comparison (`nuts.py --compare`) are the sets whose chains did
    not; those of one table concern its rows, too.
    """
    one = summary.get("convergence")
    is_converged = not summary["warnings"] if one is None else one["converged"]
    return 3 if config.strict and not is_converged else 0
