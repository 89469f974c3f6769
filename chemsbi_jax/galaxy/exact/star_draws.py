"""Draws of each star's parameters from the joint posterior, by the exact method.

The proposals are those of the exact method, and the forward model weights them, so that
a network that was trained with other yields does no harm.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float, Key, UInt32

from chemsbi_jax import priors
from chemsbi_jax.galaxy.exact.blocks import (
    DRAWS,
    POINTS_PER_CALL,
    evidence_at,
    in_blocks,
)
from chemsbi_jax.galaxy.exact.importance import (
    Star,
    draw_weighted,
    keys_of_stars,
    new_stars,
)
from chemsbi_jax.galaxy.exact.maps import adapt_poor_proposals
from chemsbi_jax.galaxy.exact.polynomial import Design
from chemsbi_jax.galaxy.exact.posterior import MIN_SIDE, Exact
from chemsbi_jax.galaxy.exact.start import features_of
from chemsbi_jax.galaxy.grid import draw_from_grid
from chemsbi_jax.galaxy.likelihood import observe
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import AnyArray, Forward, Stars

PER_POINT = 4  # draws of a star at each of the POINTS_PER_CALL global parameters
N_STAR_DRAWS = PER_POINT * POINTS_PER_CALL


class JointDraws(NamedTuple):
    """Draws of the stars, each with draws of the global parameters of the galaxy."""

    theta: Float[np.ndarray, "star draw 6"]
    predicted: Float[np.ndarray, "star draw element"]  # dex, without noise


class _Task(NamedTuple):
    """One star and its random key, or all of them."""

    star: Star
    key_data: UInt32[AnyArray, "*star word"]


def draw_stars(
    key: Key[Array, ""], exact: Exact, npe: Npe, forward: Forward
) -> JointDraws:
    """Draws of the stars that the exact method used, `N_STAR_DRAWS` each."""
    key_galaxy, key_stars = jax.random.split(key)
    stars = jax.tree.map(lambda x: np.asarray(x)[exact.is_used], exact.stars)
    return _draw(key_stars, stars, npe, forward, _points(key_galaxy, exact))


def draw_other_stars(
    key: Key[Array, ""], exact: Exact, npe: Npe, forward: Forward, stars: Stars
) -> JointDraws:
    """The same for stars of another table, with the global parameters of `exact`."""
    key_table, key_galaxy, key_stars = jax.random.split(key, 3)
    n = len(stars.values)
    words = keys_of_stars(key_table, n)
    table = new_stars(words, features_of(npe, stars), observe(stars))
    design = Design(np.asarray(exact.grid.mean, float), exact.design.factor, MIN_SIDE)
    found = evidence_at(table, npe, forward, design.points)
    table, _ = adapt_poor_proposals(table, found, npe, forward, design)
    return _draw(key_stars, table, npe, forward, _points(key_galaxy, exact))


def _points(key: Key[Array, ""], exact: Exact) -> Float[np.ndarray, "2 point"]:
    return np.asarray(draw_from_grid(key, exact.grid, POINTS_PER_CALL), float).T


def _draw(
    key: Key[Array, ""],
    stars: Star,
    npe: Npe,
    forward: Forward,
    points: Float[np.ndarray, "2 point"],
) -> JointDraws:
    words = keys_of_stars(key, len(stars.seen))[:, 0]
    tasks = _Task(stars, words)
    return JointDraws(*in_blocks(_resample, tasks, npe, forward, points))


def _resample(
    tasks: _Task, npe: Npe, forward: Forward, points: Float[Array, "2 point"]
) -> tuple[Float[Array, "star draw 6"], Float[Array, "star draw element"]]:
    def one(task: _Task) -> tuple[Float[Array, "draw 6"], Float[Array, "draw element"]]:
        key = jax.random.wrap_key_data(jnp.asarray(task.key_data))
        key_draws, key_choice = jax.random.split(key)
        draws = draw_weighted(key_draws, task.star, npe, forward, points, DRAWS)
        # NaN where the proposal fails: no weight
        log_weight = jnp.nan_to_num(draws.log_weight, nan=-jnp.inf)
        chosen = jax.random.categorical(
            key_choice, log_weight, shape=(PER_POINT, points.shape[1])
        )
        local = jnp.take_along_axis(draws.local, chosen.T[None], axis=2)
        before = jnp.broadcast_to(points[:, :, None], (2, *local.shape[1:]))
        latent = jnp.concatenate([before, local]).reshape(len(npe.prior), -1).T
        theta = priors.from_normal(npe.prior, latent)
        return theta, forward(theta)

    return lax.map(one, tasks)
