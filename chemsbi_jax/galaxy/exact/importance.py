"""Marginal likelihood of one star, by importance sampling over its local parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp, ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Key, UInt32

from chemsbi_jax import priors
from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.galaxy.exact.shear import Shear, fit_shear, no_shear, shift
from chemsbi_jax.galaxy.exact.triangular_map import (
    Chart,
    fit_chart,
    prior_chart,
    transform,
)
from chemsbi_jax.galaxy.likelihood import Observed, log_likelihood, standardised
from chemsbi_jax.npe.model import N_LOCAL, Npe
from chemsbi_jax.types import AnyArray, Forward

PROPOSAL_WIDENING = 1.25  # of the proposal's noise: heavier tails than the flow's
# draws in each of at most so many rounds that fit a star's map
ADAPTATION_DRAWS, MAX_ADAPTATION_ROUNDS = 2048, 12
SHEAR_DRAWS = 128  # at which the motion of a map is averaged
GOOD_SHARE = 0.4  # share of effective draws above which a star needs no (better) map
MIN_FIT_SHARE = 0.1  # share of effective draws that is enough to fit a map
TEMPERATURES = (1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05)  # powers of the weights
# additive recurrence with the real root of x^5 = x + 1: evenly spread in 4-D
RECURRENCE = [1.1673039782614187 ** -(i + 1) for i in range(N_LOCAL)]


class Evidence(NamedTuple):
    """Marginal likelihood of stars at some points of the global parameters."""

    log_likelihood: Float[AnyArray, "*star point"]  # up to a star's constant
    n_effective: Float[AnyArray, "*star point"]  # draws
    n_draws: Float[AnyArray, "*star"]
    chi2: Float[AnyArray, "*star"]  # of the best draw


class StarKeys(NamedTuple):
    """Random keys of one star, each with one use."""

    design: Key[Array, ""]  # draws at the points of every design
    adaptation: Key[Array, ""]  # rounds that fit the star's map
    extra: Key[Array, ""]  # further batches of draws


class Star(NamedTuple):
    """One star, or all of a galaxy, with the proposal of its local parameters."""

    key_data: UInt32[AnyArray, "*star 3 word"]  # of its `StarKeys`
    seen: Float[AnyArray, "*star feature"]
    observed: Observed
    chart: Chart  # of the flow's noise
    shear: Shear  # of what the chart gives
    is_blind: Bool[AnyArray, "*star"]  # True: the noise is the local latents themselves

    def keys(self) -> StarKeys:
        """The keys of one star; stored as numbers, which numpy can take rows of."""
        return StarKeys(*jax.random.wrap_key_data(jnp.asarray(self.key_data)))


class Draws(NamedTuple):
    """Draws of one star's local parameters at some points."""

    noise: Float[Array, "4 point n"]  # of the flow
    local: Float[Array, "4 point n"]  # latents
    log_weight: Float[Array, "point n"]
    chi2: Float[Array, "point n"]


def new_stars(
    key_data: UInt32[np.ndarray, "star 3 word"],
    seen: Float[AnyArray, "star feature"],
    observed: Observed,
) -> Star:
    """Stars whose proposals are those of the network, without maps."""
    n = len(seen)
    is_blind = np.zeros(n, bool)
    return Star(key_data, seen, observed, prior_chart(n), no_shear(n), is_blind)


def keys_of_stars(key: Key[Array, ""], n_stars: int) -> UInt32[np.ndarray, "star 3 w"]:
    """Raw data of the keys of all stars; a longer table does not change the first."""
    # a few fixed lengths, so that little is compiled for a number of stars
    length = 64 * 2 ** max(0, (n_stars - 1).bit_length() - 6)
    return np.asarray(_keys_of_stars(key, length))[:n_stars]


def _split_keys(key: Key[Array, ""], n: int) -> UInt32[Array, "n 3 word"]:
    each = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n))
    parts = jax.vmap(lambda k: jax.random.split(k, len(StarKeys._fields)))(each)
    return jax.random.key_data(parts)


_keys_of_stars = quick_jit(_split_keys)


def draw_weighted(
    key: Key[Array, ""],
    star: Star,
    npe: Npe,
    forward: Forward,
    points: Float[Array, "2 point"],
    n: int,
) -> Draws:
    """Weighted draws of one star's local parameters at each point.

    Standard normals go through the star's map, which moves with the point, and then
    through the flow, but for stars with proposals from the prior. All points share the
    same normals, so that most of their noise cancels between points.
    """
    before = points[:, :, None].repeat(n, 2)
    normal = _quasi_normal(key, n)[:, None].repeat(points.shape[1], 1)
    normal = PROPOSAL_WIDENING * normal
    noise, log_det = transform(star.chart, jnp.zeros_like(before), normal)
    noise = noise + shift(star.shear, points)[:, :, None]
    flow = npe.star_flow.given(jnp.asarray(star.seen))
    local, of_flow = flow.draw_and_log_det(noise, before)
    local = jnp.where(star.is_blind, noise, local)
    of_flow = jnp.where(star.is_blind, 0.0, of_flow)
    log_normal = norm.logpdf(normal, scale=PROPOSAL_WIDENING).sum(axis=0)
    proposal = log_normal - log_det - of_flow
    latent = jnp.moveaxis(jnp.concatenate([before, local]), 0, -1)
    gain = log_likelihood(forward, priors.from_normal(npe.prior, latent), star.observed)
    log_weight = gain + norm.logpdf(local).sum(axis=0) - proposal
    return Draws(noise, local, log_weight, -2.0 * gain)


