"""Marginal likelihood of each star with the forward model itself.

An amortised flow is only roughly right for stars unlike those it was trained on, and N
stars add its errors up. Importance sampling over a star's local parameters, with the
flow as the proposal, gives its likelihood of the global ones without that error.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
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
WIDEN = 1.25  # of the proposal's noise: heavier tails than the flow's
# additive recurrence with the real root of x^5 = x + 1: evenly spread in 4-D
RECURRENCE = [1.1673039782614187 ** -(i + 1) for i in range(N_LOCAL)]


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


def _quasi_normal(key: Key[Array, ""], n: int) -> Float[Array, "local n"]:
    """Evenly spread standard normals: a recurrence with a random start."""
    start = jax.random.uniform(key, (N_LOCAL, 1))
    steps = jnp.asarray(RECURRENCE)[:, None] * jnp.arange(n)
    inside = jnp.clip((start + steps) % 1.0, 1e-6, 1.0 - 1e-6)
    return ndtri(inside)
