"""From the latents of a galaxy to its parameters."""

from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from chemsbi_jax import priors
from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.grid import GridPosterior
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import AnyArray, GalaxyChecks, GalaxyPosterior


@runtime_checkable
class Moments(Protocol):
    """Anything with a mean and a covariance of the two global latents."""

    @property
    def mean(self) -> Float[AnyArray, " 2"]:
        """Mean."""
        ...

    @property
    def covariance(self) -> Float[AnyArray, "2 2"]:
        """Covariance."""
        ...


def to_posterior(
    method: str,
    npe: Npe,
    latent: Float[AnyArray, "draw 2"],
    result: Moments,
    checks: GalaxyChecks,
) -> GalaxyPosterior:
    """From latents to theta; exact where the prior of Lambda is normal."""
    prior = tuple(npe.prior)[:N_GLOBAL]
    draws = np.asarray(_from_normal(prior, latent))
    if all(priors.is_normal(d) for d in prior):
        shift, scale = priors.moments(prior)
        mean = shift + scale * np.asarray(result.mean, float)
        covariance = np.outer(scale, scale) * np.asarray(result.covariance, float)
    else:
        mean, covariance = draws.mean(axis=0), np.cov(draws, rowvar=False)
    checks = {**checks, "prior_widths": float(np.hypot(*np.asarray(result.mean)))}
    return GalaxyPosterior(method, draws, mean, covariance, checks)


# one program in place of one for each operation
_from_normal = quick_jit(priors.from_normal)


def grid_checks(grid: GridPosterior, n_draws: int) -> GalaxyChecks:
    """How well the grid holds the posterior."""
    weights = np.exp(np.asarray(grid.log_weights, float))
    edge = weights.sum() - weights[1:-1, 1:-1].sum()
    return {
        "ess": float(n_draws),  # the draws are independent
        "grid_points": float(weights.sum() ** 2 / (weights**2).sum()),
        "mass_at_edge": float(edge / weights.sum()),
    }


def mean_error(
    grid: GridPosterior, score: Float[AnyArray, " 2"] | None, n_stars: int
) -> GalaxyChecks:
    """Shift of the result by the mean error of the network, in units of its sigma."""
    if score is None:
        return {}
    covariance = np.asarray(grid.covariance, float)
    moved = n_stars * covariance @ np.asarray(score, float)
    return {"network_error_sigma": (moved / np.sqrt(np.diag(covariance))).tolist()}
