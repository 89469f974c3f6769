"""How often does the misfit alarm fire for galaxies that the model itself made?"""

from collections.abc import Callable

import jax
import numpy as np
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.checks import N_CHECK_DRAWS, check_fit
from chemsbi_jax.galaxy.networks import Networks

LIMIT = 0.05  # share of false alarms


def check_alarms(
    key, npe, forward, make_stars: Callable, n_galaxies: int, n: int, quiet: bool
) -> dict:
    """Share of false alarms among galaxies of `n` stars, truths from the prior.

    Args:
        key: determines truths, stars and draws.
        npe: networks.
        forward: the model of the likelihood.
        make_stars: (key, theta) -> the noisy stars of these parameters.
        n_galaxies: how many.
        n: stars of each.
        quiet: no progress bar.
    """
    key_truth, key_each = jax.random.split(key)
    truths = priors.sample(key_truth, npe.prior, n_galaxies)[:, :N_GLOBAL]
    p_values = []
    for i in tqdm(range(n_galaxies), disable=quiet, desc=f"alarms, {n} stars"):
        keys = jax.random.split(jax.random.fold_in(key_each, i), 5)
        theta = priors.sample(keys[0], npe.prior, n).at[:, :N_GLOBAL].set(truths[i])
        stars = make_stars(keys[1], theta)
        galaxy = cs.infer_galaxy(keys[2], npe, stars, forward=forward)
        draws = cs.sample_stars(keys[3], npe, stars, N_CHECK_DRAWS)
        fit = check_fit(keys[4], Networks(npe, forward), stars, draws, galaxy)
        p_values.append((fit.p_value, fit.is_flagged))
    values, flags = np.array(p_values).T
    return {
        "n_stars": n,
        "n_galaxies": n_galaxies,
        "false_alarms": float(flags.mean()),
        "smallest_p": float(values.min()),
        "within_limit": bool(flags.mean() <= LIMIT),
    }


def alarm_table(rows: list[dict]) -> str:
    """Markdown for the README."""
    lines = ["| stars | galaxies | false alarms |", "|---|---|---|"]
    lines += [
        f"| {r['n_stars']} | {r['n_galaxies']} | {100 * r['false_alarms']:.1f} % |"
        for r in rows
    ]
    return "\n".join(lines) + "\n"
