"""The IMF slope and the SN Ia rate of a galaxy from a table of its stars.

Writes summary.json, posterior.nc and figures into --out:

    python experiments/infer.py STARS --out DIR

Exit code 0: done; 2: the input can't be used; 3: done, but a check failed and --strict
was given.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import jax
import jax.numpy as jnp
import numpy as np
import tyro
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax import plots, priors, results
from chemsbi_jax.catalog import require_complete
from chemsbi_jax.diagnostics.misfit import N_REFERENCE, misfit_test, star_residuals
from chemsbi_jax.galaxy import infer_prefixes
from chemsbi_jax.noise import add_noise
from chemsbi_jax.scripts import Stopwatch, run_script

N_CHECK_DRAWS = 64  # of each star, for the checks in abundance space
OTHER = {"flow": "gaussian", "gaussian": "flow"}
AGREE_SIGMA, AGREE_WIDTH = 2.0, 0.2  # the methods differ by more: a warning


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    stars: tyro.conf.Positional[Path]
    """Star table: ECSV, FITS, CSV or VOTable."""
    out: Path
    """Folder for the results."""
    method: Literal["flow", "gaussian"] = "flow"
    """How the stars' posteriors are multiplied."""
    weights: str = "tng"
    """Networks: tng, tng-legacy, or a folder."""
    default_error: Annotated[float | None, tyro.conf.arg(metavar="DEX")] = None
    """Error of abundances that have none in the table."""
    truth: tuple[float, float] | None = None
    """Known alpha_imf and log10_n_ia, for the figures."""
    seed: int = 0
    """Of everything random."""
    strict: bool = False
    """Exit with 3 if a check fails."""
    quiet: bool = False
    """No progress, no summary on the screen."""


def main(config: Config) -> dict:
    """Run the inference; returns the content of summary.json."""
    watch = Stopwatch(config.quiet)
    with watch("read"):
        stars = cs.read_stars(config.stars, default_error=config.default_error)
        npe = cs.load_npe(config.weights)
        require_complete(stars, float(npe.sigma), name=str(config.stars))
        forward = Partial(cs.emulate, emulator=cs.load_emulator(config.weights))
    key_galaxy, key_check, key_draws = jax.random.split(jax.random.key(config.seed), 3)
    with watch("inference"):
        galaxy = cs.infer_galaxy(key_galaxy, npe, stars, config.method)
    with watch("checks"):
        other = cs.infer_galaxy(key_galaxy, npe, stars, OTHER[config.method])
        draws = cs.sample_stars(key_draws, npe, stars, 1000)
        misfit = check_fit(key_check, npe, forward, stars, draws, galaxy)
    agreement = compare(galaxy, other)
    checks = {
        **galaxy.checks,
        "model_fit": {
            "flagged": misfit.is_flagged,
            "p_value": misfit.p_value,
            "text": misfit.text,
            "mean_residual_dex": dict(
                zip(cs.ABUNDANCES, misfit.mean_residual.tolist(), strict=True)
            ),
        },
        "methods_agree": agreement,
    }
    warnings = list_warnings(checks)
    with watch("figures and files"):
        write_figures(config, galaxy, other, npe, stars, draws, forward, key_check)
        results.write_posterior(
            config.out / "posterior.nc", galaxy, stars, np.asarray(draws[:, :100])
        )
    summary = results.summary(
        galaxy._replace(checks=checks),
        n_stars=len(stars.values),
        n_used=len(stars.values),
        warnings=warnings,
        seconds=watch.seconds,
        provenance=results.provenance(
            seed=config.seed,
            emulator=config.weights,
            npe=config.weights,
            stars=config.stars,
        ),
    )
    # last, so that a summary is only there when everything else is
    results.write_summary(config.out / "summary.json", summary)
    if not config.quiet:
        print(report(summary, config.out))
    return summary


def check_fit(key, npe, forward, stars, draws, galaxy):
    """Compare the stars with model stars at the inferred parameters."""
    key_theta, key_noise, key_draws = jax.random.split(key, 3)
    theta = priors.sample(key_theta, npe.prior, N_REFERENCE)
    theta = theta.at[:, :2].set(jnp.asarray(galaxy.mean))
    clean = forward(theta)
    values = add_noise(key_noise, clean, npe.sigma)
    values = np.asarray(values[jnp.isfinite(values).all(axis=-1)])
    if len(values) == 0:  # the inferred parameters lie outside the model
        return misfit_test(stars.values, values)
    model = cs.Stars(
        values,
        np.full(values.shape, float(npe.sigma)),
        np.ones(values.shape, bool),
        *(np.full(len(values), np.nan) for _ in range(2)),
        np.arange(len(values)).astype(str),
    )
    model_draws = cs.sample_stars(key_draws, npe, model, N_CHECK_DRAWS)
    residuals = jax.jit(star_residuals)
    return misfit_test(
        residuals(jnp.asarray(stars.values), draws[:, :N_CHECK_DRAWS], forward),
        residuals(jnp.asarray(model.values), model_draws, forward),
    )


def compare(galaxy: cs.GalaxyPosterior, other: cs.GalaxyPosterior) -> dict:
    """Difference of the two methods, in units of the result's own width."""
    sd, other_sd = (np.sqrt(np.diag(g.covariance)) for g in (galaxy, other))
    shift = (np.asarray(other.mean) - galaxy.mean) / sd
    return {
        "other": other.method,
        "shift_sigma": shift.tolist(),
        "width_ratio": (other_sd / sd).tolist(),
        "guarded_stars": other.checks.get("guarded_stars")
        or galaxy.checks.get("guarded_stars", 0),
        "agree": bool(
            (np.abs(shift) < AGREE_SIGMA).all()
            and (np.abs(other_sd / sd - 1.0) < AGREE_WIDTH).all()
        ),
    }


def list_warnings(checks: dict) -> list[str]:
    """Sentences for the reader of the result."""
    warnings = []
    if checks["model_fit"]["flagged"]:
        warnings.append(checks["model_fit"]["text"])
    agree = checks["methods_agree"]
    if not agree["agree"]:
        warnings.append(
            f"The methods differ: {agree['other']} gives "
            f"{agree['shift_sigma'][0]:+.1f} and {agree['shift_sigma'][1]:+.1f} sigma."
        )
    if checks.get("mass_at_edge", 0.0) > 1e-3:
        warnings.append(
            "The posterior reaches the edge of the grid, 6 sigma from the prior's "
            "mean: the stars pull the parameters out of the prior."
        )
    return warnings


def write_figures(config, galaxy, other, npe, stars, draws, forward, key) -> None:
    """The four figures of the result."""
    prior = (
        [float(d.mean) for d in npe.prior[:2]],
        [float(d.variance) ** 0.5 for d in npe.prior[:2]],
    )
    plots.save_figure(
        plots.plot_galaxy(galaxy, config.truth, prior, {other.method: other}),
        config.out / "posterior.png",
    )
    n, means, sds = infer_prefixes(key, npe, stars, config.method)
    plots.save_figure(
        plots.plot_convergence(n, means, sds, config.truth, name=config.method),
        config.out / "convergence.png",
    )
    prior_draws = np.asarray(priors.sample(key, npe.prior, 4000))
    plots.save_figure(
        plots.plot_corner(np.asarray(draws[0]), cs.PARAMETERS, prior_draws=prior_draws),
        config.out / "first_star.png",
    )
    predicted = forward(jnp.swapaxes(draws[:, :N_CHECK_DRAWS], 0, 1))
    predicted = np.asarray(add_noise(key, predicted, npe.sigma))
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
