"""The posterior density of psi alone, with the stars integrated out.

Fixed points of the four local latents, in units of the population, are the same for all
stars: the model is called once a point, and each star's marginal likelihood is the mean
of its likelihood over the points, by importance. It is a smooth function of psi, as the
points do not change. The errors of abundances are large compared with what the local
parameters do, so that tens to hundreds of points count for a star (`effective_points`).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key
from scipy.special import ndtri
from scipy.stats import norm, qmc

from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.galaxy.hierarchical.blocks import padded_length
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, inputs_at
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.star import (
    BAD,
    LOG_2_PI,
    Model,
    Star,
    noise_variance,
    offsets,
    readings,
    with_outliers,
)
from chemsbi_jax.galaxy.hierarchical.whitening import Whitening
from chemsbi_jax.galaxy.likelihood import IRON
from chemsbi_jax.types import AnyArray

SPREAD = 1.25  # of the points, in widths of the population: stars in its tails
OUTERMOST = 1e-6  # probability beyond the last point


class Points(NamedTuple):
    """Local latents in units of the population."""

    at: Float[AnyArray, "*chain point 4"]
    log_weight: Float[AnyArray, "*chain point"]  # standard normal over their density


class MarginalDensity(NamedTuple):
    """Posterior density of the coordinates of psi."""

    stars: Star
    counts: Float[AnyArray, " star"]  # `power`, or 0 for a row that only fills up
    middle: Float[AnyArray, " reading"]  # near all readings: keeps digits
    model: Model
    layout: Layout
    whitening: Whitening  # of the coordinates of psi
    points: Points

    def value(self, at: Float[AnyArray, " psi"]) -> Float[AnyArray, ""]:
        """Log density of the coordinates, up to a constant."""
        psi = self.whitening.psi(at)
        return jnp.sum(self.counts * self.of_stars(psi)) - 0.5 * jnp.sum(psi**2)

    def of_stars(self, psi: Float[AnyArray, " psi"]) -> Float[AnyArray, " star"]:
        """Log marginal likelihood of each star at shared latents, with outliers."""
        shared = unpack(psi, self.layout)
        terms = self.log_terms(shared)
        inlier = logsumexp(terms, axis=1) - np.log(terms.shape[1])
        mixed = jax.vmap(with_outliers, in_axes=(0, None, 0))
        return mixed(self.stars, shared, inlier)

    def log_terms(self, shared: Shared) -> Float[AnyArray, "star point"]:
        """Log of likelihood times weight, for each star and point [nat]."""
        spread = jnp.exp(shared.log_width)
        local = shared.mean + spread * self.points.at
        # readings as in a table of [X/Fe]; a star's [X/H] has that of iron in addition
        plain = jax.tree.map(lambda x: jnp.zeros_like(x[0]), self.stars)
        value, bad = readings(plain, self.model, inputs_at(shared, local))
        log_weight = jnp.where(bad, BAD, self.points.log_weight)
        terms = _chi2(self.stars, shared, value, self.middle)
        variance = jax.vmap(noise_variance, in_axes=(0, None))(self.stars, shared)
        norms = jnp.sum(self.stars.seen * (jnp.log(variance) + LOG_2_PI), axis=1)
        return -0.5 * (terms + norms[:, None]) + log_weight

    def effective_points(self, psi: Float[AnyArray, " psi"]) -> Float[AnyArray, "star"]:
        """Effective number of points of each star."""
        terms = self.log_terms(unpack(psi, self.layout))
        return jnp.exp(2.0 * logsumexp(terms, axis=1) - logsumexp(2.0 * terms, axis=1))


def _chi2(
    stars: Star,
    shared: Shared,
    value: Float[AnyArray, "point reading"],
    middle: Float[AnyArray, " reading"],
) -> Float[AnyArray, "star point"]:
    """Squared standardised residuals, as one product of two matrices.

    With weights w, readings y less zero points, model v and h = 1 for [X/H],
    the sum of w (y - v - h v_Fe)^2 over readings is linear in v, v^2, v_Fe v, v_Fe^2.
    """
    each = jax.vmap(noise_variance, in_axes=(0, None))(stars, shared)
    weight, h = stars.seen / each, stars.over_h
    zero = jax.vmap(offsets, in_axes=(0, None))(stars, shared)
    y = stars.values - zero - middle - h * middle[IRON]
    v = value - middle
    iron = v[:, IRON : IRON + 1]
    of_model = jnp.concatenate([v, v**2, iron * v, iron, iron**2], axis=1)
    of_star = jnp.concatenate(
        [
            -2.0 * weight * y,
            weight,
            2.0 * weight * h,
            jnp.sum(-2.0 * weight * h * y, axis=1, keepdims=True),
            jnp.sum(weight * h**2, axis=1, keepdims=True),
        ],
        axis=1,
    )
    # large terms cancel: full precision also on a GPU
    product = jnp.matmul(of_star, of_model.T, precision="highest")
    return jnp.sum(weight * y**2, axis=1)[:, None] + product


def make_marginal_density(
    stars: Star,
    model: Model,
    layout: Layout,
    points: Points,
    axes: Whitening,
    power: float = 1.0,
) -> MarginalDensity:
    """The density in coordinates of psi.

    Galaxies of similar numbers of stars share one program: rows are filled up.

    Args:
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        points: `make_points`.
        axes: the coordinates.
        power: factor of the log likelihood, see `SharedErrors.model_stars`.
    """
    n = len(stars.values)
    rows = np.arange(padded_length(n)) % n
    seen = np.maximum(np.sum(stars.seen, axis=0), 1.0)
    # of readings without [X/H] in them
    plain = stars.values - stars.over_h * stars.values[:, IRON : IRON + 1]
    middle = np.sum(stars.seen * plain, axis=0) / seen
    return MarginalDensity(
        jax.tree.map(lambda x: np.asarray(x)[rows], stars),
        np.where(np.arange(len(rows)) < n, power, 0.0).astype(np.float32),
        np.asarray(middle, np.float32),
        model,
        layout,
        axes,
        points,
    )


def make_points(
    key: Key[Array, ""], n_points: int, n_sets: int | None = None
) -> Points:
    """Sobol' points with a random shift (Cranley & Patterson 1976), as normal deviates.

    Args:
        key: determines the shifts.
        n_points: a power of two.
        n_sets: leading axis of sets, such as one a chain; None for one set.
    """
    lead = () if n_sets is None else (n_sets,)
    shift = np.asarray(_uniform(key, (*lead, 1, N_LOCAL)), float)
    uniform = (qmc.Sobol(N_LOCAL, scramble=False).random(n_points) + shift) % 1.0
    unit = ndtri(np.clip(uniform, OUTERMOST, 1.0 - OUTERMOST))
    log_weight = norm.logpdf(SPREAD * unit) - norm.logpdf(unit) + np.log(SPREAD)
    return Points(
        np.asarray(SPREAD * unit, np.float32),
        np.asarray(log_weight.sum(axis=-1), np.float32),
    )


_uniform = quick_jit(jax.random.uniform)
