"""The galaxy's posterior without the network's error: `exact`.

An amortised flow is only roughly right for stars unlike those it was trained on, and N
stars add its errors up. Here each star's likelihood of the global parameters comes from
the forward model itself, by importance sampling over the star's local parameters with
the flow as the proposal, at a few points around the answer; a polynomial joins them.
Rounds of few draws find the place, the last one has many.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp, ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key
from numpy.polynomial.legendre import legvander2d
from tqdm import tqdm

from chemsbi_jax import priors
from chemsbi_jax.devices import spread
from chemsbi_jax.galaxy.chart import Chart, fit_chart, prior_chart, push
from chemsbi_jax.galaxy.grid import GRID_WIDTH, N_GRID, GridPosterior, grid_moments
from chemsbi_jax.galaxy.likelihood import BAD, Observed, log_likelihood
from chemsbi_jax.npe.model import N_LOCAL, Npe, features
from chemsbi_jax.types import Forward

REACH = 4.0  # half a side of the last design, in standard deviations
SEARCH_REACH = 10.0  # and of the first ones
SIDES = (5, 13)  # points a side of the design: few for many stars, many for few
MAX_DEGREE = 8  # of the polynomial through the points
STAR_POINTS = 6_000  # stars times points that one round may take
SEARCH_DRAWS, DRAWS = 64, 128  # of each star, at each point
VERBOSE = False
MORE = 8  # times as many draws for stars with few effective ones
WIDEN = 1.25  # of the proposal's noise: heavier tails than the flow's
ADAPT_DRAWS, ADAPT_ROUNDS = 512, 6  # for the charts of stars unlike the training
GOOD = 0.4  # share of effective draws with which a star needs no (better) chart
ENOUGH = 60.0  # effective draws that fit a chart
BLOCK = 64  # stars a call
MAX_ROUNDS = 12
# additive recurrence with the real root of x^5 = x + 1: evenly spread in 4-D
RECURRENCE = [1.1673039782614187 ** -(i + 1) for i in range(N_LOCAL)]


class Evidence(NamedTuple):
    """Marginal likelihood of stars at the points of a design."""

    log_likelihood: Float[Array, "*star point"]  # up to a constant of the star
    n_effective: Float[Array, "*star"]  # draws, at the worst point


class Round(NamedTuple):
    """The posterior as one design shows it."""

    grid: GridPosterior
    n_effective: Float[np.ndarray, " star"]
    misfit: float  # rms of the polynomial's error where the posterior is


class Star(NamedTuple):
    """One star, or all of a galaxy, with what proposes its local parameters."""

    key: Key[Array, "*star"]
    seen: Float[Array, "*star feature"]
    observed: Observed
    chart: Chart  # of the flow's noise


def star_weights(
    star: Star, npe: Npe, forward: Forward, points: Float[Array, "2 point"], n: int
) -> tuple[Float[Array, "4 point n"], Float[Array, "point n"]]:
    """Noise of the flow that was proposed at each point, and its log weights.

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
    return noise, gain + norm.logpdf(local).sum(axis=0) - proposal


def star_evidence(
    star: Star, npe: Npe, forward: Forward, points: Float[Array, "2 point"], n: int
) -> Evidence:
    """Importance sampling over one star's local parameters, at all points."""
    log_weight = star_weights(star, npe, forward, points, n)[1]
    total = logsumexp(log_weight, axis=-1) - jnp.log(n)
    return Evidence(total, n_effective(log_weight).min())


def adapt_chart(star: Star, npe: Npe, forward: Forward, point: Array) -> Chart:
    """A chart that follows the star where the flow does not; the identity if it does.

    Each round fits the draws of the one before, as adaptive importance sampling does.
    """

    def weigh(chart: Chart, key) -> tuple[Array, Array]:
        proposed = star._replace(chart=chart, key=key)
        noise, log_weight = star_weights(
            proposed, npe, forward, point[:, None], ADAPT_DRAWS
        )
        return noise[:, 0], log_weight[0]

    def is_poor(state: tuple) -> Array:
        i, _, (_, log_weight) = state
        return (i < ADAPT_ROUNDS) & (n_effective(log_weight) < GOOD * ADAPT_DRAWS)

    def improve(state: tuple) -> tuple:
        i, _, (noise, log_weight) = state
        tempered = temper(log_weight)
        weight = jax.nn.softmax(tempered) * n_effective(tempered)
        chart = fit_chart(jnp.zeros_like(noise[:2]), noise, weight)
        return i + 1, chart, weigh(chart, jax.random.fold_in(star.key, i))

    start = (1, star.chart, weigh(star.chart, star.key))
    return lax.while_loop(is_poor, improve, start)[1]


