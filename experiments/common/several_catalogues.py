"""Mock galaxies that several catalogues observe, each with errors of its own."""

from collections.abc import Mapping
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from tqdm import tqdm

from chemsbi_jax.constants import N_GLOBAL, SHARED_FACTORS, YIELD_SLOPES
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.galaxy.hierarchical.mock import LIMIT, draw_stars
from chemsbi_jax.galaxy.hierarchical.population_form import draw_form
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from common.shared_galaxies import (
    NAMES,
    Galaxies,
    default_model,
    draw_posteriors,
    empty_stars,
    like_stars,
)

N_COMMON = N_GLOBAL + len(SHARED_FACTORS)
IS_SLOPE = np.isin(NAMES[:N_COMMON], YIELD_SLOPES)


class Kind(NamedTuple):
    """What a catalogue measures."""

    abundances: tuple[str, ...]
    n_stars: int
    error: float  # dex


ALPHA = ("fe_h", "mg_fe", "o_fe", "si_fe")
KINDS = {
    "Fe, Mg, O, Si; 700 stars": Kind(ALPHA, 700, 0.07),
    "and C, N; 180 stars": Kind((*ALPHA, "c_fe", "n_fe"), 180, 0.07),
    "and C, N; 300 stars": Kind((*ALPHA, "c_fe", "n_fe"), 300, 0.05),
    "and C; 300 stars": Kind((*ALPHA, "c_fe"), 300, 0.05),
}
"""The catalogues, in the order in which they are combined. The first two are like those
of Bensby+ 2014 and Reddy+ 2003."""


class Observed(NamedTuple):
    """Galaxies, and draws of their common latents from each catalogue."""

    truth: Float[np.ndarray, "galaxy common"]
    draws: Mapping[str, Float[np.ndarray, "galaxy draw common"]]
    # the same, with the galaxy's parameters of the next galaxy and its own yields
    others: Mapping[str, Float[np.ndarray, "galaxy draw common"]]
    slope_scale: Float[np.ndarray, " common"]  # prior scale [dex per dex]; 1: no slope


class Keys(NamedTuple):
    """One key for each random step of a catalogue."""

    latents: Key[Array, ""]  # of its own
    slopes: Key[Array, ""]
    stars: Key[Array, ""]
    posterior: Key[Array, ""]


def observe(
    key: Key[Array, ""],
    n_galaxies: int,
    slope_error: float,
    n_draws: int,
    quiet: bool,
) -> Observed:
    """Galaxies with common parameters from the prior, seen by every catalogue.

    Zero points, scatter, populations of any form and errors of the slopes are drawn
    for each catalogue.

    Args:
        key: determines everything random.
        n_galaxies: their number.
        slope_error: of each catalogue [dex per dex].
        n_draws: of each posterior.
        quiet: no progress bar.
    """
    key_common, key_own, key_other = jax.random.split(key, 3)
    scale = np.asarray(default_model()[1].scale)[:N_COMMON]
    scale = np.where(IS_SLOPE, scale, 1.0)
    common = _normal(key_common, (n_galaxies, N_COMMON))
    other = common.copy()
    other[:, :N_GLOBAL] = np.roll(common[:, :N_GLOBAL], -1, axis=0)
    errors, draws = slope_error / scale * IS_SLOPE, []
    for key_each, truth in ((key_own, common), (key_other, other)):
        keys = dict(zip(KINDS, jax.random.split(key_each, len(KINDS)), strict=True))
        bar = tqdm(KINDS.items(), desc="catalogues", disable=quiet)
        draws.append(
            {name: _see(keys[name], truth, errors, kind, n_draws) for name, kind in bar}
        )
    return Observed(common, draws[0], draws[1], scale)


def _see(
    key: Key[Array, ""],
    common: Float[np.ndarray, "galaxy common"],
    errors: Float[np.ndarray, " common"],
    kind: Kind,
    n_draws: int,
) -> np.ndarray:
    """Draws of the common latents of each galaxy, from one catalogue of its stars."""
    keys, n = Keys(*jax.random.split(key, len(Keys._fields))), len(common)
    model, layout = default_model()
    psi = _normal(keys.latents, (n, len(NAMES)))
    psi[:, :N_COMMON] = common + errors * _normal(keys.slopes, common.shape)
    like = like_stars(empty_stars(kind.n_stars, kind.error, kind.abundances))
    task = jnp.asarray(psi), model, layout, like
    stars, counts = _draw(jax.random.split(keys.stars, n), *task)
    galaxies = Galaxies(psi, stars, np.asarray(counts), np.full(n, "tng"))
    found = draw_posteriors(keys.posterior, galaxies, n_draws)
    return found[..., :N_COMMON].astype(float)


def _normal(key: Key[Array, ""], shape: tuple[int, ...]) -> np.ndarray:
    return np.array(jnp.clip(jax.random.normal(key, shape), -LIMIT, LIMIT), float)


@eqx.filter_jit
def _draw(
    keys: Key[Array, " galaxy"],
    psi: Float[Array, "galaxy psi"],
    model: Model,
    layout: Layout,
    like: Star,
):
    width = SharedErrors().outlier_width

    def one(row: tuple) -> tuple:
        key_form, key_stars = jax.random.split(row[0])
        form = draw_form(key_form)
        return draw_stars(key_stars, model, layout, row[1], like, width, form)

    return jax.lax.map(one, (keys, psi.astype(jnp.float32)))
