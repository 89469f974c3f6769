"""Draws of psi by NUTS: whether they converged, and the draws of all runs together."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin
from scipy.stats import norm

from chemsbi_jax.constants import N_GLOBAL

DRAWS_OF_A_RUN = 50  # effective ones that each further run should add
LEAST_RUNS = 2
LARGEST_R_HAT = 1.1  # of the galaxy's parameters: the mean is good to 0.2 widths
# standard errors of the difference of two means: chance gives more in 1 of 200 pairs
MOST_APART = 3.0


class PsiChains(NamedTuple):
    """Draws of the shared latents (standard normal in the prior), and their checks."""

    psi: Float[np.ndarray, "chain draw psi"]
    r_hat: float  # the largest of the galaxy's parameters
    n_effective: float  # the smallest of them
    n_divergent: int
    n_points: int  # of the stars' integrals
    fewest_points: float  # effective ones, of the star at the quantile `FEWEST`
    n_runs: int = 1  # how many runs of the chains gave these draws
    # the largest difference of the mean of a run from that of those before it
    apart: float = 0.0  # [standard errors]

    @property
    def is_converged(self) -> bool:
        """Whether the draws can be used."""
        is_finite = bool(np.isfinite(self.psi).all())
        is_near = self.apart < most_apart(self.n_runs - 1)
        return is_finite and self.r_hat < LARGEST_R_HAT and is_near


def most_runs(effective_draws: float) -> int:
    """How many runs of the chains are allowed for that many effective draws."""
    return max(LEAST_RUNS, math.ceil(effective_draws / DRAWS_OF_A_RUN))


def most_apart(n_pairs: int) -> float:
    """The limit of the largest of so many differences [standard errors].

    Chance gives a larger one as often as one pair gives more than `MOST_APART`.
    """
    return float(norm.isf(norm.sf(MOST_APART) / max(n_pairs, 1)))


def convergence(psi: Float[np.ndarray, "chain draw psi"]) -> tuple[float, float]:
    """The largest r-hat and the smallest effective number of draws, of the galaxy."""
    draws = psi[..., :N_GLOBAL]
    r_hat = float(split_gelman_rubin(draws).max())
    return r_hat, float(effective_sample_size(draws).min())


def pool_runs(before: PsiChains, last: PsiChains) -> PsiChains:
    """The draws of all runs of the same chains.

    If the earlier runs did not converge, only the last one counts. Else all count, also
    where the last one, which may be short, did not converge by itself. For r-hat, the
    chains of each run are further chains: it then includes a drift within each run, and
    the differences of the runs. `PsiChains.apart` measures these differences, too.

    Args:
        before: the earlier runs.
        last: the run that went on from there.
    """
    if not before.is_converged:
        return last
    psi = np.concatenate([before.psi, last.psi], axis=1)
    n_runs = before.n_runs + last.n_runs
    r_hat, _ = convergence(np.concatenate(np.split(psi, n_runs, axis=1), axis=0))
    return last._replace(
        psi=psi,
        r_hat=r_hat,
        n_effective=convergence(psi)[1],
        n_divergent=before.n_divergent + last.n_divergent,
        n_runs=n_runs,
        apart=max(before.apart, _apart(before, last)),
    )


def _apart(before: PsiChains, last: PsiChains) -> float:
    """Difference of the galaxy's means, in standard errors; the larger parameter."""
    runs = before, last
    each = [run.psi[..., :N_GLOBAL].reshape(-1, N_GLOBAL) for run in runs]
    means = [draws.mean(axis=0) for draws in each]
    variance = sum(
        draws.var(axis=0) / run.n_effective
        for draws, run in zip(each, runs, strict=True)
    )
    return float(np.max(np.abs(means[1] - means[0]) / np.sqrt(variance)))