def temper(log_weight: Float[Array, " draw"]) -> Float[Array, " draw"]:
    """Flatter weights where only a few draws count: enough of them for a fit."""
    powers = jnp.array([1.0, 0.7, 0.5, 0.35, 0.25, 0.15, 0.1, 0.05])
    worth = jax.vmap(lambda p: n_effective(p * log_weight))(powers)
    return powers[jnp.argmax(worth > ENOUGH)] * log_weight


def n_effective(log_weight: Float[Array, "*point draw"]) -> Float[Array, "*point"]:
    """Kish's effective number of draws."""
    twice = logsumexp(2.0 * log_weight, axis=-1)
    return jnp.exp(2.0 * logsumexp(log_weight, axis=-1) - twice)


def _evidence(stars: Star, npe: Npe, forward: Forward, points, n_draws) -> Evidence:
    return lax.map(lambda s: star_evidence(s, npe, forward, points, n_draws), stars)


def _charts(stars: Star, npe: Npe, forward: Forward, point) -> Chart:
    return lax.map(lambda s: adapt_chart(s, npe, forward, point), stars)


# at the first call, as JAX starts with it
_on_all_devices = cache(spread)


def exact_posterior(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    observed: Observed,
    values: Float[Array, "star element"],
    mean: Float[Array, " 2"],
    covariance: Float[Array, "2 2"],
    *,
    quiet: bool = True,
) -> tuple[GridPosterior, dict]:
    """Posterior of the global latents by importance sampling, from a first guess.

    Args:
        key: decides the draws.
        npe: prior, and proposals for the local parameters.
        forward: theta (..., 6) -> abundances [dex].
        observed: what the likelihood needs of the stars.
        values: abundances that the flow sees [dex].
        mean: first guess, in latents.
        covariance: and its width; both may be far off.
        quiet: no progress bar.

    Returns:
        The posterior, and how far it can be trusted: effective draws of the stars, and
        whether the rounds came to rest.
    """
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(values)))
    charts = prior_chart(len(values))
    stars = Star(keys, features(npe, values).T, observed, charts)
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    n_draws, reach, adapts = SEARCH_DRAWS, SEARCH_REACH, True
    for n_rounds in range(1, MAX_ROUNDS + 1):
        factor = np.linalg.cholesky(_not_wider_than_prior(reach**2 * covariance))
        if adapts:
            charts = prior_chart(len(values))
            stars = stars._replace(chart=charts)
            stars = stars._replace(
                chart=in_blocks(_charts, stars, npe, forward, mean, quiet=quiet)
            )
        result = one_round(stars, npe, forward, mean, factor, n_draws, quiet)
        is_at_rest = at_rest(result.grid, mean, factor)
        mean, covariance = (np.asarray(x, float) for x in result.grid[:2])
        if is_at_rest and n_draws == DRAWS:
            break
        adapts = is_at_rest
        n_draws, reach = (DRAWS, REACH) if is_at_rest else (n_draws, reach)
        if VERBOSE:
            print(
                n_rounds,
                n_draws,
                mean,
                np.sqrt(np.diag(covariance)),
                np.quantile(result.n_effective, [0, 0.01, 0.05, 0.5]),
                result.misfit,
            )
    checks = {
        "at_rest": bool(is_at_rest and n_draws == DRAWS),
        "rounds": n_rounds,
        "draws_a_star": n_draws,
        "effective_draws_median": float(np.median(result.n_effective)),
        "effective_draws_p01": float(np.quantile(result.n_effective, 0.01)),
        "polynomial_rms": result.misfit,
    }
    return result.grid, checks


def at_rest(grid: GridPosterior, mean: np.ndarray, factor: np.ndarray) -> bool:
    """Whether the posterior lies well within its design, and fills enough of it."""
    shift = np.linalg.solve(factor, np.asarray(grid.mean, float) - mean)
    spread = np.linalg.solve(factor, np.linalg.cholesky(grid.covariance))
    width = np.linalg.svd(spread, compute_uv=False)
    # a design reaches 4 sigma: a quarter of half a side
    return bool(
        np.abs(shift).max() < 0.25 and width.max() < 0.33 and width.min() > 0.06
    )


