"""Draws of psi with the stars' local parameters integrated out.

Chains of psi alone have Laplace marginal likelihoods of the stars; importance sampling
of the stars then corrects their draws. The widths of the population so never meet the
stars' coordinates, whose funnels keep joint chains from mixing.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from tqdm import tqdm

from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.chains import GOAL, Walk, walk
from chemsbi_jax.galaxy.hierarchical.correct import Correction, correct_draws
from chemsbi_jax.galaxy.hierarchical.follow import BLOCK, SharedDensity, follow
from chemsbi_jax.galaxy.hierarchical.mode import Mode, anchor_stars, find_shared_mode
from chemsbi_jax.galaxy.hierarchical.proposals import Anchor
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star

STEP = 1.3  # times the fourth root of the number of coordinates (Beskos+ 2013)
ROUGH_STEP = 0.8  # of it, before the coordinates have settled
MIN_STEP, MAX_STEP = 0.15, 1.6  # of it
SHRINK = 0.3  # share of the width before in a covariance from few draws
SPREAD = 0.7  # posterior widths of the first places of chains


class Chains(NamedTuple):
    """Numbers of chains and of their draws."""

    n_chains: int = 8
    n_warmup: tuple[int, ...] = (15, 20)  # after each, new coordinates
    n_draws: int = 60
    n_corrected: int = 240  # draws that get weights
    n_star_draws: int = 64  # of each star and draw of psi


class SharedDraws(NamedTuple):
    """Draws of psi, and what they were made with."""

    psi: Float[np.ndarray, "chain draw psi"]  # Laplace
    corrected: Float[np.ndarray, "draw psi"]  # those with weights
    correction: Correction
    accepted: float  # share of steps
    step: float
    mode: Mode


def draw_shared(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    chains: Chains,
    *,
    quiet: bool = True,
) -> SharedDraws:
    """Draws of the shared latents from their marginal posterior.

    Args:
        key: decides everything random.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        chains: their number and length.
        quiet: no progress bar.
    """
    key_start, key_walk, key_correct = jax.random.split(key, 3)
    mode = find_shared_mode(stars, model, layout, quiet=quiet)
    centre, covariance, anchors = mode.psi, mode.covariance, mode.anchors
    step = STEP * len(centre) ** -0.25
    total = sum(chains.n_warmup) + chains.n_draws
    keys = jax.random.split(key_walk, len(chains.n_warmup) + 1)
    shape = chains.n_chains, len(centre)
    at = np.asarray(SPREAD * jax.random.normal(key_start, shape))
    scale = ROUGH_STEP
    density = make_density(stars, anchors, model, layout, centre, covariance)
    with tqdm(total=total, desc="hierarchical", unit="draw", disable=quiet) as bar:
        for i, n in enumerate((*chains.n_warmup, chains.n_draws)):
            found = walk(keys[i], density, at, scale * step, n, bar.update)
            psi, at = to_psi(density, found), found.at
            if i < len(chains.n_warmup):
                scale = _adapt(scale, found)
                centre, covariance = _moments(psi, covariance, layout)
                anchors = anchor_stars(stars, anchors.mode, model, layout, centre)
                density = make_density(
                    stars, anchors, model, layout, centre, covariance
                )
                at = _whiten(density, _one_sign(psi[:, -1], layout))
    flat = psi.reshape(-1, psi.shape[-1])
    rows = np.linspace(0, len(flat) - 1, min(chains.n_corrected, len(flat)))
    some = flat[rows.round().astype(int)]
    correction = correct_draws(
        key_correct, stars, anchors, model, layout, some, chains.n_star_draws
    )
    accepted = float(found.accepted.mean())
    return SharedDraws(psi, some, correction, accepted, scale * step, mode)


def make_density(
    stars: Star, anchors: Anchor, model: Model, layout: Layout, centre, covariance
) -> SharedDensity:
    """The density in coordinates around one psi, at which the anchors are."""
    at = np.asarray(centre, np.float32)
    first = in_blocks(_log_likelihoods, (stars, anchors), model, layout, at)
    n_stars, n_rows = len(stars.values), padded_length(len(stars.values))
    fill = np.arange(n_rows) % n_stars
    counts = np.asarray(np.arange(n_rows) < n_stars, np.float32)

    def blocks(x):
        return np.asarray(x)[fill].reshape(-1, min(BLOCK, n_rows), *x.shape[1:])

    return SharedDensity(
        model,
        layout,
        jax.tree.map(blocks, stars),
        jax.tree.map(blocks, anchors),
        counts.reshape(-1, min(BLOCK, n_rows)),
        blocks(first),
        at,
        np.asarray(np.linalg.cholesky(covariance), np.float32),
    )


def _log_likelihoods(block, model: Model, layout: Layout, psi: Array) -> Array:
    def one(star: Star, anchor: Anchor) -> Array:
        return follow(star, anchor, model, layout, psi).log_likelihood

    return jax.vmap(one)(*block)


def padded_length(n_stars: int) -> int:
    """8, 16, 32, or the next 2^n or 3/2 of it: few sizes to compile for."""
    power = max(8, 1 << (n_stars - 1).bit_length())
    is_less = n_stars <= power * 3 // 4 and power > 2 * BLOCK
    return power * 3 // 4 if is_less else power


def to_psi(density: SharedDensity, found: Walk) -> Float[np.ndarray, "chain draw psi"]:
    """Latents from what chains passed through."""
    factor = np.asarray(density.factor, float)
    return np.asarray(density.centre, float) + found.shared @ factor.T


def _whiten(density: SharedDensity, psi: Float[np.ndarray, "chain psi"]) -> np.ndarray:
    away = psi - np.asarray(density.centre, float)
    factor = np.asarray(density.factor, float)
    return np.linalg.solve(factor, away.T).T.astype(np.float32)


def _adapt(scale: float, found: Walk) -> float:
    """A larger or smaller step, by the share of accepted ones; 1 is for a normal."""
    late = found.accepted[:, found.accepted.shape[1] // 2 :].mean()
    return float(np.clip(scale * np.exp(late - GOAL), MIN_STEP, MAX_STEP))


def _moments(psi: np.ndarray, before: np.ndarray, layout: Layout):
    """Mean and covariance of the later half of all chains, shrunk to what was."""
    late = psi[:, psi.shape[1] // 2 :].reshape(-1, psi.shape[-1])
    late = _one_sign(late, layout)
    return late.mean(axis=0), (1 - SHRINK) * np.cov(late.T) + SHRINK * before


def _one_sign(psi: Float[np.ndarray, "row psi"], layout: Layout) -> np.ndarray:
    """Each scatter by its size: both of its signs are the same model."""
    scatter, psi = layout.slices()["scatter"], psi.copy()
    psi[:, scatter] = np.abs(psi[:, scatter])
    return psi
