"""The IMF slope and the SN Ia rate of a galaxy from a table of its stars.

Writes summary.json, posterior.nc, posterior.ecsv and figures into --out:

    python experiments/infer.py STARS --out DIR

Exit code 0: done; 2: the input can't be used; 3: done, but a check failed and --strict
was given.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import infer_stream
import jax
import jax.numpy as jnp
import numpy as np
import star_flags
import tyro
from infer_checks import (
    N_CHECK_DRAWS,
    check_fit,
    compare,
    compare_halves,
    describe_robust,
    leave_out,
    list_warnings,
    robust_beside,
)

import chemsbi_jax as cs
from chemsbi_jax import plots, priors, results
from chemsbi_jax.galaxy.amortised.product import is_far
from chemsbi_jax.npe import choose_weights
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.npe.noise import add_noise
from chemsbi_jax.scripts import Stopwatch, check_flags, load_networks, run_script

N_ROBUST = 300  # random stars; each takes as long as with `exact` ten times
OTHER = {"flow": "gaussian", "gaussian": "flow", "exact": "flow", "robust": "exact"}


@dataclass(frozen=True)
class Config(star_flags.StarFlags):
    """Flags of this script."""

    stars: tyro.conf.Positional[Path]
    """Star table: ECSV, FITS, CSV, VOTable or Parquet."""
    out: Path
    """Folder for the results."""
    method: Literal["auto", "flow", "gaussian", "exact"] = "auto"
    """How the stars are combined; auto: exact for up to 5000 stars, flow for more
    (with exact for some of them beside it, where the model does not fit)."""
    robust: bool = False
    """Give each abundance a model error, as large as the stars ask for."""
    weights: str = "auto"
    """Networks: tng-any, tng, tng-legacy, or a folder; auto: tng-any, or tng if all
    stars have eight abundances, errors of 0.05 dex and no birth times."""
    truth: tuple[float, float] | None = None
    """Known alpha_imf and log10_n_ia, for the figures."""
    seed: int = 0
    """Of everything random."""
    strict: bool = False
    """Exit with 3 if a check fails."""
    quiet: bool = False
    """No progress, no summary on the screen."""
    coordinator: str = "localhost:9876"
    """HOST:PORT of process 0, for several processes or hosts."""
    n_processes: int = 1
    """Processes that share the stars, each started with the same flags."""
    process_id: int = 0
    """Which of them this is; 0 writes the files."""


class Loaded(NamedTuple):
    """What the inference needs."""

    stars: cs.Stars
    npe: Npe
    forward: cs.Forward
    weights: str  # name or folder of the networks


class Found(NamedTuple):
    """The result with what was compared with it."""

    galaxy: cs.GalaxyPosterior
    checks: dict
    others: dict[str, cs.GalaxyPosterior]  # label -> posterior
    loaded: Loaded  # with the stars of checks and figures
    draws: jax.Array  # of these stars


def main(config: Config) -> dict:
    """Run the inference; returns the content of summary.json."""
    check_flags(config)
    watch = Stopwatch(config.quiet)
    infer_stream.join(config)
    with watch("read"):
        catalog = star_flags.read(config.stars, config, config.out, config.quiet)
        loaded = load(config, catalog.stars)
    n_stars = len(loaded.stars.values)
    keys = jax.random.split(jax.random.key(config.seed), 3)
    with watch("inference"):
        galaxy = first_answer(keys[0], loaded, config)
    if config.process_id > 0:
        return {"warnings": []}
    loaded, galaxy = without_left_out(loaded, galaxy)
    found = check(keys, loaded, galaxy, config, watch)
    with watch("figures and files"):
        write_figures(config, found, keys[1])
        results.write_posterior(
            config.out / "posterior.nc",
            found.galaxy,
            found.loaded.stars,
            np.asarray(found.draws[:, :100]),
        )
    checks, weights = found.checks, loaded.weights
    n_used = n_stars - len(checks.get("left_out", [])) - checks.get("weak_stars", 0)
    checks["is_prior"] = n_used == 0
    summary = results.summary(
        found.galaxy._replace(checks=checks),
        n_stars=n_stars,
        n_used=n_used,
        warnings=list_warnings(checks) + infer_stream.warn_of_subset(checks),
        seconds=watch.seconds,
        provenance=results.provenance(
            seed=config.seed, emulator=weights, npe=weights, stars=config.stars
        ),
    )
    write_summary(config, star_flags.add_to(summary, catalog.report), found.galaxy)
    return summary


def write_summary(config: Config, summary: dict, galaxy: cs.GalaxyPosterior) -> None:
    """The numbers, last: summary.json is only there when everything else is."""
    results.write_table(config.out / "posterior.ecsv", galaxy, summary["provenance"])
    results.write_summary(config.out / "summary.json", summary)
    (config.out / "progress.json").unlink(missing_ok=True)
    if not config.quiet:
        print(report(summary, config.out))


def first_answer(key, loaded: Loaded, config: Config) -> cs.GalaxyPosterior | None:
    """The posterior by the method that was asked for; auto chooses by what there is.

    None in a process that process 0 has no use for.
    """
    method = "robust" if config.robust else config.method
    if method != "auto":
        return infer_stream.infer_all(key, loaded, method, config)
    if len(loaded.stars.values) > infer_stream.MAX_EXACT:
        return infer_stream.infer_all(key, loaded, "flow", config)
    infer_stream.leave_processes()  # for so few stars process 0 needs no others
    if config.process_id > 0:
        return None
    exact, why = infer_stream.try_exact(key, loaded, config.quiet)
    if exact is None:
        flow = infer(key, loaded, "flow", config.quiet)
        why = f"The exact method failed, so this is the answer of flow. {why}"
        return flow._replace(checks=flow.checks | {"no_exact": why})
    return exact


def without_left_out(loaded: Loaded, galaxy) -> tuple:
    """The stars that count, for checks and figures; the others by their names."""
    rows = galaxy.checks.get("left_out", [])
    if not rows:
        return loaded, galaxy
    names = [str(name) for name in loaded.stars.ids[rows]]
    counts = np.ones(len(loaded.stars.values), bool)
    counts[rows] = False
    stars = loaded.stars.take(counts)
    checks = galaxy.checks | {"left_out": names}
    return loaded._replace(stars=stars), galaxy._replace(checks=checks)


def check(keys, loaded: Loaded, galaxy, config: Config, watch: Stopwatch) -> Found:
    """All checks; beside the flow's answer for many stars stands that of `exact`."""
    is_default = config.method == "auto" and not config.robust
    can_add_exact = is_default and len(loaded.stars.values) > infer_stream.MAX_EXACT
    with watch("checks"):
        loaded, part = infer_stream.to_check(keys[0], loaded, galaxy, config.quiet)
        stars, npe, forward, _ = loaded
        draws = cs.sample_stars(keys[2], npe, stars, 1000)
        misfit = check_fit(keys[1], npe, forward, stars, draws, galaxy)
    far = is_far(galaxy.checks["prior_widths"])
    if can_add_exact and (misfit.is_flagged or far):
        why = "the result is far out" if far else "the model does not fit"
        with watch(f"exact for some stars, as {why}"):
            galaxy = infer_stream.exact_beside(keys[0], loaded, galaxy, config.quiet)
    robust = None
    if misfit.is_flagged and not config.robust:
        with watch("robust, as the model does not fit"):
            some = infer_stream.some_stars(keys[0], stars, N_ROBUST)
            robust = robust_beside(keys[0], npe, forward, some)
    with watch("other method"):
        other = infer(keys[0], loaded, OTHER[galaxy.method], config.quiet)
    with watch("other checks"):
        checks = list_checks(keys[1], loaded, part, other, misfit) | galaxy.checks
        checks |= infer_stream.compare_on_part(galaxy, part, other)
    others = {infer_stream.name_of_part(other, galaxy): other}
    if robust:
        checks |= {"robust": describe_robust(robust, len(some.values))}
        others[f"robust, {len(some.values)} stars"] = robust
    return Found(galaxy, checks, others, loaded, draws)