def one_round(
    stars: Star, npe: Npe, forward: Forward, mean, factor, n_draws, quiet
) -> Round:
    """Evidence of all stars at a design, and the posterior that it shows."""
    n_stars = len(stars.key)
    side = int(np.clip((STAR_POINTS / n_stars) ** 0.5, *SIDES))
    units = np.linspace(-1.0, 1.0, side)
    units = np.stack(np.meshgrid(units, units, indexing="ij")).reshape(2, -1)
    points = mean[:, None] + factor @ units
    found = in_blocks(_evidence, stars, npe, forward, points, n_draws, quiet=quiet)
    poor = np.flatnonzero(found.n_effective < GOOD * n_draws)
    if len(poor):
        some = jax.tree.map(lambda x: x[poor], stars)
        more = in_blocks(
            _evidence, some, npe, forward, points, MORE * n_draws, quiet=quiet
        )
        found = jax.tree.map(lambda x, y: x.at[poor].set(y), found, more)
    # float64: thousands of stars add up
    total = np.asarray(found.log_likelihood, float).sum(axis=0)
    log_weights, misfit = join_points(units, total, mean, factor)
    grid = _as_grid(log_weights, mean, factor)
    return Round(grid, np.asarray(found.n_effective), misfit)


def in_blocks(function, stars: Star, npe, forward, points, *rest, quiet: bool):
    """Apply a function of stars to blocks of one size, each over all devices."""
    points = jnp.asarray(points, jnp.float32)
    n_stars = len(stars.key)
    size = min(BLOCK, 1 << (n_stars - 1).bit_length())
    parts = []
    for i in tqdm(range(0, n_stars, size), disable=quiet, leave=False):
        rows = np.arange(i, i + size) % n_stars  # the last block wraps around
        block = jax.tree.map(lambda x, rows=rows: x[rows], stars)
        part = _on_all_devices(function)(block, npe, forward, points, *rest)
        parts.append(jax.tree.map(lambda x, i=i: x[: n_stars - i], part))
    return jax.tree.map(lambda *x: jnp.concatenate(x), *parts)


def join_points(
    units: Float[np.ndarray, "2 point"],
    total: Float[np.ndarray, " point"],
    mean: Float[np.ndarray, " 2"],
    factor: Float[np.ndarray, "2 2"],
) -> tuple[Float[np.ndarray, "column row"], float]:
    """Log posterior on the fine grid from its values at the points of the design."""
    degree = min(round(units.shape[1] ** 0.5) - 1, MAX_DEGREE)
    low = np.add.outer(np.arange(degree + 1), np.arange(degree + 1)) <= degree

    def terms(u: np.ndarray) -> np.ndarray:
        return legvander2d(u[0], u[1], [degree, degree])[..., low.ravel()]

    at = mean[:, None] + factor @ units
    log_post = total - 0.5 * (at**2).sum(axis=0)
    log_post = np.where(total < 0.5 * BAD, -np.inf, log_post - log_post.max())
    # what lies far down counts little, but keeps the polynomial from rising there
    weight = np.where(np.isfinite(log_post), np.exp(log_post / 8.0) + 0.02, 0.0)
    target = np.where(np.isfinite(log_post), log_post, 0.0)
    basis = terms(units)
    scaled = basis * weight[:, None]
    coefficients = np.linalg.lstsq(scaled, target * weight, rcond=None)[0]
    error = (basis @ coefficients - target) ** 2
    share = np.where(np.isfinite(log_post), np.exp(log_post), 0.0)
    fine = np.linspace(-1.0, 1.0, N_GRID)
    fine = np.stack(np.meshgrid(fine, fine, indexing="ij"))
    return terms(fine) @ coefficients, float(
        ((error * share).sum() / share.sum()) ** 0.5
    )


def _as_grid(log_weights, mean, factor) -> GridPosterior:
    units = jnp.linspace(-GRID_WIDTH, GRID_WIDTH, N_GRID)
    log_weights = jnp.asarray(log_weights - log_weights.max(), jnp.float32)
    of_grid = factor / GRID_WIDTH
    centre, covariance = (
        np.asarray(x, float) for x in grid_moments(log_weights, units)
    )
    return GridPosterior(
        mean=mean + of_grid @ centre,
        covariance=of_grid @ covariance @ of_grid.T,
        origin=jnp.asarray(mean),
        factor=jnp.asarray(of_grid),
        log_weights=log_weights - logsumexp(log_weights),
    )


def _not_wider_than_prior(covariance: np.ndarray) -> np.ndarray:
    """Far from every star a design would leave the model's range."""
    prior = REACH**2 * np.eye(2)
    return np.linalg.inv(np.linalg.inv(covariance) + np.linalg.inv(prior))


def _quasi_normal(key: Key[Array, ""], n: int) -> Float[Array, "local n"]:
    """Evenly spread standard normals: a recurrence with a random start."""
    start = jax.random.uniform(key, (N_LOCAL, 1))
    steps = jnp.asarray(RECURRENCE)[:, None] * jnp.arange(n)
    inside = jnp.clip((start + steps) % 1.0, 1e-6, 1.0 - 1e-6)
    return ndtri(inside)
