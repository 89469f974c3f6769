"""The comparison of `nuts.py --hierarchical`: the second interval against NUTS.

The standard is NUTS over the shared parameters and the local parameters of all stars.
"""

import time
from collections.abc import Callable
from typing import Literal

import jax
import numpy as np
from jaxtyping import Float
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
from chemsbi_jax.galaxy.hierarchical.trained import saved_spec
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes
from chemsbi_jax.galaxy.nuts.shared import run_shared_nuts
from common.reproduction.galaxies import load_galaxies
from common.reproduction.inference import chi2, each_sample

LARGEST_R_HAT = 1.05
SAMPLERS: tuple[Literal["network", "nuts"], ...] = ("network", "nuts")


def compare_shared(
    key,
    config,
    sizes: ChainSizes,
    before: list[dict],
    keep: Callable[[list[dict]], None],
) -> list[dict]:
    """One row for each data set and number of stars.

    Args:
        key: determines all random numbers.
        config: flags of nuts.py.
        sizes: lengths of the chains.
        before: rows of an earlier run with the same flags. Their chains over all stars
            are not run again, nor are samplers that `config` does not have; they stay.
        keep: gets all rows so far, whenever there are more of them.
    """
    key_data, key_runs = jax.random.split(key)
    galaxies = load_galaxies(key_data, max(config.compare_n_stars), config.seed)
    known, rows = {(r["set"], r["n"]): r for r in before}, []
    samples = each_sample(galaxies, config.compare_sets, config.compare_n_stars)
    for i, (name, stars) in enumerate(samples):
        key_chains, key_found = jax.random.split(jax.random.fold_in(key_runs, i))
        row = dict(known.get((name, len(stars.values)), {}))
        if not row:
            row = {"set": name, "n": len(stars.values), "truth": galaxies[name].truth}
            row |= dict.fromkeys(GLOBAL_PARAMETERS, {})
            if config.standard:
                row |= _standard(key_chains, stars, sizes, config.quiet)
        for sampler in config.samplers:
            settings = SharedErrors(
                sampler=sampler,
                model_stars=None,  # the standard takes the form as exact, too
                effective_draws=config.effective_draws,
            )
            task = stars, settings, row, config.quiet
            row |= _second_interval(key_found, *task)  # key reuse: the same first draws
        rows.append(row)
        known.pop((name, len(stars.values)), None)
        keep([*rows, *known.values()])
    return [*rows, *known.values()]


def _model():
    return forward_with_slopes(load_yield_emulator()), cs.paper_prior()


def _standard(key, stars: cs.Stars, sizes: ChainSizes, quiet: bool) -> dict:
    """NUTS over psi and the local parameters of all stars."""
    forward, prior = _model()
    start = time.perf_counter()
    chains = run_shared_nuts(
        key, forward, prior, stars, SharedErrors(), sizes=sizes, quiet=quiet
    )
    latents = chains.psi[..., :N_GLOBAL]
    draws = np.asarray(priors.from_normal(tuple(prior)[:N_GLOBAL], latents), float)
    r_hat, n_effective = split_gelman_rubin(draws), effective_sample_size(draws)
    row: dict = {
        "seconds": time.perf_counter() - start,
        "divergent": chains.n_divergent,
        "converged": bool(np.max(r_hat) < LARGEST_R_HAT),
    }
    for i, parameter in enumerate(GLOBAL_PARAMETERS):
        row[parameter] = {
            "standard": _moments(draws[..., i]),
            "r_hat": float(r_hat[i]),
            "n_effective": float(n_effective[i]),
        }
    return row


def _moments(draws: Float[np.ndarray, "*draws"]) -> dict[str, float]:
    return {"mean": float(draws.mean()), "sd": float(draws.std())}


def _second_interval(
    key, stars: cs.Stars, settings: SharedErrors, row: dict, quiet: bool
) -> dict:
    """What changes in a row by the interval of `infer` with this sampler."""
    (forward, _), sampler = _model(), settings.sampler
    trained = load_shared_network()
    found = hierarchical_posterior(key, trained, forward, stars, settings, quiet=quiet)
    new: dict = {f"checks_{sampler}": found.posterior.checks}
    new[f"weights_{sampler}"] = saved_spec("tng")["sha256"]
    if sampler == "nuts":
        new["effective_draws"] = settings.effective_draws
    if row["truth"] is not None:
        new[f"chi2_{sampler}"] = chi2(found.posterior, row["truth"])
    for i, parameter in enumerate(GLOBAL_PARAMETERS):
        moments = _moments(found.posterior.draws[:, i])
        standard = row[parameter].get("standard")
        if standard is not None:
            moments["shift"] = (moments["mean"] - standard["mean"]) / standard["sd"]
            moments["width"] = moments["sd"] / standard["sd"]
        new[parameter] = row[parameter] | {sampler: moments}
    return new


def report_shared(rows: list[dict]) -> str:
    """Markdown: one line a data set, number of stars and parameter.

    The cells of a sampler that was not run are empty.
    """
    lines = [
        "| stars | N | parameter | NUTS over all stars (r-hat, ESS) | `--sampler "
        "network` | shift [sd]; width | `--sampler nuts` (r-hat, ESS) | shift [sd]; "
        "width |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        if not any(f"checks_{s}" in row for s in SAMPLERS):  # a run that was stopped
            continue
        chains = ""
        if nuts := row.get("checks_nuts"):
            chains = " (network: not converged)"
            if nuts["sampler"] == "nuts":
                chains = f" ({nuts['r_hat']:.2f}, {nuts['n_effective']:.0f})"
        for parameter in GLOBAL_PARAMETERS:
            p = row[parameter]
            cells = [row["set"], str(row["n"]), f"`{parameter}`", _of_standard(p)]
            for sampler, note in zip(SAMPLERS, ("", chains), strict=True):
                found = p.get(sampler, {})
                cells += [_interval(found) + note, _change(found)]
            lines.append(f"| {' | '.join(cells)} |")
    for row in rows:
        found = {s: row[f"chi2_{s}"] for s in SAMPLERS if f"chi2_{s}" in row}
        if found:
            each = ", ".join(f"{value:.2f} ({s})" for s, value in found.items())
            lines.append(
                f"\n{row['set']}, {row['n']} stars: chi2 of the truth {each}; "
                "chi2 of a right interval is below 5.99 in 95 % of cases."
            )
    return "\n".join(lines) + "\n"


def _of_standard(p: dict) -> str:
    if "standard" not in p:
        return ""
    return f"{_interval(p['standard'])} ({p['r_hat']:.3f}, {p['n_effective']:.0f})"


def _interval(moments: dict) -> str:
    return f"{moments['mean']:.3f} ± {moments['sd']:.3f}" if moments else ""


def _change(moments: dict) -> str:
    if "shift" not in moments:
        return ""
    return f"{moments['shift']:+.2f}; {moments['width']:.2f}"
