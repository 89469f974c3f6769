"""Galaxies of two populations with correlated local parameters, and posteriors."""

from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical import SharedErrors, load_shared_network
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, inputs_at
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode, start_from
from chemsbi_jax.galaxy.hierarchical.posterior import draw_psi, padded
from chemsbi_jax.galaxy.hierarchical.result import far_population
from chemsbi_jax.galaxy.hierarchical.sampling import distance_of_mode
from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import (
    Model,
    Star,
    noise_variance,
    offsets,
    readings,
)
from chemsbi_jax.types import AnyArray
from common.shared_galaxies import default_model, empty_stars, like_stars

WAYS = ("network", "coarsened", "likelihood of all stars")
APART, SPREAD = 1.5, 0.5  # of the means, and of the log widths, in prior widths
FARTHEST = 4.0  # prior widths of a local latent
LIMIT = 3.0  # of the shared latents
N_DRAWS = 2000
UNIT = 0.3  # width of the priors of both parameters of the galaxy


class Keys(NamedTuple):
    """One key for each random step of a galaxy."""

    psi: Key[Array, ""]
    share: Key[Array, ""]
    member: Key[Array, ""]
    means: Key[Array, ""]
    widths: Key[Array, ""]
    slopes: Key[Array, ""]
    local: Key[Array, ""]
    noise: Key[Array, ""]


class Galaxy(NamedTuple):
    """Stars of one galaxy, and its two latents."""

    truth: Float[np.ndarray, " 2"]
    stars: Star


def draw_galaxies(
    key: Key[Array, ""], n_galaxies: int, n_stars: int, error: float
) -> list[Galaxy]:
    """Galaxies with shared errors from the prior and two populations of stars.

    Args:
        key: determines everything random.
        n_galaxies: their number.
        n_stars: of each; stars that the model does not have are left out.
        error: of the eight abundances [dex].
    """
    like = like_stars(empty_stars(n_stars, error))
    keys = jax.random.split(key, n_galaxies)
    return list(_galaxies(keys, like))


def _galaxies(keys: Key[Array, " galaxy"], like: Star) -> Iterator[Galaxy]:
    model, layout = default_model()
    for key in keys:
        psi, values, bad = _stars(key, model, layout, like)
        rows = np.flatnonzero(~np.asarray(bad))
        stars = like._replace(values=np.asarray(values))
        yield Galaxy(
            np.asarray(psi[:N_GLOBAL], float),
            jax.tree.map(lambda x, rows=rows: np.asarray(x)[rows], stars),
        )


@eqx.filter_jit
def _stars(
    key: Key[Array, ""], model: Model, layout: Layout, like: Star
) -> tuple[AnyArray, AnyArray, AnyArray]:
    """Latents of the shared parameters, readings, and stars that the model lacks."""
    keys = Keys(*jax.random.split(key, len(Keys._fields)))
    psi = jax.random.normal(keys.psi, layout.scale.shape)
    psi = jnp.clip(psi, -LIMIT, LIMIT).at[layout.slices()["population"]].set(0.0)
    shared, n = unpack(psi, layout), len(like.values)
    share = jax.random.uniform(keys.share, minval=0.3, maxval=0.7)
    means = APART * jax.random.normal(keys.means, (2, N_LOCAL))
    is_first = jax.random.uniform(keys.member, (n, 1)) < share
    slopes = jnp.tril(jax.random.normal(keys.slopes, (N_LOCAL, N_LOCAL)), -1)
    widths = jnp.exp(SPREAD * jax.random.normal(keys.widths, (N_LOCAL,)))
    local = jax.random.normal(keys.local, (n, N_LOCAL)) @ (jnp.eye(N_LOCAL) + slopes).T
    local = jnp.where(is_first, *means) + widths * local
    local = jnp.clip(local, -FARTHEST, FARTHEST)
    value, bad = readings(like, model, inputs_at(shared, local))
    noise = jax.random.normal(keys.noise, value.shape)
    noise = jnp.sqrt(noise_variance(like, shared)) * noise
    return psi, like.seen * (value + offsets(like, shared) + noise), bad


def compare_ways(key: Key[Array, ""], galaxy: Galaxy) -> dict:
    """chi2 of the truth and widths of each posterior, and the checks of the mode."""
    key_draws, key_mode = jax.random.split(key)
    model, layout = default_model()
    stars, network = galaxy.stars, load_shared_network().network
    ratio = np.ones(len(layout.scale), np.float32)
    latents = draw_psi(key_draws, network, padded(stars, layout, ratio), N_DRAWS)
    task = key_mode, stars, model, layout, *start_from(latents)
    whole = find_shared_mode(*task)
    power = SharedErrors().likelihood_power(len(stars.values))
    coarse = find_shared_mode(*task, power=power)
    first = latents[:, :N_GLOBAL]
    moments = [(first.mean(axis=0), np.cov(first, rowvar=False))]
    moments += [(m.psi, m.covariance) for m in (coarse, whole)]
    found = {
        way: _against(galaxy.truth, mean[:N_GLOBAL], covariance[:N_GLOBAL, :N_GLOBAL])
        for way, (mean, covariance) in zip(WAYS, moments, strict=True)
    }
    return found | {
        "n_stars": len(stars.values),
        "mode_distance": distance_of_mode(latents, whole),
        "far_population": far_population(whole.psi, layout),
    }


def _against(
    truth: Float[np.ndarray, " 2"],
    mean: Float[np.ndarray, " 2"],
    covariance: Float[np.ndarray, "2 2"],
) -> dict:
    away = mean - truth
    return {
        "chi2": float(away @ np.linalg.solve(covariance, away)),
        "sd": (UNIT * np.sqrt(np.diag(covariance))).tolist(),
    }
