"""Posterior density of psi alone, from the expansion of the stars' readings."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from chemsbi_jax.galaxy.hierarchical.expansion import Expansion, inputs_from
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Star
from chemsbi_jax.galaxy.hierarchical.surrogate import normals
from chemsbi_jax.types import AnyArray

FAR = 2.5  # widths beyond the typical radius, from where the expansion is not trusted


class SharedDensity(NamedTuple):
    """Laplace posterior density of psi, in coordinates that are nearly normal."""

    layout: Layout
    star: Star  # the stars along the last axis
    expansion: Expansion
    counts: Float[AnyArray, " star"]  # 1, or 0 for a row that only fills up
    first: Float[AnyArray, " star"]  # log likelihood at the centre, a constant
    centre: Float[AnyArray, " psi"]
    factor: Float[AnyArray, "psi psi"]  # lower triangle

    def psi(self, at: Float[AnyArray, " psi"]) -> Float[AnyArray, " psi"]:
        """Shared latents from their coordinates."""
        return self.centre + self.factor @ at

    def value(self, at: Float[AnyArray, " psi"]) -> Float[AnyArray, ""]:
        """Log density of the coordinates, up to a constant."""
        psi = self.psi(at)
        found = normals(self.star, self.expansion, self.layout, psi)
        # differences from the centre keep the digits of a sum in float32
        gain = jnp.where(self.counts > 0.0, found.log_likelihood - self.first, 0.0)
        wall = distrust(self.expansion, psi)
        return jnp.sum(gain) - 0.5 * jnp.sum(psi**2) - wall

    def value_and_slope(
        self, at: Float[AnyArray, " psi"]
    ) -> tuple[Float[AnyArray, ""], Float[AnyArray, " psi"]]:
        """Log density of the coordinates, and its gradient."""
        return jax.value_and_grad(self.value)(at)


def distrust(expansion: Expansion, psi: Float[AnyArray, " psi"]) -> Float[AnyArray, ""]:
    """A wall where no expansion holds, so that a search does not leave for good."""
    z = inputs_from(expansion, psi)
    radius = jnp.sqrt(jnp.sum(z**2) + 1e-12)
    return jnp.maximum(radius - (len(z) ** 0.5 + FAR), 0.0) ** 2


def make_density(
    rows: Star,
    expansion: Expansion,
    layout: Layout,
    centre,
    covariance,
    n_stars: int,
) -> SharedDensity:
    """The density in coordinates around one psi.

    Args:
        rows: `last_axis` of the stars.
        expansion: of the same stars.
        layout: of psi.
        centre: latents where the coordinates are 0.
        covariance: of psi, which the coordinates whiten.
        n_stars: the first ones count.
    """
    at = np.asarray(centre, np.float32)
    n_rows = rows.values.shape[-1]
    return SharedDensity(
        layout,
        rows,
        expansion,
        np.asarray(np.arange(n_rows) < n_stars, np.float32),
        np.asarray(log_likelihoods(rows, expansion, layout, at)),
        at,
        np.asarray(np.linalg.cholesky(covariance), np.float32),
    )


@jax.jit
def log_likelihoods(
    rows: Star, expansion: Expansion, layout: Layout, psi: Float[AnyArray, " psi"]
) -> Float[AnyArray, " star"]:
    """Log marginal likelihood of each star (`last_axis`) at one psi, by Laplace."""
    return normals(rows, expansion, layout, psi).log_likelihood


def last_axis(stars: Star) -> Star:
    """Stars along the last axis, filled up to one of few lengths with repeats."""
    fill = np.arange(padded_length(len(stars.values))) % len(stars.values)
    return jax.tree.map(
        lambda x: np.ascontiguousarray(np.moveaxis(x[fill], 0, -1)), stars
    )


def padded_length(n_stars: int) -> int:
    """8, 16, 32, or the next 2^n or 3/2 of it: few sizes to compile for."""
    power = max(8, 1 << (n_stars - 1).bit_length())
    return power * 3 // 4 if n_stars <= power * 3 // 4 and power > 32 else power


def to_psi(
    density: SharedDensity, at: Float[np.ndarray, "*b psi"]
) -> Float[np.ndarray, "*b psi"]:
    """Latents of coordinates, in float64."""
    factor = np.asarray(density.factor, float)
    return np.asarray(density.centre, float) + at @ factor.T
