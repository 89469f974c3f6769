"""The comparison of `nuts.py --compare`: each method against NUTS on the same stars."""

import time
from collections.abc import Callable

import jax
import numpy as np

import chemsbi_jax as cs
from chemsbi_jax.diagnostics import c2st
from chemsbi_jax.galaxy.nuts.sampler import run_nuts
from chemsbi_jax.results.stopwatch import Stopwatch
from common.reproduction.galaxies import load_galaxies
from common.reproduction.inference import each_sample

METHODS = ("flow", "gaussian", "exact")
N_DRAWS = 4000
# chains of few stars cost little: so many times longer, they tell widths to 1 or 2 %
LONGER, LONGEST = 800, 8  # over the number of stars


def compare_all(
    key, npe, forward, config, sizes: dict, keep: Callable[[list[dict]], None]
) -> list[dict]:
    """One row for each data set, number of stars and method.

    Args:
        key: determines all random numbers.
        npe: networks.
        forward: the model of the likelihood, the same for NUTS and `exact`.
        config: flags of nuts.py.
        sizes: of the chains, for `run_nuts`.
        keep: gets all rows so far, whenever there are more of them.
    """
    key_data, key_nuts = jax.random.split(key)
    galaxies = load_galaxies(key_data, max(config.compare_n_stars), config.seed)
    rows = []
    samples = each_sample(galaxies, config.compare_sets, config.compare_n_stars)
    for name, stars in samples:
        # key reuse: each set by itself has independent chains
        rows += compare_one(key_nuts, npe, forward, name, stars, sizes)  # key reuse:
        keep(rows)
    return rows


def compare_one(key, npe, forward, name: str, stars: cs.Stars, sizes) -> list[dict]:
    """The rows of one data set with one number of stars.

    The seconds are those of chains of the usual length; with few stars, longer ones are
    what the methods are compared with.
    """
    key_nuts, key_longer, key_method, key_c2st = jax.random.split(key, 4)
    found, seconds = {}, {}
    for method in METHODS:
        for _ in range(2):  # the second one is warm
            start = time.perf_counter()
            found[method] = cs.infer_galaxy(
                key_method,  # key reuse: common random numbers
                npe,
                stars,
                method,
                N_DRAWS,
                forward=forward,
            )
            seconds[method] = time.perf_counter() - start
    watch = Stopwatch(quiet=True)
    with watch("nuts"):
        result = run_nuts(key_nuts, forward, stars, npe, **sizes)
    timed = result.convergence
    longer = min(LONGEST, LONGER // len(stars.values))
    if longer > 1:
        more = sizes | {"n_draws": longer * sizes["n_draws"]}
        result = run_nuts(key_longer, forward, stars, npe, **more)
    nuts = result.posterior
    common = {
        "set": name,
        "n_stars": len(stars.values),
        "converged": result.convergence["converged"],
        "convergence": result.convergence,
        "left_out": nuts.checks["left_out"],
        "nuts": {"mean": nuts.mean, "sd": np.sqrt(np.diag(nuts.covariance))},
        "timed_convergence": timed,
        "nuts_seconds": watch.seconds["nuts"],
        "nuts_compiling": watch.compiled["nuts"],
    }
    return [
        common
        | {"method": method, "seconds": seconds[method]}
        | differences(key_c2st, found[method], nuts)  # key reuse: the same folds
        for method in METHODS
    ]


def differences(key, posterior: cs.GalaxyPosterior, nuts: cs.GalaxyPosterior) -> dict:
    """Shift in sigma, ratio of widths, correlation and C2ST against NUTS."""
    sd, other = (np.sqrt(np.diag(p.covariance)) for p in (nuts, posterior))
    test = c2st(key, np.asarray(posterior.draws), nuts.draws[::2])
    return {
        "shift_sigma": (np.asarray(posterior.mean) - nuts.mean) / sd,
        "width_ratio": other / sd,
        "correlation": float(posterior.covariance[0, 1] / other.prod()),
        "nuts_correlation": float(nuts.covariance[0, 1] / sd.prod()),
        "c2st": float(test.accuracy),
    }


def report_comparison(rows: list[dict]) -> str:
    """A table in Markdown; rows whose chains did not converge say so."""
    lines = [
        "| stars | N | method | shift [sigma] | width ratio | correlation (NUTS) "
        "| C2ST | seconds, warm (NUTS, and its compilation) | NUTS ESS |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        each = [r["convergence"][p] for p in cs.PARAMETERS[:2]]
        ess = min(min(e["ess_bulk"], e["ess_tail"]) for e in each)
        label = f"{ess:.0f}"
        if not r["converged"]:
            worst = max(e["r_hat"] for e in each)
            label += f", **not converged**: {r['convergence']['divergences']} "
            label += f"divergences, r-hat {worst:.3f}"
        if not r["timed_convergence"]["converged"]:
            label += ", the timed chains **not converged**"
        shift, width = r["shift_sigma"], r["width_ratio"]
        run = r["nuts_seconds"] - r["nuts_compiling"]
        cells = [
            r["set"],
            str(r["n_stars"]),
            r["method"],
            f"{shift[0]:+.2f}, {shift[1]:+.2f}",
            f"{width[0]:.2f}, {width[1]:.2f}",
            f"{r['correlation']:.2f} ({r['nuts_correlation']:.2f})",
            f"{r['c2st']:.2f}",
            f"{r['seconds']:.1f} ({run:.0f} + {r['nuts_compiling']:.0f})",
            label,
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"
