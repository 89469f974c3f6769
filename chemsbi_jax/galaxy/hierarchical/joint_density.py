"""The joint density of psi and all stars, in coordinates that are nearly normal.

psi is whitened by its information. The local latents of each star are a normal deviate
away from the mean of the star whose readings are linear (`tangent.local_normal`), in
units of its width; both change with psi. The density itself is that of the forward
model; the linear star only sets the coordinates.

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
from chemsbi_jax.galaxy.hierarchical.tangent import Line, local_normal
from chemsbi_jax.galaxy.hierarchical.whitening import Whitening, make_whitening
from chemsbi_jax.types import AnyArray


class JointDensity(NamedTuple):
    """Posterior density of the coordinates of psi and of all stars."""

    stars: Star
    model: Model
    layout: Layout
    whitening: Whitening  # of the coordinates of psi
    lines: Line  # readings of all stars, linearised at the centre

    def split(self, at: Float[AnyArray, " all"]) -> tuple[Array, Array]:
        """Coordinates of psi, and of the stars (4, star)."""
        n = len(self.whitening.centre)
        return jnp.asarray(at[:n]), jnp.reshape(at[n:], (N_LOCAL, -1))

    def value(self, at: Float[AnyArray, " all"]) -> Float[AnyArray, ""]:
        """Log density of the coordinates, up to a constant."""
        of_psi, noise = self.split(at)
        each = self.of_stars(of_psi, noise)
        return jnp.sum(each) - 0.5 * jnp.sum(self.whitening.psi(of_psi) ** 2)

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
        return unpack(self.whitening.psi(of_psi), self.layout)

    def relative(
        self, of_psi: Float[AnyArray, " psi"], noise: Float[AnyArray, "4 star"]
    ) -> Float[AnyArray, " star"]:
        """Log density of each star as an inlier, over that of standard normals."""
        modes, roots = self.normals(of_psi)
        local = modes + jnp.sum(roots * noise.T[:, None], axis=-1)
        every = np.arange(N_LOCAL)
        log_det = jnp.log(roots[:, every, every]).sum(axis=1)
        each = jax.vmap(_of_one, in_axes=(0, None, None, 0))
        found = each(self.stars, self.shared(of_psi), self.model, local)
        return found + log_det - norm.logpdf(noise).sum(axis=0)

    def normals(
        self, of_psi: Float[AnyArray, " psi"]
    ) -> tuple[Float[AnyArray, "star 4"], Float[AnyArray, "star 4 4"]]:
        """Means and roots of the local latents of all linearised stars."""
        each = jax.vmap(local_normal, in_axes=(0, 0, None, None))
        shared, away = self.shared(of_psi), self.whitening.factor @ of_psi
        return each(self.stars, self.lines, shared, away)


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
    return JointDensity(
        stars,
        model,
        layout,
        make_whitening(place.psi, place.covariance),
        place.stars.line,
    )


def _of_one(
    star: Star, shared: Shared, model: Model, local: Float[AnyArray, " 4"]
) -> Float[AnyArray, ""]:
    """Log of likelihood times population of an inlier."""
    value, bad = readings(star, model, inputs_at(shared, local))
    gain = log_likelihood(star, shared, value) + log_population(shared, local)
    return jnp.where(bad, BAD, gain)
