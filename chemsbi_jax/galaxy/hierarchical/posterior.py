"""Draws of psi with the stars' local parameters integrated out.

Chains of psi alone have Laplace marginal likelihoods of the stars, from an expansion of
their readings. Importance sampling of the stars with the forward model tilts this
density, and at last gives the draws weights. The widths of the population so never meet
the stars' coordinates, whose funnels keep joint chains from mixing.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from tqdm import tqdm

from chemsbi_jax.galaxy.hierarchical.chains import CHUNK, GOAL, Walk, walk
from chemsbi_jax.galaxy.hierarchical.correct import (
    Correction,
    Warp,
    correct_draws,
    make_warp,
)
from chemsbi_jax.galaxy.hierarchical.mode import Mode, expand_at, find_shared_mode
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.shared_density import (
    SharedDensity,
    laplace_sums,
    last_axis,
    make_density,
    to_psi,
)
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.tilt import fit_tilt

STEP = 0.4  # of the leapfrog, in widths, to begin with
MIN_STEP, MAX_STEP = 0.05, 1.0
GAIN = 0.7  # of the logarithm of the step by the share of accepted steps
PRIOR_DRAWS = 60.0  # draws that the curvature at the mode is worth in a covariance
DRAWS_PER_STEP = 0.25  # effective draws of a step of a chain that is not yet settled
SPREAD = 0.5  # posterior widths of the first places of chains
NEAR = 1.5  # times the typical distance of a draw: farther ones fit no tilt
SMALL = 1.3  # nats: log weights that vary less need no better tilt
LEAST = 0.5  # of all draws, the nearest ones, that fit a tilt in any case


class Chains(NamedTuple):
    """Numbers of chains and of their draws."""

    n_chains: int = 8
    n_warmup: tuple[int, ...] = (40, 80)  # after each, a new expansion
    n_tilted: tuple[int, ...] = (80,) * 5  # at most; after each, a new tilt
    n_sampled: int = 256  # draws that each tilt adds to those it is fitted to
    n_draws: int = 200
    n_corrected: int = 960  # draws that get weights
    n_star_draws: int = 48  # of each star and draw of psi


class SharedDraws(NamedTuple):
    """Draws of psi, and what they were made with."""

    psi: Float[np.ndarray, "chain draw psi"]  # Laplace, tilted
    corrected: Float[np.ndarray, "draw psi"]  # those with weights
    correction: Correction
    accepted: float  # share of steps
    step: float
    mode: Mode


class _Galaxy(NamedTuple):
    """What does not change between the rounds."""

    stars: Star
    rows: Star  # the same along the last axis
    model: Model
    layout: Layout
    at_mode: Float[np.ndarray, "psi psi"]


class _State(NamedTuple):
    """Where the chains are, and the density they walk on."""

    density: SharedDensity
    local: Float[np.ndarray, "star 4"]
    at: Float[np.ndarray, "chain psi"]
    step: float


class _Sampled(NamedTuple):
    """Draws of psi with the sampled log likelihood of all stars."""

    psi: Float[np.ndarray, "draw psi"]
    value: Float[np.ndarray, " draw"]
    raw_sd: float  # of the log weights of the last ones


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
        key: determines everything random.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        chains: their number and length.
        quiet: no progress bar.
    """
    key_start, key_walk, key_warp, key_tilt, key_last = jax.random.split(key, 5)
    mode = find_shared_mode(stars, model, layout, quiet=quiet)
    galaxy = _Galaxy(stars, last_axis(stars), model, layout, mode.covariance)
    state = _first_state(key_start, galaxy, mode, chains.n_chains)
    total = sum((*chains.n_warmup, *chains.n_tilted)) + chains.n_draws
    with tqdm(total=total, desc="hierarchical", unit="draw", disable=quiet) as bar:
        state = _warm_up(key_walk, galaxy, state, chains.n_warmup, bar)
        warp = make_warp(
            key_warp,
            stars,
            state.local,
            model,
            layout,
            to_psi(state.density, state.at).mean(axis=0),
            chains.n_star_draws,
        )
        state = _tilt(key_tilt, galaxy, state, warp, chains, bar)
        at, step, n = state.at, state.step, chains.n_draws
        found, _ = go(key_last, state.density, at, step, n, bar.update, True)
    psi = to_psi(state.density, found.shared)
    some = evenly(psi.reshape(-1, psi.shape[-1]), chains.n_corrected)
    with tqdm(total=len(some), desc="weights", unit="draw", disable=quiet) as bar:
        correction = correct_draws(state.density, model, some, warp, bar.update)
    accepted = float(found.accepted.mean())
    return SharedDraws(psi, some, correction, accepted, step, mode)


def _warm_up(key, galaxy: _Galaxy, state: _State, rounds, bar: tqdm) -> _State:
    """Chains, and after each round a new expansion."""
    for key_round, n in zip(jax.random.split(key, len(rounds)), rounds, strict=True):
        at, step = state.at, state.step
        found, step = go(key_round, state.density, at, step, n, bar.update)
        psi = to_psi(state.density, found.shared)
        state = _next_state(galaxy, state, psi, step, None)
    return state


