"""The joint density of one galaxy: guides of all stars, and first places of chains."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.density import Density, Point, add_response
from chemsbi_jax.galaxy.hierarchical.proposals import (
    N_LOCAL,
    Anchor,
    Guide,
    find_anchor,
    find_guide,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star


def make_density(
    key: Key[Array, ""],
    stars: Star,
    local: Float[np.ndarray, "star 4"],
    model: Model,
    layout: Layout,
    centre: Float[np.ndarray, " psi"],
    covariance: Float[np.ndarray, "psi psi"],
) -> Density:
    """The joint density in coordinates around one psi.

    Args:
        key: of the draws that the guides are fitted to.
        stars: `make_stars`.
        local: first guesses of the stars' modes.
        model: forward model and prior.
        layout: of psi.
        centre: psi of the guides.
        covariance: whitens psi.
    """
    anchors = anchor_stars(stars, local, model, layout, centre)
    keys = jax.random.split(key, len(stars.values))
    guides = in_blocks(_guides, (keys, stars, anchors), model, layout)
    return Density(
        model,
        layout,
        stars,
        guides,
        np.ones(len(stars.values), np.float32),
        np.asarray(centre, np.float32),
        np.asarray(np.linalg.cholesky(covariance), np.float32),
    )


def anchor_stars(
    stars: Star, local: Float[np.ndarray, "star 4"], model: Model, layout: Layout, psi
) -> Anchor:
    """Modes of all stars at one psi."""
    at = jnp.asarray(psi, jnp.float32)
    return in_blocks(_anchors, (stars, local), model, layout, at)


def _anchors(block, model: Model, layout: Layout, psi: Array) -> Anchor:
    return jax.vmap(lambda s, x: find_anchor(s, model, layout, psi, x))(*block)


def _guides(block, model: Model, layout: Layout) -> Guide:
    def one(key: Array, star: Star, anchor: Anchor) -> Guide:
        key_chart, key_response = jax.random.split(key)
        guide = find_guide(key_chart, star, model, layout, anchor)
        return add_response(key_response, star, guide, model, layout)

    return jax.vmap(one)(*block)


def scatter_points(key, density: Density, n_chains: int) -> Point:
    """First places of chains, within the width of the normal approximation."""
    key_shared, key_stars = jax.random.split(key)
    n_psi, n_rows = len(density.centre), len(density.counts)
    return Point(
        np.asarray(0.7 * jax.random.normal(key_shared, (n_chains, n_psi))),
        np.asarray(0.7 * jax.random.normal(key_stars, (n_chains, N_LOCAL, n_rows))),
    )
