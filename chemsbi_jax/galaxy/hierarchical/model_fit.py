"""Does the model with shared errors explain the stars?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, UInt32

from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.diagnostics.misfit import Misfit, misfit_test
from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, find_modes, inputs_at
from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import (
    BAD,
    Model,
    Star,
    log_likelihood,
    log_population,
    noise_variance,
    offsets,
    readings,
)
from chemsbi_jax.types import AnyArray

N_MODEL_STARS = 512
MOST_OUTLIERS = 0.3  # share of the stars


class Fit(NamedTuple):
    """Stars at the local parameters that fit each of them best, at one psi."""

    residuals: Float[np.ndarray, "star reading"]  # dex, Gyr; NaN: the model has no star
    errors: Float[np.ndarray, "star reading"]  # with the model's scatter
    # log density of the outliers over that of the model, both with their shares [nat]
    log_odds: Float[np.ndarray, " star"]

    def outliers(self) -> Bool[np.ndarray, " star"]:
        """Stars that count as outliers.

        Where these would be most stars, the model does not fit, and none counts.
        """
        is_outlier = self.log_odds > 0.0
        few = is_outlier.mean() < MOST_OUTLIERS
        return is_outlier if few else np.zeros_like(is_outlier)


def fit_stars(
    stars: Star, model: Model, layout: Layout, psi: Float[np.ndarray, " psi"]
) -> Fit:
    """Residuals of the stars at the modes of their local parameters.

    Args:
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        psi: latents of the shared parameters, such as their mode.
    """
    at = jnp.asarray(psi, jnp.float32)
    return Fit(*in_blocks(_fit, stars, model, layout, at))


def shared_misfit(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
    fit: Fit,
) -> Misfit:
    """Residuals of the stars at their modes, beside those of stars of the model.

    The stars of the model have the population, the scatter and the zero points of
    `psi`, and the errors and gaps of observed stars.

    Args:
        key: determines the stars of the model.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        psi: latents of the shared parameters, such as their mode.
        fit: of the stars; outliers are left out, as they have any abundances.
    """
    inliers = np.flatnonzero(~fit.outliers())
    rows = inliers[np.arange(N_MODEL_STARS) % len(inliers)]
    like = jax.tree.map(lambda x: x[rows], stars)
    keys = np.asarray(_key_data(key, N_MODEL_STARS))
    at = jnp.asarray(psi, jnp.float32)
    values, is_born = in_blocks(_measure, (keys, like), model, layout, at)
    mocks = jax.tree.map(lambda x: x[is_born], like._replace(values=values))
    observed, errors = _of_abundances(stars, fit)
    expected, model_errors = _of_abundances(mocks, fit_stars(mocks, model, layout, psi))
    return misfit_test(observed[inliers], expected, (errors[inliers], model_errors))


@quick_jit
def _key_data(key: Key[Array, ""], n: int) -> UInt32[Array, "n word"]:
    return jax.random.key_data(jax.random.split(key, n))


def _of_abundances(stars: Star, fit: Fit) -> tuple[np.ndarray, np.ndarray]:
    """Residuals of the abundances, NaN in gaps, and their errors [dex]."""
    n = len(ABUNDANCES)
    seen = np.asarray(stars.seen)[:, :n] > 0.0
    return np.where(seen, fit.residuals[:, :n], np.nan), fit.errors[:, :n]


def _fit(
    stars: Star, model: Model, layout: Layout, psi: Array
) -> tuple[Array, Array, AnyArray]:
    """`Fit` of a block of stars: one program, as each takes seconds to compile.

    The density of the model is Laplace's approximation: the local latents are
    integrated out, as in that of the outliers.
    """
    shared = unpack(psi, layout)
    start = jnp.zeros((len(stars.values), N_LOCAL))
    local, log_volume = find_modes(stars, model, shared, start)
    value, bad = readings(stars, model, inputs_at(shared, local))
    rest = stars.values - value - offsets(stars, shared)
    rest = jnp.where(bad[:, None], jnp.nan, rest)
    each = jax.vmap(log_likelihood, in_axes=(0, None, 0))(stars, shared, value)
    inlier = each + log_population(shared, local) + log_volume
    inlier = jnp.where(bad, BAD, inlier) + jnp.log1p(-jnp.exp(shared.log_outliers))
    log_odds = shared.log_outliers + stars.log_broad - inlier
    return rest, jnp.sqrt(noise_variance(stars, shared)), log_odds


def _measure(
    block, model: Model, layout: Layout, psi: Array
) -> tuple[AnyArray, AnyArray]:
    """Values of stars of the population, and whether the model has such a star."""
    shared = unpack(psi, layout)

    def one(key: Array, star: Star) -> tuple[AnyArray, AnyArray]:
        key_local, key_noise = jax.random.split(jax.random.wrap_key_data(key))
        normal = jax.random.normal(key_local, (N_LOCAL,))
        local = shared.mean + jnp.exp(shared.log_width) * normal
        value, bad = readings(star, model, inputs_at(shared, local))
        noise = jax.random.normal(key_noise, value.shape)
        noise = jnp.sqrt(noise_variance(star, shared)) * noise
        return star.seen * (value + offsets(star, shared) + noise), ~bad

    return jax.vmap(one)(*block)
