"""Posterior draws of each star by itself."""

import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.galaxy.amortised.padding import (
    BLOCK,
    keys_of_stars,
    on_all_devices,
    pad,
    quickly_on_all_devices,
)
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.npe.model import Npe, sample_latents
from chemsbi_jax.types import Forward, Stars


@in_float32
def sample_stars(
    key: Key[Array, ""], npe: Npe, stars: Stars, n_draws: int = 1000
) -> Float[Array, "star draw param"]:
    """Draws from the posterior of each star, in one jitted call.

    Args:
        key: the draws of a star depend on it and on the star's row alone.
        npe: `load_npe` or `train_npe`.
        stars: `read_stars`; what `npe` can read (any, or all eight with one error).
        n_draws: draws a star.

    Returns:
        (n_stars, n_draws, 6) theta in the order of `PARAMETERS`.

    Raises:
        CatalogError: a star can't be used (`check_stars`), or the network is for one
            error, and a star has another or gaps.
    """
    stars = check_stars(stars)
    inputs, _ = pad(npe, npe.reader.inputs(stars))
    keys = keys_of_stars(key, len(inputs))
    draws = on_all_devices(_sample)((keys, inputs), npe, n_draws)
    return draws[: len(stars.values)]


@in_float32
def predict_stars(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    stars: Stars,
    n_draws: int,
    n_predicted: int,
) -> tuple[
    Float[np.ndarray, "star draw param"], Float[np.ndarray, "star draw2 element"]
]:
    """Draws of each star, and the abundances that the model predicts for some of them.

    Args:
        key: as in `sample_stars`.
        npe: posterior network.
        forward: theta (..., 6) -> abundances [dex].
        stars: the table.
        n_draws: draws a star.
        n_predicted: predictions a star, at its first draws.

    Returns:
        Theta (star, n_draws, 6), and abundances without noise (star, n_predicted,
        element) [dex].
    """
    stars = check_stars(stars)
    inputs, _ = pad(npe, npe.reader.inputs(stars))
    keys = keys_of_stars(key, len(inputs))
    run = quickly_on_all_devices(_predict)
    draws, predicted = run((keys, inputs), npe, forward, n_draws, n_predicted)
    n = len(stars.values)  # cut by numpy, which compiles nothing
    return np.asarray(draws)[:n], np.asarray(predicted)[:n]


def _sample(stars: tuple[Key[Array, " star"], Array], npe: Npe, n_draws: int) -> Array:
    keys, inputs = stars
    draws = sample_latents(keys, npe, inputs, n_draws)
    return priors.from_normal(npe.prior, draws)


def _predict(
    stars: tuple[Key[Array, " star"], Array],
    npe: Npe,
    forward: Forward,
    n_draws: int,
    n_predicted: int,
) -> tuple[Array, Array]:
    draws = _sample(stars, npe, n_draws)
    few = draws[:, :n_predicted]
    return draws, lax.map(forward, few, batch_size=BLOCK)  # for the memory
