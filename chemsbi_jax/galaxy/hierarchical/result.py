"""The posterior of the shared parameters as a user reads it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import Column, Table
from jaxtyping import Float

from chemsbi_jax.constants import (
    ABUNDANCES,
    N_GLOBAL,
    PARAMETERS,
    YIELD_SLOPES,
)
from chemsbi_jax.diagnostics.misfit import Misfit
from chemsbi_jax.galaxy.hierarchical.doubt import doubts
from chemsbi_jax.galaxy.hierarchical.settings import LOCAL
from chemsbi_jax.galaxy.hierarchical.shared import Layout, physical, psi_names
from chemsbi_jax.priors import Prior
from chemsbi_jax.storage.files import plain
from chemsbi_jax.types import GalaxyChecks, GalaxyPosterior

QUANTILES = {"q05": 0.05, "q16": 0.16, "q50": 0.5, "q84": 0.84, "q95": 0.95}
NOT_NARROWED = 0.9  # posterior width over the prior's
FAR_LATENT = 3.0  # prior widths from the middle of the prior


class HierarchicalPosterior(NamedTuple):
    """Posterior of the galaxy's parameters and of everything its stars share."""

    posterior: GalaxyPosterior  # of the galaxy's two parameters, with the checks
    names: tuple[str, ...]  # of the shared parameters
    draws: Float[np.ndarray, "draw psi"]  # dex, prior widths, or as the names say
    latents: Float[np.ndarray, "draw psi"]  # standard normal in the prior
    scales: Float[np.ndarray, " psi"]  # of the prior; 0: held
    # block -> parameter -> share of the width that goes if it is held
    budget: dict
    misfit: Misfit | None = None  # of the stars at the mode of psi

    @property
    def is_converged(self) -> bool:
        """Whether draws and intervals can be used."""
        return self.posterior.checks["converged"]

    def why_not(self) -> str:
        """Why there is no interval, and what can be done."""
        c = self.posterior.checks
        return (
            "The interval with shared errors was not made: the stars are unlike those "
            "of galaxies of the model with shared errors (predictive check: p = "
            f"{c['predictive_p']:.3f}, distance {c['predictive_distance']:.1f} times "
            "that of a typical galaxy). Look for abundances that the model does not "
            "explain, and leave these out (--without), or give larger errors."
        )

    def misfit_text(self) -> str:
        """What the misfit alarm says at this answer; empty where it does not fire."""
        if self.misfit is None or not self.misfit.is_flagged:
            return ""
        return f"With shared errors: {self.misfit.text}"

    def doubts(self) -> list[str]:
        """Reasons to doubt the interval, a warning each; empty if there is none."""
        return doubts(self.posterior.checks) if self.is_converged else []

    def prior_scales(self) -> dict[str, float]:
        """Yield factor [dex], or slope [dex per dex] -> scale of its prior."""
        scales = dict(zip(self.names, self.scales.tolist(), strict=True))
        return {name: scales[name] for name in self.factors}

    def to_table(self, provenance: Mapping | None = None) -> Table:
        """The draws of all shared parameters as an astropy table, with units."""
        meta = {
            "description": "Draws of equal weight from the posterior with errors that "
            "all stars share",
            "method": "hierarchical",
            "n_draws": len(self.draws),
            "prior_scales": self.prior_scales(),
            "provenance": dict(provenance or {}),
            "checks": plain(self.posterior.checks),
        }
        each = zip(self.names, self.draws.T, strict=True)
        columns = [Column(x, name=name, unit=unit_of(name)) for name, x in each]
        return Table(columns, meta=meta)

    def to_getdist(self) -> Any:
        """The draws of all shared parameters that are free as `getdist.MCSamples`.

        Raises:
            ImportError: GetDist is not installed (`pip install getdist`).
        """
        names, draws = self.names[N_GLOBAL:], self.draws.T[N_GLOBAL:]
        each = {n: x for n, x in zip(names, draws, strict=True) if np.ptp(x) > 0.0}
        return self.posterior.to_getdist(each)

    def summary(self) -> dict:
        """Content of `shared_errors` in summary.json.

        Without `is_converged`, the block says so and holds no interval.
        """
        checks = self.posterior.checks
        if not self.is_converged:
            return {"converged": False, "checks": checks}
        each = dict(zip(self.names, self.draws.T, strict=True))
        galaxy = {p: describe(each[p]) for p in PARAMETERS[:N_GLOBAL]}
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
        return {n: describe(each[n]) for n in names if np.ptp(each[n]) > 0.0}


