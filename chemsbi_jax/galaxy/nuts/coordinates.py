"""Reparametrisation of a galaxy and its stars: each star is nearly a standard normal.

Each star has a triangular map, fitted by importance sampling, which depends on the
parameters of the galaxy. The map is a bijection: a poor fit costs time, not accuracy.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.exact.blocks import in_blocks
from chemsbi_jax.galaxy.exact.importance import Star, local_chart
from chemsbi_jax.galaxy.exact.polynomial import unit_grid
from chemsbi_jax.galaxy.exact.posterior import Exact
from chemsbi_jax.galaxy.exact.start import exact_of_stars
from chemsbi_jax.galaxy.exact.triangular_map import Chart, transform
from chemsbi_jax.galaxy.likelihood import Observed, log_likelihood, standardised
from chemsbi_jax.npe.model import N_LOCAL, Npe
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import Forward, GalaxyPosterior, Stars

N_CURVATURE, WIDEN = 64, 1.3  # draws of a star for its curvature, and their spread
EDGE = 4.98  # prior widths of local parameters: the emulators end at 5
FLATTEST = 0.02  # of the steepest direction: the fourth root of float32's rounding
CURVATURES = (0.3, 300.0)  # what lies outside is an accident of the draws
# of the design that `local_charts` follows, and the draws at each of its points
CHART_REACH, CHART_SIDE, CHART_DRAWS = 2.5, 3, 256


class Joint(NamedTuple):
    """Posterior of a galaxy and its stars, in coordinates that are nearly normal."""

    forward: Forward
    prior: Prior
    observed: Observed
    charts: Chart
    stretch: Float[Array, "star 4 4"]  # the chains' coordinates to those of the charts
    centre: Float[Array, " 2"]  # of the global latents
    scale: Float[Array, "2 2"]  # lower triangle

    def to_latents(
        self, galaxy: Float[Array, " 2"], stars: Float[Array, "4 star"]
    ) -> tuple[Float[Array, "star 6"], Float[Array, ""]]:
        """Latents of all stars, and the log volume of the map."""
        noise = jnp.einsum("nij,jn->in", self.stretch, stars)
        each = jax.vmap(transform, (0, None, 1), (1, 0))
        local, log_det = each(self.charts, galaxy, noise)
        first = self.centre + self.scale @ galaxy
        shared = jnp.broadcast_to(first[:, None], (N_GLOBAL, stars.shape[1]))
        return jnp.concatenate([shared, local]).T, log_det.sum()

    def potential(self, at: dict[str, Array]) -> Array:
        """Minus the log posterior density of the coordinates, up to a constant."""
        latent, log_det = self.to_latents(at["galaxy"], at["stars"])
        theta = to_theta(self.prior, latent)
        first, rest = latent[0, :N_GLOBAL], latent[:, N_GLOBAL:]
        log_prior = -0.5 * (jnp.sum(first**2) + jnp.sum(rest**2))
        gain = log_likelihood(self.forward, theta, self.observed)
        return -log_prior - jnp.sum(gain) - log_det


def to_theta(
    prior: Prior, latent: Float[Array, "*b param"]
) -> Float[Array, "*b param"]:
    """Parameters of stars; a smooth bijection keeps the local ones within `EDGE`.

    The prior is cut there (6e-7 of it): where an emulator ends, a step of the chains
    would meet a cliff. The latents stay standard normals.
    """
    inner = _within(latent[..., N_GLOBAL:])
    return priors.from_normal(
        prior, jnp.concatenate([latent[..., :N_GLOBAL], inner], axis=-1)
    )


def _within(latent: Array) -> Array:
    # by the upper tail, which float32 resolves
    size = jnp.where(latent < 0.0, -latent, latent)
    cut = ndtr(-EDGE)
    inner = -ndtri(cut + (1.0 - 2.0 * cut) * ndtr(-size))
    return jnp.where(latent < 0.0, -inner, inner)


def make_joint(
    key: Key[Array, ""],
    forward: Forward,
    stars: Stars,
    npe: Npe,
    start: GalaxyPosterior | None,
    quiet: bool = True,
) -> tuple[Joint, Bool[np.ndarray, " star"]]:
    """The density that `run_nuts` draws from, and which stars it has.

    Those that no parameters explain are left out, as `exact_posterior` does.
    """
    key_exact, key_stretch = jax.random.split(key)
    result = exact_of_stars(key_exact, npe, forward, stars, start, quiet=quiet)
    charts = local_charts(result, npe, forward)
    kept = np.flatnonzero(result.is_used)
    charts, observed = jax.tree.map(lambda x: x[kept], (charts, result.stars.observed))
    joint = Joint(
        forward=forward,
        prior=npe.prior,
        observed=observed,
        charts=charts,
        stretch=jnp.broadcast_to(jnp.eye(N_LOCAL), (len(kept), N_LOCAL, N_LOCAL)),
        centre=jnp.asarray(result.grid.mean, jnp.float32),
        scale=jnp.linalg.cholesky(jnp.asarray(result.grid.covariance, jnp.float32)),
    )
    stretch = find_stretch(key_stretch, joint)
    return joint._replace(stretch=stretch), result.is_used


def local_charts(result: Exact, npe: Npe, forward: Forward) -> Chart:
    """Coordinates of all stars' local latents, that follow the galaxy's.

    They take the global latents less the posterior's mean, in units of its Cholesky
    factor.
    """
    units = CHART_REACH * unit_grid(CHART_SIDE)
    factor = np.linalg.cholesky(np.asarray(result.grid.covariance, float))
    points = np.asarray(result.grid.mean, float)[:, None] + factor @ units
    units = jnp.asarray(units, jnp.float32)
    return in_blocks(_local_charts, result.stars, npe, forward, (points, units))


def _local_charts(
    stars: Star, npe: Npe, forward: Forward, design: tuple[Array, Array]
) -> Chart:
    points, units = design

    def of_star(star: Star) -> Chart:
        return local_chart(star, npe, forward, points, units, CHART_DRAWS)

    return lax.map(of_star, stars)


@eqx.filter_jit
def find_stretch(key: Key[Array, ""], joint: Joint) -> Float[Array, "star 4 4"]:
    """Coordinates of each star in which its largest curvature is about 1.

    The steepest place of the steepest star decides the step of all. So the unit is the
    fourth root of the mean fourth power of the curvature, which is near its largest;
    its square let one trajectory in a thousand diverge.
    """

    def one(star: tuple) -> Array:
        key, chart, observed = star

        def residuals(noise: Array) -> Array:
            local, _ = transform(chart, jnp.zeros(N_GLOBAL), noise)
            theta = to_theta(joint.prior, jnp.concatenate([joint.centre, local]))
            return jnp.concatenate(
                [local, standardised(joint.forward, theta, observed)]
            )

        noise = WIDEN * jax.random.normal(key, (N_CURVATURE, N_LOCAL))
        slopes = jax.vmap(jax.jacfwd(residuals))(noise)
        slopes = jnp.where(jnp.isfinite(slopes), slopes, 0.0)
        curvature = jnp.einsum("nri,nrj->nij", slopes, slopes)
        trace = jnp.trace(curvature, axis1=1, axis2=2)
        curvature *= jnp.minimum(1.0, CURVATURES[1] / trace.clip(1.0))[:, None, None]
        # of float32 the fourth power of a large number would be too much
        largest = jnp.trace(curvature, axis1=1, axis2=2).max().clip(1.0)
        square = jnp.einsum("nij,njk->nik", curvature, curvature) / largest**2
        fourth = jnp.einsum("nij,njk->ik", square, square) / N_CURVATURE
        values, vectors = jnp.linalg.eigh(fourth)
        # and of a direction that is fifty times flatter, the digits are lost
        values = largest * jnp.clip(values, FLATTEST**4) ** 0.25
        return vectors / jnp.clip(values, *CURVATURES) ** 0.5  # columns

    keys = jax.random.split(key, len(joint.stretch))
    return lax.map(one, (keys, joint.charts, joint.observed))
