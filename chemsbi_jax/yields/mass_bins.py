"""Published grids of stellar models -> one set of mass bins for all metallicities."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from chemsbi_jax.yields.types import SourceYields

LOG10_NO_METALS = -10.0
"""Stands for log10 of Z = 0, as in Chempy."""


class StellarModels(NamedTuple):
    """Models of one metallicity; masses in any order."""

    metallicity: float  # mass fraction of metals, linear
    masses: Float[np.ndarray, " mass"]  # Msun, initial
    net: Float[np.ndarray, "mass element"]  # newly made, per unit initial mass
    unprocessed: Float[np.ndarray, " mass"]  # returned as it was born, same unit


def bin_models(models: list[StellarModels], m_min: float, m_max: float) -> SourceYields:
    """Nearest-mass bins between `m_min` and `m_max` [Msun].

    Every star takes the yields of the model nearest in mass. Where the metallicities
    have different masses, the bins are cut at the edges of all of them, and each
    metallicity repeats its own value: this changes no star's yields. Models outside
    the range are dropped.
    """
    models = sorted(
        (_in_range(m, m_min, m_max) for m in models), key=lambda m: m.metallicity
    )
    edges = [_nearest_mass_edges(m.masses, m_min, m_max) for m in models]
    # rounded, so that equal edges of two metallicities are one whatever their rounding
    merged = np.unique(np.round(np.concatenate(edges), 9))[::-1]
    centres = (merged[1:] + merged[:-1]) / 2.0
    owner = [np.searchsorted(-e, -centres) - 1 for e in edges]  # edges descend
    return SourceYields(
        log10_metallicity=jnp.asarray(
            [
                np.log10(m.metallicity) if m.metallicity else LOG10_NO_METALS
                for m in models
            ]
        ),
        mass_edges=jnp.asarray(merged),
        net=jnp.asarray(
            np.stack([m.net[o] for m, o in zip(models, owner, strict=True)])
        ),
        unprocessed=jnp.asarray(
            np.stack([m.unprocessed[o] for m, o in zip(models, owner, strict=True)])
        ),
    )


def _in_range(models: StellarModels, m_min: float, m_max: float) -> StellarModels:
    """Models from `m_min` to `m_max`, both included, heaviest first."""
    order = np.argsort(models.masses)[::-1]
    kept = order[(models.masses[order] >= m_min) & (models.masses[order] <= m_max)]
    return models._replace(
        masses=models.masses[kept],
        net=models.net[kept],
        unprocessed=models.unprocessed[kept],
    )


def _nearest_mass_edges(
    masses: Float[np.ndarray, " mass"], m_min: float, m_max: float
) -> Float[np.ndarray, " mass+1"]:
    middles = (masses[1:] + masses[:-1]) / 2.0
    return np.concatenate([[m_max], middles, [m_min]])
