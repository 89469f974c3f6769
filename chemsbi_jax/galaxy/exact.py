"""The product of the stars with the network's error removed by importance sampling.

An amortised flow is only roughly right for stars unlike those it was trained on, and N
stars add its errors up. Here each star's marginal likelihood is computed with the
forward model itself, at a few points around the flow's answer; the flow serves as the
proposal for the local parameters, and as the shape between the points.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp, ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.galaxy.likelihood import Observed, log_likelihood
from chemsbi_jax.npe.model import N_LOCAL, Npe, features
from chemsbi_jax.types import Forward

SIDE = 5  # points a side of the design
REACH = 3.0  # half a side, in standard deviations
DEGREE = 3  # of the polynomial that corrects the flow
WIDEN = 1.25  # of the proposal's noise: heavier tails than the flow's
# additive recurrence with the real root of x^5 = x + 1: evenly spread in 4-D
RECURRENCE = [1.1673039782614187 ** -(i + 1) for i in range(N_LOCAL)]
LOW_ESS = 0.05  # share of the draws; below it a star gets more
MORE = 8  # times as many draws for such stars


class Correction(NamedTuple):
    """Log of truth over flow, summed over the stars, around a centre."""

    centre: Float[Array, " 2"]  # latents
    factor: Float[Array, "2 2"]  # lower triangle, whitened units to latents
    coefficients: Float[Array, " term"]


class Evidence(NamedTuple):
    """Marginal likelihood of one star at each point of the design."""

    log_gain: Float[Array, " point"]  # log of the likelihood, less that of the flow
    ess: Float[Array, ""]  # smallest effective sample size, as a share of the draws


def design(centre: Float[Array, " 2"], factor: Float[Array, "2 2"]) -> Array:
    """Points (2, point) around a first guess of the posterior."""
    return centre[:, None] + factor @ _units()


def _units() -> Array:
    side = jnp.linspace(-REACH, REACH, SIDE)
    return jnp.stack(jnp.meshgrid(side, side, indexing="ij")).reshape(2, -1)


def _terms(units: Array) -> Array:
    """Monomials (term, ...) up to DEGREE of whitened coordinates (2, ...)."""
    powers = [(i, j) for i in range(DEGREE + 1) for j in range(DEGREE + 1 - i)]
    return jnp.stack([units[0] ** i * units[1] ** j for i, j in powers])


def fit_correction(
    centre: Array, factor: Array, log_gain: Float[Array, " point"]
) -> Correction:
    """Least-squares polynomial through the summed log gains."""
    units = _units()
    # what lies far out counts little
    weight = jnp.exp(-jnp.sum(units**2, axis=0) / 8.0)
    scaled = (_terms(units) * weight).T
    target = (log_gain - log_gain.mean()) * weight
    return Correction(centre, factor, jnp.linalg.lstsq(scaled, target)[0])


def apply_correction(
    correction: Correction, first: Array, second: Array
) -> Float[Array, "column row"]:
    """The correction on the columns of a grid; constant beyond the design."""
    at = jnp.stack([jnp.broadcast_to(first[:, None], second.shape), second])
    shift = (at - correction.centre[:, None, None]).reshape(2, -1)
    units = jnp.linalg.solve(correction.factor, shift)
    units = jnp.clip(units, -1.5 * REACH, 1.5 * REACH).reshape(at.shape)
    return jnp.tensordot(correction.coefficients, _terms(units), axes=1)


def star_evidence(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    seen: Float[Array, " feature"],
    star: Observed,
    points: Float[Array, "2 point"],
    n_draws: int,
) -> Evidence:
    """Importance sampling over one star's local parameters, at all points at once."""
    n_points = points.shape[1]
    noise = jnp.tile(WIDEN * _quasi_normal(key, n_draws), (1, n_points))
    before = jnp.repeat(points, n_draws, axis=1)
    flow = npe.star_flow.given(seen)
    local = flow.draw(noise, before)
    proposal = flow.log_prob(local, before) + jnp.sum(
        norm.logpdf(noise, scale=WIDEN) - norm.logpdf(noise), axis=0
    )
    theta = priors.from_normal(npe.prior, jnp.concatenate([before, local]).T)
    log_weight = log_likelihood(forward, theta, star) + norm.logpdf(local).sum(axis=0)
    log_weight = (log_weight - proposal).reshape(n_points, n_draws)
    total = logsumexp(log_weight, axis=1)
    ess = jnp.exp(2.0 * total - logsumexp(2.0 * log_weight, axis=1)) / n_draws
    empty = points[:0]
    of_flow = npe.galaxy_flow.given(seen).log_prob(points, empty)
    prior = norm.logpdf(points).sum(axis=0)
    return Evidence(total - jnp.log(n_draws) - (of_flow - prior), ess.min())


@eqx.filter_jit
def all_evidence(key, npe: Npe, forward, observed: Observed, values, points, n_draws):
    """`star_evidence` of every star, one after the other."""
    seen = features(npe, values).T
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(values)))

    def one(star: tuple) -> Evidence:
        key, seen, row = star
        return star_evidence(key, npe, forward, seen, row, points, n_draws)

    return lax.map(one, (keys, seen, observed))


def summed_evidence(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    observed: Observed,
    values: Float[Array, "star element"],
    n_stars: int,
    points: Float[Array, "2 point"],
    n_draws: int,
) -> tuple[Float[np.ndarray, " point"], Float[np.ndarray, " star"]]:
    """Log gains summed over the stars, and each star's effective share of draws.

    Stars whose draws hardly count get more of them, in blocks of one fixed length.
    """
    result = all_evidence(key, npe, forward, observed, values, points, n_draws)
    log_gain = np.array(result.log_gain, float)[:n_stars]
    ess = np.array(result.ess, float)[:n_stars]
    poor = np.flatnonzero(ess < LOW_ESS)
    block = 32
    for start in range(0, len(poor), block):
        rows = poor[start : start + block]
        index = np.resize(rows, block)
        again = all_evidence(
            jax.random.fold_in(key, start + len(values)),
            npe,
            forward,
            jax.tree.map(lambda x, index=index: x[index], observed),
            values[index],
            points,
            MORE * n_draws,
        )
        log_gain[rows] = np.asarray(again.log_gain, float)[: len(rows)]
        ess[rows] = MORE * np.asarray(again.ess, float)[: len(rows)]
    return log_gain.sum(axis=0), ess


def _quasi_normal(key: Key[Array, ""], n: int) -> Float[Array, "local n"]:
    """Evenly spread standard normals: a recurrence with a random start."""
    start = jax.random.uniform(key, (N_LOCAL, 1))
    steps = jnp.asarray(RECURRENCE)[:, None] * jnp.arange(n)
    inside = jnp.clip((start + steps) % 1.0, 1e-6, 1.0 - 1e-6)
    return ndtri(inside)