def unit_of(name: str) -> u.UnitBase | u.function.FunctionUnitBase:
    """Unit of a shared parameter; slopes, and what is in prior widths, have none."""
    if name == "log10_n_ia":
        return u.dex(1 / u.Msun)
    without = name.startswith(("mean_", "log_width_")) or name in YIELD_SLOPES
    return u.dimensionless_unscaled if without or name == "alpha_imf" else u.dex()


def describe(x: Float[np.ndarray, " draw"]) -> dict[str, float]:
    """Mean, standard deviation and the quantiles of `QUANTILES`."""
    levels = np.quantile(x, list(QUANTILES.values()))
    moments = {"mean": float(x.mean()), "sd": float(x.std(ddof=1))}
    return moments | dict(zip(QUANTILES, map(float, levels), strict=True))


def far_population(psi: Float[np.ndarray, " psi"], layout: Layout) -> dict[str, float]:
    """Parameters of the population whose latents are beyond `FAR_LATENT`.

    Args:
        psi: latents of the shared parameters, such as their mode.
        layout: of psi.
    """
    rows = np.arange(len(psi))[layout.slices()["population"]]
    names = [f"{k}_{p}" for k in ("mean", "log_width") for p in LOCAL]
    scale = np.asarray(layout.scale)
    return {
        name: float(psi[i])
        for name, i in zip(names, rows, strict=True)
        if scale[i] > 0.0 and abs(psi[i]) > FAR_LATENT
    }


def far_errors(
    psi: Float[np.ndarray, " psi"], layout: Layout, factors: Sequence[str]
) -> dict[str, float]:
    """Zero points and scatter whose latents are beyond `FAR_LATENT`.

    Args:
        psi: latents of the shared parameters, such as their mode.
        layout: of psi.
        factors: names of the yield factors.
    """
    names, at, scale = psi_names(factors), layout.slices(), np.asarray(layout.scale)
    rows = np.arange(len(psi))
    each = np.concatenate([rows[at[block]] for block in ("zero_points", "scatter")])
    return {
        names[i]: float(psi[i])
        for i in each
        if scale[i] > 0.0 and abs(psi[i]) > FAR_LATENT
    }


def to_result(
    latents: Float[np.ndarray, "draw psi"],
    budget: dict,
    checks: dict,
    layout: Layout,
    factors: Sequence[str],
    prior: Prior,
) -> HierarchicalPosterior:
    """The posterior in the parameters' own units, from draws of the latents."""
    names = psi_names(factors)
    draws = physical(latents, layout, prior)
    galaxy = draws[:, :N_GLOBAL]
    scales = np.asarray(layout.scale, float)
    sd, free = _widths(latents, draws, layout), np.flatnonzero(scales > 0.0)
    full = GalaxyChecks(
        **checks,
        width_over_prior={names[i]: float(sd[i]) for i in free},
        not_narrowed=[names[i] for i in free if sd[i] > NOT_NARROWED],
    )
    posterior = GalaxyPosterior(
        "hierarchical",
        galaxy,
        galaxy.mean(axis=0),
        np.cov(galaxy, rowvar=False),
        full,
    )
    return HierarchicalPosterior(posterior, names, draws, latents, scales, budget)


def _widths(
    latents: Float[np.ndarray, "draw psi"],
    draws: Float[np.ndarray, "draw psi"],
    layout: Layout,
) -> Float[np.ndarray, " psi"]:
    """Posterior widths over those of the prior."""
    width = latents.std(axis=0)
    yields = layout.slices()["yields"]
    scale = np.maximum(np.asarray(layout.scale, float)[yields], 1e-9)
    width[yields] = draws[:, yields].std(axis=0) / scale  # latents are mixed
    return width
