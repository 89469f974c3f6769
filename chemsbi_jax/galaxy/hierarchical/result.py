"""The posterior of the shared parameters as a user reads it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Float, Int

from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL, PARAMETERS
from chemsbi_jax.diagnostics.misfit import Misfit
from chemsbi_jax.galaxy.hierarchical.posterior import SharedDraws
from chemsbi_jax.galaxy.hierarchical.settings import BLOCKS, LOCAL
from chemsbi_jax.galaxy.hierarchical.shared import Layout, physical, psi_names
from chemsbi_jax.priors import Prior
from chemsbi_jax.storage.files import plain
from chemsbi_jax.types import GalaxyPosterior

MAX_R_HAT, MIN_ESS = 1.05, 100.0  # of each shared parameter, in the chains
MAX_PARETO_K, MIN_WEIGHTED = 0.7, 50.0  # of the weights, and their effective draws
N_RESAMPLED = 1000
QUANTILES = {"q05": 0.05, "q16": 0.16, "q50": 0.5, "q84": 0.84, "q95": 0.95}
NOT_NARROWED = 0.9  # posterior width over the prior's


class HierarchicalPosterior(NamedTuple):
    """Posterior of the galaxy's parameters and of everything its stars share."""

    posterior: GalaxyPosterior  # of the galaxy's two parameters, with the checks
    names: tuple[str, ...]  # of the shared parameters
    draws: Float[np.ndarray, "draw psi"]  # dex, prior widths, or as the names say
    latents: Float[np.ndarray, "draw psi"]  # standard normal in the prior
    scales: Float[np.ndarray, " psi"]  # of the prior; 0: held
    budget: dict  # block -> parameter -> share of the width that goes if it is held
    misfit: Misfit | None = None  # of the stars at the posterior mean

    @property
    def is_converged(self) -> bool:
        """Whether draws and intervals can be used."""
        return self.posterior.checks["converged"]

    def why_not(self) -> str:
        """What did not converge, and what can be done."""
        c = self.posterior.checks
        return (
            "The interval with shared errors did not converge: largest r-hat "
            f"{c['r_hat_max']:.2f} ({c['slowest']}; limit {MAX_R_HAT}), fewest "
            f"effective draws of the chains {c['ess_min']:.0f} (limit {MIN_ESS:.0f}), "
            f"Pareto k of the weights {c['pareto_k']:.2f} (limit {MAX_PARETO_K}), "
            f"effective weighted draws {c['weighted_draws']:.0f} (limit "
            f"{MIN_WEIGHTED:.0f}). Try another seed or fewer stars, or hold a block."
        )

    def prior_scales(self) -> dict[str, float]:
        """Yield factor -> scale of its prior [dex]."""
        scales = dict(zip(self.names, self.scales.tolist(), strict=True))
        return {name: scales[name] for name in self.factors}

    def to_table(self) -> Table:
        """The draws of all shared parameters as an astropy table."""
        meta = {"method": "hierarchical", "checks": plain(self.posterior.checks)}
        return Table(self.draws, names=self.names, meta=meta)

    def summary(self) -> dict:
        """Content of `shared_errors` in summary.json.

        Without convergence, the block says so and holds no interval.
        """
        checks = self.posterior.checks
        if not self.is_converged:
            return {"converged": False, "checks": checks}
        each = dict(zip(self.names, self.draws.T, strict=True))
        galaxy = {p: _describe(each[p]) for p in PARAMETERS[:N_GLOBAL]}
        first = self.draws[:, :N_GLOBAL]
        return galaxy | {
            "correlation": float(np.corrcoef(first.T)[0, 1]),
            "converged": True,
            "budget": self.budget,
            "yields": self._block(each, self.factors),
            "zero_points": self._block(each, [f"zero_point_{a}" for a in ABUNDANCES]),
            "population": self._block(
                each, [f"{k}_{p}" for k in ("mean", "log_width") for p in LOCAL]
            ),
            "scatter": self._block(each, [f"scatter_{a}" for a in ABUNDANCES]),
            "checks": checks,
        }

    @property
    def factors(self) -> list[str]:
        """Names of the yield factors."""
        first = self.names.index(f"zero_point_{ABUNDANCES[0]}")
        return list(self.names[N_GLOBAL:first])

    def _block(self, each: dict, names: Sequence[str]) -> dict:
        return {n: _describe(each[n]) for n in names if np.ptp(each[n]) > 0.0}


def _describe(x: Float[np.ndarray, " draw"]) -> dict[str, float]:
    levels = np.quantile(x, list(QUANTILES.values()))
    moments = {"mean": float(x.mean()), "sd": float(x.std(ddof=1))}
    return moments | dict(zip(QUANTILES, map(float, levels), strict=True))