def star_evidence(
    key: Key[Array, ""],
    star: Star,
    npe: Npe,
    forward: Forward,
    points: Float[Array, "2 point"],
    n: int,
) -> Evidence:
    """Importance sampling over one star's local parameters, at all points."""
    draws = draw_weighted(key, star, npe, forward, points, n)
    total = logsumexp(draws.log_weight, axis=-1) - jnp.log(n)
    effective = n_effective(draws.log_weight)
    return Evidence(total, effective, jnp.asarray(n, total.dtype), draws.chi2.min())


def merge(batches: Evidence) -> Evidence:
    """Combine batches of draws of the same stars; batches along the first axis."""
    parts = Evidence(*(np.asarray(x, float) for x in batches))
    n = parts.n_draws[..., None]
    sums = parts.log_likelihood + np.log(n)
    squares = 2.0 * sums - np.log(parts.n_effective)
    with np.errstate(invalid="ignore"):  # NaN of a star without a proposal stays NaN
        total = np.logaddexp.reduce(sums, axis=0)
        effective = np.exp(2.0 * total - np.logaddexp.reduce(squares, axis=0))
    n_draws = parts.n_draws.sum(axis=0)
    mean = total - np.log(n_draws)[..., None]
    return Evidence(mean, effective, n_draws, parts.chi2.min(axis=0))


def local_chart(
    star: Star,
    npe: Npe,
    forward: Forward,
    points: Float[Array, "2 point"],
    units: Float[Array, "2 point"],
    n: int,
) -> Chart:
    """A map of the local latents themselves, with their response to the global ones.

    Args:
        star: with its proposal.
        npe: see `draw_weighted`, as `forward`.
        forward: the model.
        points: global latents.
        units: the same points in the units of the map.
        n: draws at each point.
    """
    draws = draw_weighted(star.keys().design, star, npe, forward, points, n)
    tempered = jax.vmap(temper)(draws.log_weight)
    weight = jax.nn.softmax(tempered) * n_effective(tempered)[:, None]
    galaxy = units[:, :, None].repeat(n, 2).reshape(2, -1)
    return fit_chart(galaxy, draws.local.reshape(N_LOCAL, -1), weight.ravel())


def adapt_chart(
    star: Star, npe: Npe, forward: Forward, point: Float[Array, " 2"]
) -> Chart:
    """A better map for a star whose proposals are poor, else its present one.

    Each round draws from the map of the round before and fits a new one to the weighted
    draws: adaptive importance sampling.
    """
    key = star.keys().adaptation

    def is_poor(state: tuple) -> Array:
        i, _, good = state
        return (i <= MAX_ADAPTATION_ROUNDS) & ~good

    def improve(state: tuple) -> tuple:
        i, chart, _ = state
        proposed = star._replace(chart=chart)
        round_key = jax.random.fold_in(key, i)
        draws = draw_weighted(
            round_key, proposed, npe, forward, point[:, None], ADAPTATION_DRAWS
        )
        log_weight = draws.log_weight[0]
        good = n_effective(log_weight) >= GOOD_SHARE * ADAPTATION_DRAWS
        tempered = temper(log_weight)
        weight = jax.nn.softmax(tempered) * n_effective(tempered)
        nothing = jnp.zeros_like(draws.noise[:2, 0])
        better = fit_chart(nothing, draws.noise[:, 0], weight)
        better = jax.tree.map(lambda x, y: jnp.where(good, x, y), chart, better)
        return i + 1, better, good

    start = (1, star.chart, jnp.asarray(False))
    return lax.while_loop(is_poor, improve, start)[1]


def star_shear(
    star: Star, npe: Npe, forward: Forward, point: Float[Array, " 2"]
) -> Shear:
    """Motion of a star's map with the global latents, from where the map was fitted."""
    flow = npe.star_flow.given(jnp.asarray(star.seen))

    def residuals(galaxy: Array, noise: Array) -> Array:
        local = jnp.where(star.is_blind, noise, flow.draw(noise, galaxy))
        theta = priors.from_normal(npe.prior, jnp.concatenate([galaxy, local]))
        return jnp.concatenate([standardised(forward, theta, star.observed), local])

    # the rounds of the adaptation have used the indices before
    key = jax.random.fold_in(star.keys().adaptation, MAX_ADAPTATION_ROUNDS + 1)
    draws = draw_weighted(key, star, npe, forward, point[:, None], SHEAR_DRAWS)
    weight = jax.nn.softmax(draws.log_weight[0])
    return fit_shear(residuals, point, draws.noise[:, 0], weight)


def temper(log_weight: Float[Array, " draw"]) -> Float[Array, " draw"]:
    """Flatter weights where few draws are effective: enough of them for a fit."""
    powers = jnp.array(TEMPERATURES)
    effective = jax.vmap(lambda p: n_effective(p * log_weight))(powers)
    enough = effective > MIN_FIT_SHARE * len(log_weight)
    enough = enough.at[-1].set(True)  # the flattest, if none is flat enough
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