def load(config: Config, stars: cs.Stars) -> Loaded:
    """The stars and the networks."""
    weights = choose_weights(stars) if config.weights == "auto" else config.weights
    npe, forward = load_networks(weights)
    npe.reader.inputs(stars, str(config.stars))  # complains with the file's name
    return Loaded(stars, npe, forward, weights)


def infer(key, loaded: Loaded, method: str, quiet: bool) -> cs.GalaxyPosterior:
    """The galaxy's posterior by one method."""
    stars, npe, forward, _ = loaded
    return cs.infer_galaxy(key, npe, stars, method, forward=forward, quiet=quiet)


def list_checks(key, loaded: Loaded, galaxy, other, misfit) -> dict:
    """All checks of a result, as summary.json has them."""
    stars, npe, forward, _ = loaded
    checks = {
        **galaxy.checks,
        "model_fit": {
            "flagged": misfit.is_flagged,
            "p_value": misfit.p_value,
            "text": misfit.text,
            "mean_residual_dex": dict(
                (k, float(v))
                for k, v in zip(cs.ABUNDANCES, misfit.mean_residual, strict=True)
                if np.isfinite(v)  # not where nothing was observed
            ),
        },
        "methods_agree": compare(galaxy, other),
        "halves": compare_halves(key, npe, forward, stars),
    }
    if galaxy.method == "exact" and misfit.is_flagged:
        checks["leave_out"] = leave_out(key, npe, forward, stars)
    return checks


