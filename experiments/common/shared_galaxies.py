"""Mock galaxies with shared errors, and draws of their posteriors."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy.hierarchical import SharedErrors, load_shared_network
from chemsbi_jax.galaxy.hierarchical.mock import (
    LIMIT,
    draw_stars,
    is_population_held,
)
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode, start_from
from chemsbi_jax.galaxy.hierarchical.network import (
    SharedNetwork,
    sample,
    summarise,
)
from chemsbi_jax.galaxy.hierarchical.population_form import draw_form
from chemsbi_jax.galaxy.hierarchical.sampling import (
    MOST_STARS,
    by_nuts,
    distance_of_mode,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout, make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import Model, Star, make_stars
from chemsbi_jax.galaxy.hierarchical.trained import prior_ratio
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes

NAMES = psi_names(SHARED_FACTORS)


class Galaxies(NamedTuple):
    """Galaxies (leading axis) and their stars."""

    truth: Float[np.ndarray, "galaxy known"]  # the first latents of psi
    stars: Star  # (galaxy, star)
    counts: Float[np.ndarray, "galaxy star"]  # 0 of a star that does not count
    labels: np.ndarray  # yield set


DEFAULT = SharedErrors()


def default_model(settings: SharedErrors = DEFAULT) -> tuple[Model, Layout]:
    """The forward model of TNG with free yields, and the priors."""
    model = Model(forward_with_slopes(load_yield_emulator()), cs.paper_prior())
    return model, make_layout(settings, SHARED_FACTORS)


def empty_stars(
    n: int,
    error: float,
    abundances: tuple[str, ...] = cs.ABUNDANCES,
    e_birth_time: float | None = None,
) -> cs.Stars:
    """Stars of zeros, with errors of some abundances [dex] and of birth times [Gyr]."""
    unknown, shape = np.full(n, np.nan), (n, len(cs.ABUNDANCES))
    seen = np.broadcast_to(np.isin(cs.ABUNDANCES, abundances), shape)
    return cs.Stars(
        np.zeros(shape),
        np.full(shape, error),
        np.array(seen),
        unknown if e_birth_time is None else np.full(n, 6.0),
        unknown if e_birth_time is None else np.full(n, e_birth_time),
        np.arange(n).astype(str),
    )


def like_stars(stars: cs.Stars) -> Star:
    """What the hierarchical model takes of the errors and gaps of stars."""
    return make_stars(stars, SharedErrors(), cs.paper_prior())


def draw_galaxies(
    key: Key[Array, ""],
    n_galaxies: int,
    like: Star,
    *,
    any_form: bool = False,
    settings: SharedErrors = DEFAULT,
) -> Galaxies:
    """Galaxies whose shared parameters are all drawn from their priors.

    Args:
        key: determines everything random.
        n_galaxies: their number.
        like: errors and gaps of the stars of each.
        any_form: the form of the population is random, too (`draw_form`); else each
            local latent is normal.
        settings: the priors.
    """
    keys = jax.random.split(key, n_galaxies)
    psi, stars, counts = _draw(keys, *default_model(settings), like, any_form)
    return Galaxies(
        np.asarray(psi), stars, np.asarray(counts), np.full(n_galaxies, "tng")
    )


@eqx.filter_jit
def _draw(
    keys: Key[Array, " galaxy"],
    model: Model,
    layout: Layout,
    like: Star,
    any_form: bool,
):
    width = SharedErrors().outlier_width

    def one(key: Array) -> tuple:
        key_psi, key_stars = jax.random.split(key)
        psi = jax.random.normal(key_psi, layout.scale.shape)
        psi = jnp.clip(psi, -LIMIT, LIMIT)
        key_form = jax.random.fold_in(key, 2)  # key reuse: a fold beside its split
        is_held = is_population_held(layout)
        form = draw_form(key_form, is_held) if any_form else None
        return psi, *draw_stars(key_stars, model, layout, psi, like, width, form)

    return jax.lax.map(one, keys)


def draw_posteriors(
    key: Key[Array, ""],
    galaxies: Galaxies,
    n_draws: int,
    settings: SharedErrors = DEFAULT,
) -> Float[np.ndarray, "galaxy draw psi"]:
    """Draws of psi of every galaxy by the network."""
    keys, trained = jax.random.split(key, len(galaxies.counts)), load_shared_network()
    rows = (keys, galaxies.stars, galaxies.counts)
    layout = make_layout(settings, SHARED_FACTORS)
    ratio = prior_ratio(trained, settings, layout, SHARED_FACTORS)
    return np.asarray(_sample(rows, trained.network, ratio, n_draws))


def draw_by_nuts(
    key: Key[Array, ""],
    galaxies: Galaxies,
    by_network: Float[np.ndarray, "galaxy draw psi"],
    quiet: bool,
) -> tuple[Float[np.ndarray, "galaxy draw psi"], list[dict]]:
    """The same by the sampler "nuts" of infer.py, and the checks of each galaxy.

    There is no predictive check. Of more stars, the first `MOST_STARS` are used.

    Args:
        key: determines all random numbers.
        galaxies: with the default priors.
        by_network: draws of the network, for galaxies whose chains do not converge; the
            result has as many.
        quiet: no progress bar.
    """
    model, layout = default_model()
    n_draws = by_network.shape[1]
    draws, checks = [], []
    numbers = tqdm(range(len(galaxies.counts)), desc="galaxies", disable=quiet)
    for i, key_galaxy in zip(numbers, jax.random.split(key, len(numbers)), strict=True):
        key_mode, key_nuts = jax.random.split(key_galaxy)
        latents = by_network[i]
        task = born_stars(galaxies, i), model, layout
        power = SharedErrors().likelihood_power(len(task[0].values))
        mode = find_shared_mode(key_mode, *task, *start_from(latents), power=power)
        distance = distance_of_mode(latents, mode)
        latents, nuts = by_nuts(key_nuts, *task, latents, mode, power=power)
        rows = np.linspace(0, len(latents) - 1, n_draws).round().astype(int)
        draws.append(latents[rows])
        checks.append({"mode_distance": distance} | nuts)
    return np.array(draws), checks


def born_stars(galaxies: Galaxies, i: int) -> Star:
    """Stars of one galaxy, for NUTS, without those that the model does not have."""
    rows = np.flatnonzero(galaxies.counts[i] > 0.0)[:MOST_STARS]
    return jax.tree.map(lambda x: np.asarray(x[i])[rows], galaxies.stars)


@eqx.filter_jit
def _sample(rows: tuple, network: SharedNetwork, ratio: np.ndarray, n_draws: int):
    def one(row: tuple) -> Array:
        summary = summarise(network, *row[1:])
        return sample(row[0], network, summary, ratio, n_draws)

    return jax.lax.map(one, rows)
