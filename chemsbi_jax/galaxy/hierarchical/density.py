"""The joint density of psi and all stars, in coordinates that are nearly normal.

psi is whitened; each star's local latents come from its guide, which follows psi. An
outlier's local latents are not constrained, so their density given that it is one may
be any normalised density (a pseudo-prior, Carlin & Chib 1995): the standard normal of
these coordinates. The integral over the stars' coordinates is then the mixture's
marginal likelihood, exactly.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from chemsbi_jax.galaxy.hierarchical.proposals import (
    Guide,
    even_normals,
    inputs_at,
    move,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import (
    BAD,
    Model,
    Star,
    log_likelihood,
    log_population,
    readings,
    with_outliers,
)

RESPONSE_DRAWS = 256  # of each star


class Point(NamedTuple):
    """Coordinates of psi and of all stars."""

    shared: Float[Array, "*chain psi"]
    stars: Float[Array, "*chain 4 star"]


class Density(NamedTuple):
    """What the joint density of one galaxy consists of."""

    model: Model
    layout: Layout
    star: Star
    guide: Guide
    counts: Float[Array, " star"]  # 1, or 0 for a row that only fills up
    centre: Float[Array, " psi"]
    factor: Float[Array, "psi psi"]  # lower triangle

    def psi(self, shared: Float[Array, " psi"]) -> Float[Array, " psi"]:
        """Shared latents from their coordinates."""
        return self.centre + self.factor @ shared

    def log_density(self, at: Point) -> Float[Array, ""]:
        """Log posterior density of the coordinates, up to a constant."""
        psi = self.psi(at.shared)
        each = jax.vmap(log_density_of_star, (0, 0, None, None, None, 1))
        gain = each(self.star, self.guide, self.model, self.layout, psi, at.stars)
        rest = norm.logpdf(at.stars).sum(axis=0)
        gain = jnp.where(self.counts > 0.0, gain, rest)
        return jnp.sum(gain) - 0.5 * jnp.sum(psi**2)


def log_density_of_star(
    star: Star,
    guide: Guide,
    model: Model,
    layout: Layout,
    psi: Float[Array, " psi"],
    noise: Float[Array, " 4"],
) -> Float[Array, ""]:
    """Log of likelihood times population of one star in its coordinates."""
    shared = unpack(psi, layout)
    local, log_det = move(star, guide, layout, psi, noise)
    value, bad = readings(star, model, inputs_at(shared, local))
    gain = log_likelihood(star, shared, value) + log_population(shared, local)
    pseudo = norm.logpdf(noise).sum()
    # relative to the pseudo-prior, the mixture has the form of the marginal one
    relative = jnp.where(bad, BAD, gain + log_det - pseudo)
    return with_outliers(star, shared, relative) + pseudo


def add_response(
    key: Key[Array, ""], star: Star, guide: Guide, model: Model, layout: Layout
) -> Guide:
    """The guide with the mean response of the star's coordinates to psi.

    By Stein's identity the mean of the mixed second derivatives of the log density is
    the shift of the mean. What a thousand stars leave of it would tie psi to them.
    """

    def slope(noise: Array) -> tuple[Array, Array]:
        gradient = jax.grad(log_density_of_star, (4, 5))
        return gradient(star, guide, model, layout, guide.anchor.psi, noise)

    draws = even_normals(key, RESPONSE_DRAWS // 2).T
    mixed, curvature = jax.vmap(jax.jacfwd(slope))(jnp.concatenate([draws, -draws]))
    mixed = jnp.where(jnp.isfinite(mixed), mixed, 0.0).mean(axis=0).T
    stiff = -jnp.trace(curvature, axis1=1, axis2=2).mean() / len(mixed)
    stiff = jnp.where(jnp.isfinite(stiff), jnp.maximum(stiff, 1.0), 1.0)
    return guide._replace(response=mixed / stiff)
