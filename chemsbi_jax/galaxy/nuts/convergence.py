"""Convergence criteria of Markov chains: r-hat, effective sample sizes, divergences."""

import warnings

import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.constants import N_GLOBAL, PARAMETERS

with warnings.catch_warnings():
    # the first import of 0.2x each day announces ArviZ 1.0
    warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
    import arviz as az

MAX_R_HAT, MIN_ESS = 1.01, 400.0  # Vehtari+ 2021
TAILS = (0.05, 0.95)  # ArviZ 1 has no default; that of 0.2x


def check_convergence(
    draws: Float[np.ndarray, "chain draw 2"], diverging: Bool[np.ndarray, "chain draw"]
) -> dict:
    """Convergence criteria: r-hat, bulk and tail effective sample size, divergences."""
    each = {}
    for i, name in enumerate(PARAMETERS[:N_GLOBAL]):
        x = draws[..., i]
        each[name] = {
            "r_hat": float(az.rhat(x)),
            "ess_bulk": float(az.ess(x, method="bulk")),
            "ess_tail": float(az.ess(x, method="tail", prob=TAILS)),
        }
    n_divergent = int(diverging.sum())
    ok = n_divergent == 0 and all(
        v["r_hat"] <= MAX_R_HAT and min(v["ess_bulk"], v["ess_tail"]) >= MIN_ESS
        for v in each.values()
    )
    return {"converged": bool(ok), "divergences": n_divergent, **each}
