"""The amortised products of many galaxies at once, for calibration."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.amortised.flow import sum_on_grid
from chemsbi_jax.galaxy.amortised.gaussian import (
    GaussianProduct,
    combine_gaussians,
    star_moments,
)
from chemsbi_jax.galaxy.amortised.padding import (
    BLOCK,
    keys_of_stars,
    on_all_devices,
    padded_share,
)
from chemsbi_jax.galaxy.amortised.score_correction import mean_score, model_scores
from chemsbi_jax.galaxy.amortised.uninformative import find_uninformative
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.grid import draw_from_grid
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward, Stars

Galaxies = tuple[
    Key[Array, " galaxy"],
    Float[Array, "galaxy star input"],
    Bool[Array, "galaxy star"],
    Float[Array, "galaxy star element"],
]
"""Keys, inputs, which rows are stars, and `iron_share`, of all galaxies."""


@in_float32
def infer_galaxies(
    key: Key[Array, ""],
    npe: Npe,
    galaxies: list[Stars],
    method: str,
    n_draws: int,
    forward: Forward | None = None,
) -> Float[np.ndarray, "galaxy draw 2"]:
    """Draws of (alpha_imf, log10_n_ia) of many galaxies, in one call, on all devices.

    Args:
        key: determines the draws.
        npe: `load_npe` or `train_npe`.
        galaxies: tables of about the same length; the shorter ones are padded.
        method: "flow" or "gaussian", as in `infer_galaxy`.
        n_draws: from each galaxy.
        forward: as in `infer_galaxy`; a PyTree, e.g. `jax.tree_util.Partial`.

    Raises:
        ValueError: unknown method.
    """
    draws_of = {"flow": _flow_draws, "gaussian": _gaussian_draws}
    if method not in draws_of:
        raise ValueError(f"Expected method {' or '.join(draws_of)}; got {method!r}.")
    galaxies = [check_stars(g, f"galaxy {i}") for i, g in enumerate(galaxies)]
    length = max(len(stars.values) for stars in galaxies)
    if length > BLOCK:
        length = BLOCK * -(-length // BLOCK)
    blank = np.asarray(npe.reader.blank(), np.float32)
    inputs = np.tile(blank, (len(galaxies), length, 1))
    is_star = np.zeros((len(galaxies), length), bool)
    share = np.stack([padded_share(npe, stars, length) for stars in galaxies])
    for i, stars in enumerate(galaxies):
        inputs[i, : len(stars.values)] = npe.reader.inputs(stars)
        is_star[i, : len(stars.values)] = True
    is_star[is_star] = ~find_uninformative(npe, inputs[is_star])
    keys = keys_of_stars(key, len(galaxies))
    latent = on_all_devices(draws_of[method])(
        (keys, inputs, is_star, share), npe, forward, n_draws
    )
    prior = tuple(npe.prior)[:N_GLOBAL]
    return np.asarray(priors.from_normal(prior, latent))


def _product(
    key: Key[Array, ""], npe: Npe, inputs: Array, is_star: Array
) -> GaussianProduct:
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(inputs)))
    means, covariances = star_moments((keys, inputs), npe)
    zero, one = jnp.zeros(N_GLOBAL), jnp.eye(N_GLOBAL)
    return combine_gaussians(means, covariances, zero, one, is_star)


def _gaussian_draws(
    galaxies: Galaxies, npe: Npe, forward: Forward | None, n_draws: int
) -> Array:
    def one(galaxy: tuple[Array, Array, Array, Array]) -> Array:
        key, inputs, is_star, _ = galaxy
        key_stars, key_draws = jax.random.split(key)
        product = _product(key_stars, npe, inputs, is_star)
        noise = jax.random.normal(key_draws, (n_draws, N_GLOBAL))
        return product.mean + noise @ jnp.linalg.cholesky(product.covariance).T

    return lax.map(one, galaxies)


def _flow_draws(
    galaxies: Galaxies, npe: Npe, forward: Forward | None, n_draws: int
) -> Array:
    def one(galaxy: tuple[Array, Array, Array, Array]) -> Array:
        key, inputs, is_star, share = galaxy
        key_stars, key_model, key_draws = jax.random.split(key, 3)
        guess = _product(key_stars, npe, inputs, is_star)
        score = None
        if forward is not None:
            table, how = (inputs, is_star, guess), {"share": share, "run": model_scores}
            score = mean_score(key_model, npe, forward, *table, **how)
        grid = sum_on_grid(npe, inputs, is_star, guess, score)
        return draw_from_grid(key_draws, grid, n_draws)

    return lax.map(one, galaxies)
