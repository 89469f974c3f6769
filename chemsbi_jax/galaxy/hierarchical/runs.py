"""Draws of psi by NUTS: whether they converged, and the draws of two runs together."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

from chemsbi_jax.constants import N_GLOBAL

ENOUGH_DRAWS = 100  # effective ones: the error of the mean is 0.1 widths
LARGEST_R_HAT = 1.1  # of the galaxy's parameters: the mean is good to 0.2 widths
# standard errors of the difference of two runs' means: chance gives more in 1 of 200
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
    apart: float = 0.0  # difference of the means of two runs [standard errors]

    @property
    def is_converged(self) -> bool:
        """Whether the draws can be used."""
        is_finite = bool(np.isfinite(self.psi).all())
        return is_finite and self.r_hat < LARGEST_R_HAT and self.apart < MOST_APART

    @property
    def is_enough(self) -> bool:
        """Whether the error of their mean is so small that no other run is needed."""
        return self.is_converged and self.n_effective >= ENOUGH_DRAWS


def convergence(psi: Float[np.ndarray, "chain draw psi"]) -> tuple[float, float]:
    """The largest r-hat and the smallest effective number of draws, of the galaxy."""
    draws = psi[..., :N_GLOBAL]
    r_hat = float(split_gelman_rubin(draws).max())
    return r_hat, float(effective_sample_size(draws).min())


def pool_runs(first: PsiChains, second: PsiChains) -> PsiChains:
    """The draws of two runs of the same chains.

    If the first run did not converge, only the second one counts. Else both count, also
    where the second one did not converge. For r-hat, the chains of the second run are
    further chains: it then includes a drift within each run, and the difference of the
    two runs. `PsiChains.apart` measures this difference, too.

    Args:
        first: the first run.
        second: the run that went on from there.
    """
    if not first.is_converged:
        return second
    r_hat, _ = convergence(np.concatenate([first.psi, second.psi], axis=0))
    psi = np.concatenate([first.psi, second.psi], axis=1)
    return second._replace(
        psi=psi,
        r_hat=max(r_hat, first.r_hat, second.r_hat),
        n_effective=convergence(psi)[1],
        n_divergent=first.n_divergent + second.n_divergent,
        n_runs=first.n_runs + second.n_runs,
        apart=_apart(first, second),
    )


def _apart(first: PsiChains, second: PsiChains) -> float:
    """Difference of the galaxy's means, in standard errors; the larger parameter."""
    each = [run.psi[..., :N_GLOBAL].reshape(-1, N_GLOBAL) for run in (first, second)]
    means = [draws.mean(axis=0) for draws in each]
    variance = sum(
        draws.var(axis=0) / run.n_effective
        for draws, run in zip(each, (first, second), strict=True)
    )
    return float(np.max(np.abs(means[1] - means[0]) / np.sqrt(variance)))
