"""The joint density of psi and all stars, in coordinates that are nearly normal.

psi is whitened by its information. The local latents of each star are a normal deviate
away from a place that moves linearly with psi, as the mode of a linearised star does
(`tangent`), in units of the width there. The density itself is that of the forward
model; the linear terms only set the coordinates.

An outlier's local latents are not constrained, so their density given that it is one
may be any normalised density (a pseudo-prior, Carlin & Chib 1995): the standard normal
of these coordinates. The integral over the stars' coordinates is then the mixture's
marginal likelihood, exactly.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, inputs_at
from chemsbi_jax.galaxy.hierarchical.place import Place
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.star import (
    BAD,
    Model,
    Star,
    log_likelihood,
    log_population,
    readings,
    with_outliers,
)
from chemsbi_jax.types import AnyArray


class JointDensity(NamedTuple):
    """Posterior density of the coordinates of psi and of all stars."""

    stars: Star
    model: Model
    layout: Layout
    centre: Float[AnyArray, " psi"]
    factor: Float[AnyArray, "psi psi"]  # lower triangle
    local: Float[AnyArray, "4 star"]  # modes at the centre
    shear: Float[AnyArray, "4 star psi"]  # their change with psi
    root: Float[AnyArray, "4 4 star"]  # lower Cholesky factors of their covariances

    def psi(self, at: Float[AnyArray, "*b psi"]) -> Float[AnyArray, "*b psi"]:
        """Shared latents from their coordinates."""
        return self.centre + at @ self.factor.T

    def from_coordinates(
        self, at: Float[np.ndarray, "*b psi"]
    ) -> Float[np.ndarray, "*b psi"]:
        """Shared latents from their coordinates, in float64."""
        return np.asarray(self.centre, float) + at @ np.asarray(self.factor, float).T

    def values(
        self, at: Float[np.ndarray, "chain all"]
    ) -> tuple[Float[np.ndarray, "chain psi"], Float[np.ndarray, "chain 4 star"]]:
        """Shared and local latents of coordinates, on the host."""
        of_psi, noise = np.split(np.asarray(at, float), [len(self.centre)], axis=1)
        noise = noise.reshape(len(at), N_LOCAL, -1)
        psi = np.asarray(self.psi(of_psi))
        local = self._modes(psi) + np.einsum("ijs,cjs->cis", self.root, noise)
        return psi, local

    def coordinates(
        self,
        psi: Float[np.ndarray, "chain psi"],
        local: Float[np.ndarray, "chain 4 star"],
    ) -> Float[np.ndarray, "chain all"]:
        """Coordinates of shared and local latents, on the host."""
        of_psi = self.coordinates_of(psi)
        root = np.moveaxis(np.asarray(self.root, float), -1, 0)
        away = np.moveaxis(local - self._modes(psi), 1, 2)[..., None]
        noise = np.moveaxis(np.linalg.solve(root, away)[..., 0], 2, 1)
        return np.concatenate([of_psi, noise.reshape(len(psi), -1)], axis=1)

    def coordinates_of(
        self, psi: Float[np.ndarray, "chain psi"]
    ) -> Float[np.ndarray, "chain psi"]:
        """Coordinates of shared latents, in float64."""
        away = psi - np.asarray(self.centre, float)
        return np.linalg.solve(np.asarray(self.factor, float), away.T).T

    def _modes(self, psi: np.ndarray) -> Float[np.ndarray, "chain 4 star"]:
        away = np.asarray(psi - self.centre, float)
        return self.local + np.einsum("ksp,cp->cks", self.shear, away)

    def split(self, at: Float[AnyArray, " all"]) -> tuple[Array, Array]:
        """Coordinates of psi, and of the stars (4, star)."""
        n = self.centre.shape[0]
        return jnp.asarray(at[:n]), jnp.reshape(at[n:], (N_LOCAL, -1))

    def value(self, at: Float[AnyArray, " all"]) -> Float[AnyArray, ""]:
        """Log density of the coordinates, up to a constant."""
        of_psi, noise = self.split(at)
        each = self.of_stars(of_psi, noise)
        return jnp.sum(each) - 0.5 * jnp.sum(self.psi(of_psi) ** 2)

    def of_stars(
        self, of_psi: Float[AnyArray, " psi"], noise: Float[AnyArray, "4 star"]
    ) -> Float[AnyArray, " star"]:
        """Log of likelihood times population of each star in its coordinates."""
        # relative to the pseudo-prior, the mixture has the form of the marginal one
        mixed = jax.vmap(with_outliers, in_axes=(0, None, 0))
        relative = self.relative(of_psi, noise)
        total = mixed(self.stars, self.shared(of_psi), relative)
        return total + norm.logpdf(noise).sum(axis=0)

    def shared(self, of_psi: Float[AnyArray, " psi"]) -> Shared:
        """Shared parameters of coordinates."""
        return unpack(self.psi(of_psi), self.layout)

    def relative(
        self, of_psi: Float[AnyArray, " psi"], noise: Float[AnyArray, "4 star"]
    ) -> Float[AnyArray, " star"]:
        """Log density of each star as an inlier, over that of standard normals."""
        local = self.local + self.shear @ (self.factor @ of_psi)
        local = local + jnp.sum(self.root * noise, axis=1)
        every = np.arange(N_LOCAL)
        log_det = jnp.log(self.root[every, every]).sum(axis=0)
        each = jax.vmap(_of_one, in_axes=(0, None, None, -1))
        found = each(self.stars, self.shared(of_psi), self.model, local)
        return found + log_det - norm.logpdf(noise).sum(axis=0)


def make_joint_density(
    stars: Star, model: Model, layout: Layout, place: Place
) -> JointDensity:
    """The density in coordinates around one place of psi.

    Args:
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        place: `look_at` with the same stars, model and layout.
    """
    found = place.stars
    return JointDensity(
        stars,
        model,
        layout,
        *(
            np.ascontiguousarray(x, np.float32)
            for x in (
                place.psi,
                np.linalg.cholesky(place.covariance),
                found.local.T,
                found.shear.transpose(1, 0, 2),
                found.root.transpose(1, 2, 0),
            )
        ),
    )


def _of_one(
    star: Star, shared: Shared, model: Model, local: Float[AnyArray, " 4"]
) -> Float[AnyArray, ""]:
    """Log of likelihood times population of an inlier."""
    value, bad = readings(star, model, inputs_at(shared, local))
    gain = log_likelihood(star, shared, value) + log_population(shared, local)
    return jnp.where(bad, BAD, gain)