def to_result(
    found: SharedDraws, layout: Layout, factors: Sequence[str], prior: Prior
) -> HierarchicalPosterior:
    """Draws, budget and checks from the chains and their weights."""
    names = psi_names(factors)
    weights = np.exp(found.correction.log_weights)
    latents = found.corrected[evenly_resampled(weights, N_RESAMPLED)]
    draws = physical(latents, layout, prior)
    galaxy = draws[:, :N_GLOBAL]
    posterior = GalaxyPosterior(
        "hierarchical",
        galaxy,
        galaxy.mean(axis=0),
        np.cov(galaxy, rowvar=False),
        shared_checks(found, layout, names),
    )
    # of all draws of the chains: weights leave too few for 38 x 38 numbers
    every = found.psi.reshape(-1, len(names))
    budget = width_budget(np.cov(every.T), layout)
    scales = np.asarray(layout.scale, float)
    return HierarchicalPosterior(posterior, names, draws, latents, scales, budget)


def evenly_resampled(
    weights: Float[np.ndarray, " draw"], n: int
) -> Int[np.ndarray, " n"]:
    """Rows of weighted draws, as often as their weights say (systematic)."""
    ends = np.cumsum(weights) / weights.sum()
    rows = np.searchsorted(ends, (np.arange(n) + 0.5) / n)
    return np.minimum(rows, len(weights) - 1)


def width_budget(covariance: Float[np.ndarray, "psi psi"], layout: Layout) -> dict:
    """Share of each galaxy parameter's width that goes if a block is held.

    By the conditional variance of a normal with the posterior's covariance.
    """
    budget = {}
    first = slice(0, N_GLOBAL)
    whole = np.sqrt(np.diag(covariance[first, first]))
    free = np.asarray(layout.scale) > 0.0
    at = layout.slices()
    blocks = {name: (name,) for name in BLOCKS} | {"all": BLOCKS}
    for name, members in blocks.items():
        rows = np.concatenate([np.arange(len(free))[at[m]] for m in members])
        rows = rows[free[rows]]
        cross = covariance[first][:, rows]
        inner = covariance[np.ix_(rows, rows)]
        gone = cross @ np.linalg.solve(inner, cross.T) if len(rows) else 0.0
        left = np.clip(np.diag(covariance[first, first] - gone), 0.0, None)
        share = 1.0 - np.sqrt(left) / whole
        budget[name] = dict(zip(PARAMETERS, share.tolist(), strict=False))
    return budget


def shared_checks(found: SharedDraws, layout: Layout, names: Sequence[str]) -> dict:
    """Convergence of the chains, of the weights, and of each star's integral."""
    import arviz  # here, as it takes a second that other methods need not wait for

    psi = found.psi
    free = np.flatnonzero(np.asarray(layout.scale) > 0.0)
    r_hat = np.array([float(arviz.rhat(psi[..., i])) for i in free])
    ess = np.array([float(arviz.ess(psi[..., i])) for i in free])
    sd = psi.std(axis=(0, 1))
    worst = int(np.argmax(r_hat))
    by, stars = found.correction, found.correction.stars
    weighted = float(1.0 / np.sum(np.exp(2.0 * by.log_weights)))
    is_mixed = r_hat.max() <= MAX_R_HAT and ess.min() >= MIN_ESS
    is_weighted = by.pareto_k <= MAX_PARETO_K and weighted >= MIN_WEIGHTED
    return {
        "converged": bool(is_mixed and is_weighted),
        "pareto_k": by.pareto_k,
        "weighted_draws": weighted,
        "log_weight_sd": float(by.raw.std()),
        "log_weight_noise": by.noise,
        "ess": float(ess[:N_GLOBAL].min()),
        "ess_min": float(ess.min()),
        "r_hat": float(r_hat[:N_GLOBAL].max()),
        "r_hat_max": float(r_hat.max()),
        "slowest": names[free[worst]],
        "accepted": found.accepted,
        "step": found.step,
        "mode_rounds": found.mode.rounds,
        "mode_step": found.mode.step,
        "effective_draws_min": float(stars.n_effective.min()),
        "effective_draws_median": float(np.median(stars.n_effective)),
        "outliers": np.flatnonzero(stars.inlier < 0.5).tolist(),
        "log_likelihood": float(stars.log_likelihood.astype(float).sum()),
        "width_over_prior": {names[i]: float(sd[i]) for i in free},
        "not_narrowed": [names[i] for i in free if sd[i] > NOT_NARROWED],
    }
