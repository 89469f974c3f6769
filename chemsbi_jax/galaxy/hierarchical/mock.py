"""Mock galaxies of known shared parameters, with errors and gaps of any survey."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL, inputs_at
from chemsbi_jax.galaxy.hierarchical.population_form import (
    Form,
    draw_deviates,
    draw_form,
)
from chemsbi_jax.galaxy.hierarchical.settings import BLOCKS
from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import (
    Model,
    Star,
    noise_variance,
    offsets,
    readings,
)
from chemsbi_jax.galaxy.likelihood import IRON
from chemsbi_jax.types import AnyArray

LIMIT = 3.0  # prior widths of a drawn latent: the emulator of the factors ends there
N_READINGS = len(ABUNDANCES) + 1  # the birth time is the last one
SELDOM = tuple(a in ("he_fe", "ne_fe") for a in ABUNDANCES)  # few stars have them
# shares of galaxies with the default priors, with these or held blocks, with all held
P_USUAL, P_ONLY_HELD, P_ALL_HELD = 0.45, 0.25, 0.03
P_HELD, P_ONE_SMALLER = 0.35, 0.1  # of a block; of one latent
SMALLEST_RATIO, LARGEST_RATIO = 0.3, 2.0  # prior scales over the default ones
# shares of galaxies with all abundances, and with a usual one, a rare one, birth times
P_COMPLETE, P_SEEN, P_SELDOM_SEEN, P_DATED = 0.4, 0.85, 0.5, 0.35
P_FEW, FEW = 0.2, 4  # galaxies with at most so many abundances
# how often they have an abundance, natural log: iron, alpha elements, carbon
FEW_FIRST = {"fe_h": 3.0, "mg_fe": 1.0, "o_fe": 0.7, "si_fe": 0.7, "c_fe": 0.3}
ERRORS = (-2.0, -0.5)  # log10 dex
DATE_ERRORS = (-0.5, 0.6)  # log10 Gyr
P_SAME_ERROR, ERROR_SPREAD = 0.5, 0.3  # natural log, from star to star
P_GAPS, MOST_GAPS = 0.5, 0.9
P_OVER_H = 0.25  # galaxies whose table has [X/H]


class Mock(NamedTuple):
    """Galaxies with their stars."""

    psi: Float[AnyArray, "*galaxy psi"]  # latents
    ratio: Float[AnyArray, "*galaxy psi"]  # prior scales over the default ones
    stars: Star  # (galaxy, star)
    counts: Float[AnyArray, "*galaxy star"]  # 1, or 0 of a star that does not count


def draw_mock(
    key: Key[Array, ""],
    model: Model,
    layout: Layout,
    outlier_width: float | Float[AnyArray, ""],
    n: int,
) -> Mock:
    """One galaxy of `n` stars, with everything drawn: priors, psi, errors, gaps.

    Args:
        key: determines everything.
        model: forward model and prior.
        layout: of psi, with the default prior scales.
        outlier_width: of the outliers' abundances [dex].
        n: stars.
    """
    key_ratio, key_psi, key_like, key_form, key_stars = jax.random.split(key, 5)
    ratio = draw_ratios(key_ratio, layout)
    psi = jnp.clip(jax.random.normal(key_psi, layout.scale.shape), -LIMIT, LIMIT)
    scaled = dataclasses.replace(layout, scale=layout.scale * ratio)
    like = draw_errors(key_like, n)
    form = draw_form(key_form, is_population_held(scaled))
    stars, counts = draw_stars(key_stars, model, scaled, psi, like, outlier_width, form)
    return Mock(psi, ratio, stars, counts)


def is_population_held(layout: Layout) -> Bool[AnyArray, ""]:
    """Whether the distribution of the local latents is that of the prior."""
    return jnp.all(layout.scale[layout.slices()["population"]] == 0.0)


def draw_ratios(key: Key[Array, ""], layout: Layout) -> Float[Array, " psi"]:
    """Prior scales over the default ones: 1, held blocks (0), and others."""
    key_kind, key_block, key_size, key_one, key_small = jax.random.split(key, 5)
    kind = jax.random.uniform(key_kind)
    p_held = jnp.where(kind > 1.0 - P_ALL_HELD, 1.0, P_HELD)
    held = jax.random.uniform(key_block, (len(BLOCKS),)) < p_held
    is_only_held = kind > 1.0 - P_ALL_HELD - P_ONLY_HELD
    span = jnp.log(jnp.asarray([SMALLEST_RATIO, LARGEST_RATIO]))
    size = jax.random.uniform(key_size, (len(BLOCKS),), minval=span[0], maxval=span[1])
    size = jnp.where(is_only_held, 1.0, jnp.exp(size))
    # larger yield factors would leave the emulator
    size = size.at[BLOCKS.index("yields")].min(1.0)
    of_block = jnp.where(held, 0.0, size)
    at = layout.slices()
    ratio = jnp.ones_like(layout.scale)
    for i, name in enumerate(BLOCKS):
        ratio = ratio.at[at[name]].set(of_block[i])
    is_smaller = jax.random.uniform(key_one, ratio.shape) < P_ONE_SMALLER
    small = jax.random.uniform(key_small, ratio.shape)
    small = jnp.where(small < 0.5, 0.0, small)
    ratio = ratio * jnp.where(is_smaller & ~is_only_held, small, 1.0)
    ratio = ratio.at[at["galaxy"]].set(1.0)
    # the ratio of what is always held is 1 (`prior_ratio`)
    return jnp.where((kind < P_USUAL) | (layout.scale == 0.0), 1.0, ratio)


def draw_errors(key: Key[Array, ""], n: int) -> Star:
    """Errors and gaps of the stars of one survey; the values are zeros."""
    keys = jax.random.split(key, 3)
    variance, seen = _draw_variance(keys[0], n), _draw_seen(keys[1], n)
    over_h = jnp.ones(N_READINGS).at[jnp.array([IRON, N_READINGS - 1])].set(0.0)
    over_h = over_h * (jax.random.uniform(keys[2]) < P_OVER_H)
    return Star(
        jnp.zeros_like(seen),
        jnp.where(seen > 0.0, variance, 1.0),
        seen,
        jnp.zeros(n),
        jnp.broadcast_to(over_h, seen.shape),
    )


def _draw_variance(key: Key[Array, ""], n: int) -> Float[Array, "star reading"]:
    key_same, key_element, key_date, key_spread, key_star = jax.random.split(key, 5)
    element = jax.random.uniform(
        key_element, (len(ABUNDANCES),), minval=ERRORS[0], maxval=ERRORS[1]
    )
    is_same = jax.random.uniform(key_same) < P_SAME_ERROR
    element = jnp.where(is_same, element[0], element)
    date = jax.random.uniform(key_date, minval=DATE_ERRORS[0], maxval=DATE_ERRORS[1])
    spread = ERROR_SPREAD * jax.random.uniform(key_spread)
    spread = spread * jax.random.normal(key_star, (n, N_READINGS))
    return (10.0 ** jnp.append(element, date) * jnp.exp(spread)) ** 2


def _draw_seen(key: Key[Array, ""], n: int) -> Float[Array, "star reading"]:
    key_given, key_gap, key_most, key_size, key_star = jax.random.split(key, 5)
    given = _draw_given(key_given)
    is_gappy = jax.random.uniform(key_gap) < P_GAPS
    most = MOST_GAPS * jax.random.uniform(key_most) ** 2  # most tables have few
    gaps = most * jax.random.uniform(key_size, given.shape) * is_gappy
    there = jax.random.uniform(key_star, (n, N_READINGS)) >= gaps
    return (given & there).astype(jnp.float32)


def _draw_given(key: Key[Array, ""]) -> Bool[Array, " reading"]:
    """Which readings a table has: at least one abundance."""
    key_all, key_element, key_few, key_number, key_rank = jax.random.split(key, 5)
    chance = jnp.where(jnp.asarray(SELDOM), P_SELDOM_SEEN, P_SEEN)
    chance = jnp.where(jax.random.uniform(key_all) < P_COMPLETE, 1.0, chance)
    chance = jnp.append(chance, P_DATED)
    given = jax.random.uniform(key_element, chance.shape) < chance
    first = jnp.array([FEW_FIRST.get(a, 0.0) for a in ABUNDANCES])
    score = first + jax.random.gumbel(key_rank, first.shape)
    place = jnp.argsort(jnp.argsort(-score))  # 0: the first one that a table has
    number = jax.random.randint(key_number, (), 1, FEW + 1)
    is_few = jax.random.uniform(key_few) < P_FEW
    is_few = is_few | ~jnp.any(given[:-1])
    return given.at[:-1].set(jnp.where(is_few, place < number, given[:-1]))


def draw_stars(
    key: Key[Array, ""],
    model: Model,
    layout: Layout,
    psi: Float[AnyArray, " psi"],
    like: Star,
    outlier_width: float | Float[AnyArray, ""],
    form: Form | None = None,
) -> tuple[Star, Float[AnyArray, " star"]]:
    """Stars of one galaxy; 0 in the second array for stars that do not count.

    These are outside of the model, or have no abundance.

    Args:
        key: determines their local parameters, scatter and noise, and the outliers.
        model: forward model and prior.
        layout: of psi.
        psi: latents of the shared parameters.
        like: stars whose errors and gaps they have.
        outlier_width: of the outliers' abundances [dex].
        form: of the population; None for the normal distribution of each latent.
    """
    key_local, key_noise, key_out, key_broad = jax.random.split(key, 4)
    shared, n = unpack(psi, layout), len(like.seen)
    if form is None:
        units = jax.random.normal(key_local, (n, N_LOCAL))
    else:
        units = draw_deviates(key_local, form, n)  # key reuse: the other branch
    local = shared.mean + jnp.exp(shared.log_width) * units
    value, bad = readings(like, model, inputs_at(shared, local))
    value = value + jax.vmap(lambda s: offsets(s, shared))(like)
    noise = jax.random.normal(key_noise, value.shape)
    measured = value + jnp.sqrt(noise_variance(like, shared)) * noise
    is_outlier = jax.random.uniform(key_out, (n, 1)) < jnp.exp(shared.log_outliers)
    good = ~bad[:, None]
    middle = jnp.sum(value * good, axis=0) / jnp.maximum(good.sum(), 1)
    broad = jnp.sqrt(like.variance + outlier_width**2)
    broad = middle + broad * jax.random.normal(key_broad, value.shape)
    broad = broad.at[:, -1].set(measured[:, -1])
    measured = like.seen * jnp.where(is_outlier, broad, measured)
    # `infer` leaves out a star without an abundance
    counts = ~bad & jnp.any(like.seen[:, :-1] > 0.0, axis=-1)
    return like._replace(values=measured), counts.astype(jnp.float32)