def write_figures(config: Config, found: Found, key) -> None:
    """The four figures of the result."""
    galaxy, draws = found.galaxy, found.draws
    stars, npe, forward, _ = found.loaded
    prior = (
        [float(d.mean) for d in npe.prior[:2]],
        [float(d.variance) ** 0.5 for d in npe.prior[:2]],
    )
    plots.save_figure(
        plots.plot_galaxy(galaxy, config.truth, prior, found.others),
        config.out / "posterior.png",
    )
    method = "gaussian" if galaxy.method == "gaussian" else "flow"
    n, means, sds = infer_stream.prefixes(key, found.loaded, stars, galaxy)
    plots.save_figure(
        plots.plot_convergence(n, means, sds, config.truth, name=method),
        config.out / "convergence.png",
    )
    prior_draws = np.asarray(priors.sample(key, npe.prior, 4000))
    plots.save_figure(
        plots.plot_corner(np.asarray(draws[0]), cs.PARAMETERS, prior_draws=prior_draws),
        config.out / "first_star.png",
    )
    predicted = forward(jnp.swapaxes(draws[:, :N_CHECK_DRAWS], 0, 1))
    predicted = np.asarray(add_noise(key, predicted, np.nan_to_num(stars.errors)))
    plots.save_figure(
        plots.plot_predictive(stars, predicted), config.out / "predictive.png"
    )


def report(summary: dict, out: Path) -> str:
    """What a user sees on the screen."""
    lines = [f"{summary['n_used']} stars, method {summary['method']}:"]
    for name in cs.PARAMETERS[:2]:
        p = summary[name]
        lines.append(f"  {name:10s} = {p['mean']:.4f} +- {p['sd']:.4f}")
    lines.append(f"  correlation = {summary['correlation']:.2f}")
    fit = summary["checks"]["model_fit"]["text"]
    lines += [] if fit in summary["warnings"] else [fit]
    lines += [f"Warning: {w}" for w in summary["warnings"]]
    seconds = ", ".join(f"{k} {v:.1f} s" for k, v in summary["seconds"].items())
    return "\n".join([*lines, f"({seconds})", f"Results are in {out}."])


def exit_code(summary: dict, config: Config) -> int:
    """3 if a check failed and the user wants to know by the exit code."""
    return 3 if config.strict and summary["warnings"] else 0


if __name__ == "__main__":
    sys.exit(run_script(main, Config, exit_code))
