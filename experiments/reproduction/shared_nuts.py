"""The comparison of `nuts.py --hierarchical`: network of shared errors against NUTS."""

import time
from collections.abc import Callable

import jax
import numpy as np
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.constants import GLOBAL_PARAMETERS, N_GLOBAL
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy.hierarchical import (
    SharedErrors,
    hierarchical_posterior,
    load_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes
from chemsbi_jax.galaxy.nuts.shared import run_shared_nuts
from reproduction.galaxies import load_galaxies
from reproduction.inference import each_sample

LARGEST_R_HAT = 1.05


def compare_shared(
    key, config, sizes: ChainSizes, quiet: bool, keep: Callable[[list[dict]], None]
) -> list[dict]:
    """One row for each data set and number of stars.

    Args:
        key: determines all random numbers.
        config: flags of nuts.py.
        sizes: lengths of the chains.
        quiet: no progress bars.
        keep: gets all rows so far, whenever there are more of them.
    """
    key_data, key_runs = jax.random.split(key)
    galaxies = load_galaxies(key_data, max(config.compare_n_stars), config.seed)
    rows = []
    samples = each_sample(galaxies, config.compare_sets, config.compare_n_stars)
    for i, (name, stars) in enumerate(samples):
        key_row = jax.random.fold_in(key_runs, i)
        about = {"set": name, "n": len(stars.values)}
        rows.append(about | _compare(key_row, stars, sizes, quiet))
        keep(rows)
    return rows


def _compare(key, stars: cs.Stars, sizes: ChainSizes, quiet: bool) -> dict:
    """Means and widths of the galaxy's parameters by NUTS and by the network."""
    key_nuts, key_network = jax.random.split(key)
    forward, prior = forward_with_slopes(load_yield_emulator()), cs.paper_prior()
    start = time.perf_counter()
    chains = run_shared_nuts(
        key_nuts, forward, prior, stars, SharedErrors(), sizes=sizes, quiet=quiet
    )
    seconds = time.perf_counter() - start
    trained = load_shared_network()
    found = hierarchical_posterior(key_network, trained, forward, stars)
    latents = chains.psi[..., :N_GLOBAL]
    draws = np.asarray(priors.from_normal(tuple(prior)[:N_GLOBAL], latents), float)
    r_hat, n_effective = split_gelman_rubin(draws), effective_sample_size(draws)
    row: dict = {
        "seconds": seconds,
        "divergent": chains.n_divergent,
        "converged": bool(np.max(r_hat) < LARGEST_R_HAT),
        "predictive_p": found.posterior.checks["predictive_p"],
    }
    for i, parameter in enumerate(GLOBAL_PARAMETERS):
        mean, sd = draws[..., i].mean(), draws[..., i].std()
        row[parameter] = {
            "nuts": {"mean": float(mean), "sd": float(sd)},
            "network": {
                "mean": float(found.posterior.mean[i]),
                "sd": float(found.posterior.sd[i]),
            },
            "shift": float((found.posterior.mean[i] - mean) / sd),
            "width": float(found.posterior.sd[i] / sd),
            "r_hat": float(r_hat[i]),
            "n_effective": float(n_effective[i]),
        }
    return row


def report_shared(rows: list[dict]) -> str:
    """Markdown: one line a data set, number of stars and parameter."""
    lines = [
        "| stars | N | parameter | NUTS | network | shift [sd] | width | r-hat | ESS |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for parameter in GLOBAL_PARAMETERS:
            p = row[parameter]
            each = (
                f"{p[k]['mean']:.3f} ± {p[k]['sd']:.3f}" for k in ("nuts", "network")
            )
            lines.append(
                f"| {row['set']} | {row['n']} | `{parameter}` | {' | '.join(each)} | "
                f"{p['shift']:+.2f} | {p['width']:.2f} | {p['r_hat']:.3f} | "
                f"{p['n_effective']:.0f} |"
            )
    return "\n".join(lines) + "\n"
