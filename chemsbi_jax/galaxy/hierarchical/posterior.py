"""Draws of psi with the stars' local parameters integrated out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from tqdm import tqdm

from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.chains import GOAL, Walk, walk
from chemsbi_jax.galaxy.hierarchical.density import (
    Density,
    Point,
    add_response,
)
from chemsbi_jax.galaxy.hierarchical.marginal import Marginal, marginals
from chemsbi_jax.galaxy.hierarchical.mode import Mode, anchor_stars, find_shared_mode
from chemsbi_jax.galaxy.hierarchical.proposals import (
    N_LOCAL,
    Anchor,
    Guide,
    find_guide,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star

STEP = 1.3  # times the fourth root of the number of coordinates (Beskos+ 2013)
ROUGH_STEP = 0.6  # of it, before the coordinates have settled
CHECK_DRAWS = 64  # of each star, for its marginal likelihood
SHRINK = 0.1  # share of the width before in a covariance from few draws


class Chains(NamedTuple):
    """Numbers of chains and of their draws."""

    n_chains: int = 16
    n_warmup: tuple[int, ...] = (30, 30, 30)  # after each, new coordinates
    n_draws: int = 120


class SharedDraws(NamedTuple):
    """Draws of psi, and what they were made with."""

    psi: Float[np.ndarray, "chain draw psi"]
    accepted: float  # share of steps
    step: float
    mode: Mode
    stars: Marginal  # of each star, at the posterior's mean


def draw_shared(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    chains: Chains,
    *,
    quiet: bool = True,
) -> SharedDraws:
    """Draws of the shared latents from the joint density of psi and all stars.

    Args:
        key: decides everything random.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        chains: their number and length.
        quiet: no progress bar.
    """
    key_guides, key_start, key_walk, key_check = jax.random.split(key, 4)
    mode = find_shared_mode(stars, model, layout, quiet=quiet)
    n_stars = len(stars.values)
    centre, covariance, local = mode.psi, mode.covariance, mode.anchors.mode
    step = STEP * (len(centre) + N_LOCAL * n_stars) ** -0.25
    total = sum(chains.n_warmup) + chains.n_draws
    keys = jax.random.split(key_walk, len(chains.n_warmup) + 1)
    guide_keys = jax.random.split(key_guides, len(chains.n_warmup) + 1)
    at, scale = None, ROUGH_STEP
    with tqdm(total=total, desc="hierarchical", unit="draw", disable=quiet) as bar:
        for i, n in enumerate((*chains.n_warmup, chains.n_draws)):
            density, local = make_density(
                guide_keys[i], stars, local, model, layout, centre, covariance
            )
            if at is None:
                at = scatter_points(key_start, density, chains.n_chains)
            else:  # the stars start anew at their guides, psi where it is
                at = Point(_whiten(density, psi[:, -1]), at.stars)
            found = walk(keys[i], density, at, scale * step, n, bar.update)
            psi = to_psi(density, found)
            at = found.at
            if i < len(chains.n_warmup):
                scale = _adapt(scale, found)
                centre, covariance = _moments(psi, covariance, layout)
    best = jnp.asarray(psi.reshape(-1, psi.shape[-1]).mean(axis=0), jnp.float32)
    block = (jax.random.split(key_check, n_stars), stars, _rows(density.guide, n_stars))
    check = in_blocks(marginals, block, model, layout, best, CHECK_DRAWS)
    return SharedDraws(psi, float(found.accepted.mean()), scale * step, mode, check)


def make_density(
    key, stars: Star, local, model: Model, layout: Layout, centre, covariance
) -> tuple[Density, Float[np.ndarray, "star 4"]]:
    """The density in coordinates around one psi, and the stars' modes there."""
    anchors = anchor_stars(stars, local, model, layout, centre)
    keys = jax.random.split(key, len(stars.values))
    guides = in_blocks(_guides, (keys, stars, anchors), model, layout)
    n_stars, n_rows = len(stars.values), padded_length(len(stars.values))
    fill = np.arange(n_rows) % n_stars
    stars, guides = (jax.tree.map(lambda x: x[fill], t) for t in (stars, guides))
    density = Density(
        model,
        layout,
        stars,
        guides,
        np.asarray(np.arange(n_rows) < n_stars, np.float32),
        np.asarray(centre, np.float32),
        np.asarray(np.linalg.cholesky(covariance), np.float32),
    )
    return density, anchors.mode


def padded_length(n_stars: int) -> int:
    """The next power of two, or one and a half of it, from 8."""
    power = max(8, 1 << (n_stars - 1).bit_length())
    return power * 3 // 4 if n_stars <= power * 3 // 4 else power


def to_psi(density: Density, found: Walk) -> Float[np.ndarray, "chain draw psi"]:
    """Latents from what chains passed through."""
    factor = np.asarray(density.factor, float)
    return np.asarray(density.centre, float) + found.shared @ factor.T


def _guides(block, model: Model, layout: Layout) -> Guide:
    def one(key: Array, star: Star, anchor: Anchor) -> Guide:
        key_chart, key_response = jax.random.split(key)
        guide = find_guide(key_chart, star, model, layout, anchor)
        return add_response(key_response, star, guide, model, layout)

    return jax.vmap(one)(*block)


def _rows(tree, n: int):
    return jax.tree.map(lambda x: np.asarray(x)[:n], tree)


def scatter_points(key, density: Density, n_chains: int) -> Point:
    """First places of chains, within the width of the normal approximation."""
    key_shared, key_stars = jax.random.split(key)
    n_psi, n_rows = len(density.centre), len(density.counts)
    return Point(
        np.asarray(0.7 * jax.random.normal(key_shared, (n_chains, n_psi))),
        np.asarray(0.7 * jax.random.normal(key_stars, (n_chains, N_LOCAL, n_rows))),
    )


def _whiten(density: Density, psi: Float[np.ndarray, "chain psi"]) -> np.ndarray:
    away = psi - np.asarray(density.centre, float)
    factor = np.asarray(density.factor, float)
    return np.linalg.solve(factor, away.T).T.astype(np.float32)


def _adapt(scale: float, found: Walk) -> float:
    """A larger or smaller step, by the share of accepted ones; 1 is for a normal."""
    late = found.accepted[:, found.accepted.shape[1] // 2 :].mean()
    return float(np.clip(scale * np.exp(late - GOAL), 0.15, 1.5))


def _moments(psi: np.ndarray, before: np.ndarray, layout: Layout):
    """Mean and covariance of the later half of all chains, shrunk to what was.

    The scatter counts by its size, as both of its signs are the same.
    """
    late = psi[:, psi.shape[1] // 2 :].reshape(-1, psi.shape[-1]).copy()
    scatter = layout.slices()["scatter"]
    late[:, scatter] = np.abs(late[:, scatter])
    return late.mean(axis=0), (1 - SHRINK) * np.cov(late.T) + SHRINK * before
