"""Shared parameters psi as standard normal latents, and what they stand for."""

from collections.abc import Sequence
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Float

from chemsbi_jax import priors
from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL, PARAMETERS
from chemsbi_jax.galaxy.hierarchical.settings import (
    BLOCKS,
    LOCAL,
    SharedErrors,
    prior_scales,
)
from chemsbi_jax.galaxy.hierarchical.yield_prior import mixing_matrix
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import AnyArray

LN_10 = float(np.log(10.0))
LARGEST_SHARE, NEVER = 0.5, -1e6  # of outliers, and the log of no share


class Layout(eqx.Module):
    """Where each block lies in psi, and the scale of its prior; 0 holds a latent.

    The yields are `scale` times correlated latents, `mixing` times those of psi.
    """

    scale: Float[AnyArray, " psi"]
    mixing: Float[AnyArray, "factor factor"]  # rows of unit length
    outlier_share: Float[AnyArray, ""]  # median of its prior
    sizes: tuple[int, ...] = eqx.field(static=True)  # of `BLOCKS`

    def slices(self) -> dict[str, slice]:
        """Block -> its place in psi; the galaxy's two latents come first."""
        ends = np.cumsum((N_GLOBAL, *self.sizes))
        blocks = {"galaxy": slice(0, N_GLOBAL)}
        return blocks | {
            name: slice(int(a), int(b))
            for name, a, b in zip(BLOCKS, ends[:-1], ends[1:], strict=True)
        }


class Shared(NamedTuple):
    """Shared parameters in their own units."""

    galaxy: Float[AnyArray, " 2"]  # latents
    factors: Float[AnyArray, " factor"]  # log10, dex
    zero_points: Float[AnyArray, " reading"]  # dex; 0 of the birth time
    mean: Float[AnyArray, " 4"]  # of the local latents
    log_width: Float[AnyArray, " 4"]  # of the local latents, natural log
    variance: Float[AnyArray, " reading"]  # dex^2, of the scatter; 0 of the birth time
    log_outliers: Float[AnyArray, ""]  # natural log of their share


def make_layout(settings: SharedErrors, factors: Sequence[str]) -> Layout:
    """The layout of psi for these priors and yield factors.

    Raises:
        InputError: see `prior_scales`.
    """
    scales = prior_scales(settings, factors)
    flat = [1.0] * N_GLOBAL + [s for block in BLOCKS for s in scales[block]]
    return Layout(
        scale=jax.device_put(np.asarray(flat, np.float32)),
        mixing=jax.device_put(np.asarray(mixing_matrix(factors), np.float32)),
        outlier_share=jax.device_put(np.float32(settings.outlier_share)),
        sizes=tuple(len(scales[block]) for block in BLOCKS),
    )


def psi_names(factors: Sequence[str]) -> tuple[str, ...]:
    """Names of the shared parameters, in the order of psi."""
    return (
        *PARAMETERS[:N_GLOBAL],
        *factors,
        *(f"zero_point_{a}" for a in ABUNDANCES),
        *(f"mean_{p}" for p in LOCAL),
        *(f"log_width_{p}" for p in LOCAL),
        *(f"scatter_{a}" for a in ABUNDANCES),
        "log10_outlier_share",
    )


def unpack(psi: Float[AnyArray, " psi"], layout: Layout) -> Shared:
    """Shared parameters from standard normal latents.

    A latent of the scatter of plus infinity is infinite scatter, and one of minus
    infinity none: a half-normal prior without a second mode.
    """
    values, at = psi * layout.scale, layout.slices()
    population = values[at["population"]]
    scatter = layout.scale[at["scatter"]] * half_normal(psi[at["scatter"]])
    median = layout.outlier_share
    share = jnp.log(jnp.maximum(median, 1e-30)) + LN_10 * values[at["outliers"]][0]
    share = jnp.where(median > 0.0, share, NEVER)
    return Shared(
        galaxy=psi[:N_GLOBAL],
        factors=layout.scale[at["yields"]] * (layout.mixing @ psi[at["yields"]]),
        zero_points=jnp.append(values[at["zero_points"]], 0.0),
        mean=population[: len(LOCAL)],
        log_width=population[len(LOCAL) :],
        variance=jnp.append(scatter**2, 0.0),
        log_outliers=jnp.minimum(share, jnp.log(LARGEST_SHARE)),
    )


def half_normal(latent: Float[AnyArray, "*b"]) -> Float[AnyArray, "*b"]:
    """Half-normal values (scale 1) from standard normal ones of the same rank."""
    return -ndtri(0.5 * ndtr(-latent))


# each operation outside of `jit` would be a program of its own
_half_normal = quick_jit(half_normal)
_from_normal = quick_jit(priors.from_normal)


def physical(
    psi: Float[np.ndarray, "draw psi"], layout: Layout, prior: Prior
) -> Float[np.ndarray, "draw psi"]:
    """Draws in the units of `psi_names`: parameters, dex, and prior widths."""
    values = np.asarray(psi, float) * np.asarray(layout.scale, float)
    at = layout.slices()
    first = np.asarray(psi[:, :N_GLOBAL], np.float32)
    values[:, :N_GLOBAL] = _from_normal(tuple(prior)[:N_GLOBAL], first)
    mixed = np.asarray(psi)[:, at["yields"]] @ np.asarray(layout.mixing, float).T
    values[:, at["yields"]] = mixed * np.asarray(layout.scale, float)[at["yields"]]
    scatter = _half_normal(np.asarray(psi[:, at["scatter"]], np.float32))
    values[:, at["scatter"]] = np.asarray(layout.scale)[at["scatter"]] * np.asarray(
        scatter
    )
    share = np.log10(max(float(layout.outlier_share), 1e-30))
    values[:, at["outliers"]] += share
    return values
