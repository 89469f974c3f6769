"""Does the model with shared errors explain the stars?"""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.diagnostics.misfit import Misfit, misfit_test
from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, inputs_at
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
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
from chemsbi_jax.galaxy.hierarchical.tangent import star_modes
from chemsbi_jax.types import AnyArray

N_MODEL_STARS = 512
MOST_OUTLIERS = 0.3  # share of the stars


def shared_misfit(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
    is_outlier: np.ndarray,
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
        is_outlier: (star,) stars that are left out, as outliers have any abundances.
    """
    at = jnp.asarray(psi, jnp.float32)
    inliers = jax.tree.map(lambda x: x[~is_outlier], stars)
    rows = np.arange(N_MODEL_STARS) % len(inliers.values)
    like = jax.tree.map(lambda x: x[rows], inliers)
    keys = jax.random.split(key, N_MODEL_STARS)
    values, is_born = in_blocks(_measure, (keys, like), model, layout, at)
    mocks = jax.tree.map(lambda x: x[is_born], like._replace(values=values))
    observed, errors = _residuals(inliers, model, layout, at)
    expected, model_errors = _residuals(mocks, model, layout, at)
    return misfit_test(observed, expected, (errors, model_errors))


def find_outliers(
    stars: Star, model: Model, layout: Layout, psi: Float[np.ndarray, " psi"]
) -> np.ndarray:
    """Stars that the broad normal of the outliers explains better than the model.

    At the local parameters that fit each star best, and at one psi. Where these would
    be most stars, the model does not fit, and none counts as an outlier.
    """
    at = jnp.asarray(psi, jnp.float32)
    local = np.zeros((len(stars.values), N_LOCAL), np.float32)
    local = star_modes(stars, local, model, layout, at)
    found = in_blocks(_is_outlier, (stars, local), model, layout, at)
    return found if found.mean() < MOST_OUTLIERS else np.zeros_like(found)


def _is_outlier(block, model: Model, layout: Layout, psi: Array) -> Array:
    shared = unpack(psi, layout)

    def one(star: Star, local: Array) -> Array:
        value, bad = readings(star, model, inputs_at(shared, local))
        inlier = log_likelihood(star, shared, value) + log_population(shared, local)
        inlier = jnp.where(bad, BAD, inlier)
        return inlier < shared.log_outliers + star.log_broad

    return jax.vmap(one)(*block)


def _measure(
    block, model: Model, layout: Layout, psi: Array
) -> tuple[AnyArray, AnyArray]:
    """Values of stars of the population, and whether the model has such a star."""
    shared = unpack(psi, layout)

    def one(key: Array, star: Star) -> tuple[AnyArray, AnyArray]:
        key_local, key_noise = jax.random.split(key)
        normal = jax.random.normal(key_local, (N_LOCAL,))
        local = shared.mean + jnp.exp(shared.log_width) * normal
        value, bad = readings(star, model, inputs_at(shared, local))
        noise = jax.random.normal(key_noise, value.shape)
        noise = jnp.sqrt(noise_variance(star, shared)) * noise
        return star.seen * (value + offsets(star, shared) + noise), ~bad

    return jax.vmap(one)(*block)


def _residuals(stars: Star, model: Model, layout: Layout, psi: Array):
    """Residuals of all stars at their modes, NaN in gaps, and their errors [dex]."""
    local = np.zeros((len(stars.values), N_LOCAL), np.float32)
    local = star_modes(stars, local, model, layout, psi)
    rest, errors = in_blocks(_at_modes, (stars, local), model, layout, psi)
    n = len(ABUNDANCES)
    seen = np.asarray(stars.seen)[:, :n] > 0.0
    return np.where(seen, rest[:, :n], np.nan), errors[:, :n]


def _at_modes(block, model: Model, layout: Layout, psi: Array) -> tuple[Array, Array]:
    shared: Shared = unpack(psi, layout)

    def one(star: Star, local: Array) -> tuple[Array, Array]:
        value, bad = readings(star, model, inputs_at(shared, local))
        rest = star.values - value - offsets(star, shared)
        return jnp.where(bad, jnp.nan, rest), jnp.sqrt(noise_variance(star, shared))

    return jax.vmap(one)(*block)
