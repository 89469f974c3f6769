"""Marginal likelihood of one star, by importance sampling over its local parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp, ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.galaxy.exact.triangular_map import Chart, fit_chart, push
from chemsbi_jax.galaxy.likelihood import Observed, log_likelihood
from chemsbi_jax.npe.model import N_LOCAL, Npe
from chemsbi_jax.types import Forward

WIDEN = 1.25  # of the proposal's noise: heavier tails than the flow's
ADAPT_DRAWS, ADAPT_ROUNDS = 2048, 12  # for the charts of stars unlike the training
LOT_KEYS = 1000  # beyond those of the rounds that fit a chart
GOOD = 0.4  # share of effective draws with which a star needs no (better) chart
ENOUGH = 0.1  # share of effective draws that fits a chart
# additive recurrence with the real root of x^5 = x + 1: evenly spread in 4-D
RECURRENCE = [1.1673039782614187 ** -(i + 1) for i in range(N_LOCAL)]


class Evidence(NamedTuple):
    """Marginal likelihood of stars at some points of the global parameters."""

    log_likelihood: Float[Array, "*star point"]  # up to a constant of the star
    n_effective: Float[Array, "*star point"]  # draws
    n_draws: Float[Array, "*star"]
    chi2: Float[Array, "*star"]  # of the best draw


class Star(NamedTuple):
    """One star, or all of a galaxy, with what proposes its local parameters."""

    key: Key[Array, "*star"]
    seen: Float[Array, "*star feature"]
    observed: Observed
    chart: Chart  # of the flow's noise


class Draws(NamedTuple):
    """Draws of one star's local parameters at some points."""

    noise: Float[Array, "4 point n"]  # of the flow
    local: Float[Array, "4 point n"]  # latents
    log_weight: Float[Array, "point n"]
    chi2: Float[Array, "point n"]


def draw_weighted(
    star: Star, npe: Npe, forward: Forward, points: Float[Array, "2 point"], n: int
) -> Draws:
    """Weighted draws of the local parameters at each point.

    Standard normals go through the star's chart and then through the flow. The same
    ones serve all points, so that they hardly move one against another.
    """
    before = points[:, :, None].repeat(n, 2)
    normal = WIDEN * _quasi_normal(star.key, n)[:, None].repeat(points.shape[1], 1)
    noise, log_det = push(star.chart, jnp.zeros_like(before), normal)
    local, of_flow = npe.star_flow.given(star.seen).draw_and_log_det(noise, before)
    proposal = norm.logpdf(normal, scale=WIDEN).sum(axis=0) - log_det - of_flow
    latent = jnp.moveaxis(jnp.concatenate([before, local]), 0, -1)
    gain = log_likelihood(forward, priors.from_normal(npe.prior, latent), star.observed)
    log_weight = gain + norm.logpdf(local).sum(axis=0) - proposal
    return Draws(noise, local, log_weight, -2.0 * gain)


def star_evidence(
    star: Star, npe: Npe, forward: Forward, points: Float[Array, "2 point"], n: int
) -> Evidence:
    """Importance sampling over one star's local parameters, at all points."""
    draws = draw_weighted(star, npe, forward, points, n)
    total = logsumexp(draws.log_weight, axis=-1) - jnp.log(n)
    worth = n_effective(draws.log_weight)
    return Evidence(total, worth, jnp.asarray(float(n)), draws.chi2.min())


def more_evidence(
    star: Star, found: Evidence, npe: Npe, forward: Forward, points: Array, lot, n: int
) -> Evidence:
    """Evidence of one star from what was found, and a further lot of draws."""
    key = jax.random.fold_in(star.key, LOT_KEYS + lot.astype(int))
    more = star_evidence(star._replace(key=key), npe, forward, points, n)
    return merge(jax.tree.map(lambda *x: jnp.stack(x), found, more))


def merge(parts: Evidence) -> Evidence:
    """One star's evidence from several lots of draws (first axis)."""
    n = parts.n_draws[:, None]
    sums = parts.log_likelihood + jnp.log(n)
    squares = 2.0 * sums - jnp.log(parts.n_effective)
    total = logsumexp(sums, axis=0)
    worth = jnp.exp(2.0 * total - logsumexp(squares, axis=0))
    return Evidence(
        total - jnp.log(n.sum()), worth, parts.n_draws.sum(), parts.chi2.min()
    )


def local_chart(
    star: Star,
    npe: Npe,
    forward: Forward,
    points: Float[Array, "2 point"],
    units: Float[Array, "2 point"],
    n: int,
) -> Chart:
    """A chart of the local latents themselves, with their response to the galaxy's.

    Args:
        star: with its proposal.
        npe: see `draw_weighted`, as `forward`.
        forward: the model.
        points: global latents.
        units: the same points in the units that the chart shall take.
        n: draws at each point.
    """
    draws = draw_weighted(star, npe, forward, points, n)
    tempered = jax.vmap(temper)(draws.log_weight)
    weight = jax.nn.softmax(tempered) * n_effective(tempered)[:, None]
    galaxy = units[:, :, None].repeat(n, 2).reshape(2, -1)
    return fit_chart(galaxy, draws.local.reshape(N_LOCAL, -1), weight.ravel())


def adapt_chart(star: Star, npe: Npe, forward: Forward, point: Array) -> Chart:
    """A chart that follows the star where the flow does not; the identity if it does.

    Each round draws from the chart of the one before and fits a new one to the weighted
    draws, as adaptive importance sampling does.
    """

    def is_poor(state: tuple) -> Array:
        i, _, good = state
        return (i <= ADAPT_ROUNDS) & ~good

    def improve(state: tuple) -> tuple:
        i, chart, _ = state
        key = jax.random.fold_in(star.key, i)
        proposed = star._replace(chart=chart, key=key)
        draws = draw_weighted(proposed, npe, forward, point[:, None], ADAPT_DRAWS)
        log_weight = draws.log_weight[0]
        good = n_effective(log_weight) >= GOOD * ADAPT_DRAWS
        tempered = temper(log_weight)
        weight = jax.nn.softmax(tempered) * n_effective(tempered)
        nothing = jnp.zeros_like(draws.noise[:2, 0])
        better = fit_chart(nothing, draws.noise[:, 0], weight)
        better = jax.tree.map(lambda x, y: jnp.where(good, x, y), chart, better)
        return i + 1, better, good

    start = (1, star.chart, jnp.asarray(False))
    return lax.while_loop(is_poor, improve, start)[1]


def temper(log_weight: Float[Array, " draw"]) -> Float[Array, " draw"]:
    """Flatter weights where only a few draws count: enough of them for a fit."""
    powers = jnp.array([1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05])
    worth = jax.vmap(lambda p: n_effective(p * log_weight))(powers)
    enough = worth > ENOUGH * len(log_weight)
    enough = enough.at[-1].set(True)  # the flattest, at last
    return powers[jnp.argmax(enough)] * log_weight


def n_effective(log_weight: Float[Array, "*point draw"]) -> Float[Array, "*point"]:
    """Kish's effective number of draws."""
    twice = logsumexp(2.0 * log_weight, axis=-1)
    return jnp.exp(2.0 * logsumexp(log_weight, axis=-1) - twice)


def _quasi_normal(key: Key[Array, ""], n: int) -> Float[Array, "local n"]:
    """Evenly spread standard normals: a recurrence with a random start."""
    start = jax.random.uniform(key, (N_LOCAL, 1))
    steps = jnp.asarray(RECURRENCE)[:, None] * jnp.arange(n)
    inside = jnp.clip((start + steps) % 1.0, 1e-6, 1.0 - 1e-6)
    return ndtri(inside)
