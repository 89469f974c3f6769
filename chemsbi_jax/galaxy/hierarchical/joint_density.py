"""The joint density of psi and all stars, in coordinates that are nearly normal.

psi is whitened. Each star's local latents are a normal deviate away from the mode that
the expansion of its readings has at this psi, in units of the width there: coordinates
that follow psi, so that psi is not tied to them. The density itself is that of the
forward model; the expansion only sets the coordinates.

An outlier's local latents are not constrained, so their density given that it is one
may be any normalised density (a pseudo-prior, Carlin & Chib 1995): the standard normal
of these coordinates. The integral over the stars' coordinates is then the mixture's
marginal likelihood, exactly.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float

from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, inputs_at
from chemsbi_jax.galaxy.hierarchical.shared import Shared, unpack
from chemsbi_jax.galaxy.hierarchical.shared_density import SharedDensity
from chemsbi_jax.galaxy.hierarchical.star import (
    BAD,
    Model,
    Star,
    log_likelihood,
    log_population,
    readings,
    with_outliers,
)
from chemsbi_jax.galaxy.hierarchical.surrogate import normals, solve_upper
from chemsbi_jax.types import AnyArray


class JointDensity(NamedTuple):
    """Posterior density of the coordinates of psi and of all stars."""

    shared: SharedDensity  # the coordinates
    model: Model

    def split(self, at: Float[AnyArray, " all"]) -> tuple[Array, Array]:
        """Coordinates of psi, and of the stars (4, star)."""
        n = self.shared.centre.shape[0]
        return jnp.asarray(at[:n]), jnp.reshape(at[n:], (N_LOCAL, -1))

    def value(self, at: Float[AnyArray, " all"]) -> Float[AnyArray, ""]:
        """Log density of the coordinates, up to a constant."""
        of_psi, noise = self.split(at)
        each = self.of_stars(of_psi, noise)
        psi = self.shared.psi(of_psi)
        rest = norm.logpdf(noise).sum(axis=0)
        # differences from the centre keep the digits of a sum in float32
        gain = jnp.where(self.shared.counts > 0.0, each - self.shared.first, rest)
        return jnp.sum(gain) - 0.5 * jnp.sum(psi**2)

    def of_stars(
        self, of_psi: Float[AnyArray, " psi"], noise: Float[AnyArray, "4 star"]
    ) -> Float[AnyArray, " star"]:
        """Log of likelihood times population of each star in its coordinates."""
        density, psi = self.shared, self.shared.psi(of_psi)
        shared = unpack(psi, density.layout)
        normal = normals(density.star, density.expansion, density.layout, psi)
        local = normal.mode + solve_upper(normal.root, noise)
        diagonal = jnp.stack([normal.root[i][i] for i in range(N_LOCAL)])
        log_det = -jnp.log(diagonal).sum(axis=0)
        each = jax.vmap(_of_one, in_axes=(-1, None, None, -1, -1, 0))
        return each(density.star, shared, self.model, local, noise, log_det)

    def value_and_slope(
        self, at: Float[AnyArray, " all"]
    ) -> tuple[Float[AnyArray, ""], Float[AnyArray, " all"]]:
        """Log density of the coordinates, and its gradient."""
        return jax.value_and_grad(self.value)(at)


def _of_one(
    star: Star,
    shared: Shared,
    model: Model,
    local: Float[AnyArray, " 4"],
    noise: Float[AnyArray, " 4"],
    log_det: Float[AnyArray, ""],
) -> Float[AnyArray, ""]:
    value, bad = readings(star, model, inputs_at(shared, local))
    gain = log_likelihood(star, shared, value) + log_population(shared, local)
    pseudo = norm.logpdf(noise).sum()
    # relative to the pseudo-prior, the mixture has the form of the marginal one
    relative = jnp.where(bad, BAD, gain + log_det - pseudo)
    return with_outliers(star, shared, relative) + pseudo