def _tilt(
    key, galaxy: _Galaxy, state: _State, warp: Warp, chains: Chains, bar: tqdm
) -> _State:
    """Rounds with sampled likelihoods, until the log weights hardly vary."""
    rounds, sampled = chains.n_tilted, None
    for key_round, n in zip(jax.random.split(key, len(rounds)), rounds, strict=True):
        at, step = state.at, state.step
        found, step = go(key_round, state.density, at, step, n, bar.update)
        psi = to_psi(state.density, found.shared)
        density = state.density
        sampled = _sample(sampled, density, galaxy.model, psi, warp, chains.n_sampled)
        state = _next_state(galaxy, state, psi, step, sampled)
        if sampled.raw_sd < SMALL:
            break
    return state


def _first_state(key, galaxy: _Galaxy, mode: Mode, n_chains: int) -> _State:
    density = make_density(
        galaxy.rows,
        mode.expansion,
        galaxy.layout,
        mode.psi,
        mode.covariance,
        len(galaxy.stars.values),
    )
    at = SPREAD * jax.random.normal(key, (n_chains, len(mode.psi)))
    return _State(density, mode.local, np.asarray(at), STEP)


def _sample(
    before: _Sampled | None,
    density: SharedDensity,
    model: Model,
    psi,
    warp: Warp,
    n: int,
) -> _Sampled:
    """Sampled log likelihoods at some draws of the chains, after those of before."""
    some = evenly(psi.reshape(-1, psi.shape[-1]), n)
    found = correct_draws(density, model, some, warp)
    raw_sd = float(found.raw.std())
    if before is None:
        return _Sampled(some, found.log_likelihood, raw_sd)
    return _Sampled(
        np.concatenate([before.psi, some]),
        np.concatenate([before.value, found.log_likelihood]),
        raw_sd,
    )


def _next_state(
    galaxy: _Galaxy, state: _State, psi, step: float, sampled: _Sampled | None
) -> _State:
    """The density around the later draws, with their expansion and tilt."""
    centre, covariance = _moments(psi, galaxy.at_mode)
    local, expansion = expand_at(
        galaxy.stars, state.local, galaxy.model, galaxy.layout, centre, covariance
    )
    n_stars = len(galaxy.stars.values)
    shape = galaxy.rows, expansion, galaxy.layout, centre, covariance, n_stars
    density = make_density(*shape)
    if sampled is not None:
        away = np.linalg.solve(np.linalg.cholesky(covariance), (sampled.psi - centre).T)
        distance = np.sqrt((away**2).mean(axis=0))
        is_near = distance <= max(NEAR, float(np.quantile(distance, LEAST)))
        near, value = sampled.psi[is_near], sampled.value[is_near]
        tilt, _ = fit_tilt(near, value - laplace_sums(density, near))
        density = make_density(*shape, tilt)
    return _State(density, local, _whiten(density, psi[:, -1]), step)


def go(
    key, density: SharedDensity, at, step: float, n: int, advance, is_last: bool = False
) -> tuple[Walk, float]:
    """The next `n` draws; the step adapts to the share of accepted ones unless last."""
    size = n if is_last else CHUNK
    parts = []
    for key_part in jax.random.split(key, n // size):
        found = walk(key_part, density, at, step, size, advance)
        at, late = found.at, float(found.accepted.mean())
        if not is_last:
            step = float(
                np.clip(step * np.exp(GAIN * (late - GOAL)), MIN_STEP, MAX_STEP)
            )
        parts.append(found)
    shared, accepted = (
        np.concatenate([getattr(p, k) for p in parts], axis=1)
        for k in ("shared", "accepted")
    )
    return Walk(at, shared, accepted), step


def evenly(rows: Float[np.ndarray, "row psi"], n: int) -> Float[np.ndarray, "draw psi"]:
    """At most `n` rows, evenly spread."""
    picked = np.linspace(0, len(rows) - 1, min(n, len(rows)))
    return rows[picked.round().astype(int)]


def _whiten(density: SharedDensity, psi: Float[np.ndarray, "chain psi"]) -> np.ndarray:
    away = psi - np.asarray(density.centre, float)
    factor = np.asarray(density.factor, float)
    return np.linalg.solve(factor, away.T).T.astype(np.float32)


def _moments(psi: Float[np.ndarray, "chain draw psi"], at_mode: np.ndarray):
    """Mean and covariance of the later draws, with the curvature at the mode."""
    late = psi[:, psi.shape[1] // 3 :].reshape(-1, psi.shape[-1])
    n = DRAWS_PER_STEP * len(late)
    covariance = n * np.cov(late.T) + PRIOR_DRAWS * at_mode
    return late.mean(axis=0), covariance / (n + PRIOR_DRAWS)
