"""Proposals for one star's local latents from the forward model alone, without a flow.

The mode comes from damped Gauss-Newton steps, a first normal from the curvature there,
and a triangular chart from a few rounds of weighted draws. A linear response moves the
draws along with the shared parameters, so that the same draws serve a whole posterior.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.chart import Chart, fit_chart, push
from chemsbi_jax.galaxy.evidence import n_effective, temper
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.star import (
    BAD,
    Model,
    Star,
    log_likelihood,
    log_population,
    readings,
)

N_LOCAL = 4
WIDEN = 1.2  # of the proposals' normals: heavier tails than the chart's
N_STEPS = 12  # of Gauss and Newton, damped
MAX_STEP = 1.5  # prior widths
CHART_DRAWS, CHART_ROUNDS = 192, 2
# additive recurrence with the real root of x^5 = x + 1: evenly spread in 4-D
RECURRENCE = [1.1673039782614187 ** -(i + 1) for i in range(N_LOCAL)]
# first places of the search, in widths of the population: its middle and four corners
STARTS = (
    (0.0, 0.0, 0.0, 0.0),
    (1.0, 0.0, -1.0, -1.0),
    (-1.0, 0.0, 1.0, 1.0),
    (1.0, 0.0, 1.0, 1.0),
    (-1.0, 0.0, -1.0, -1.0),
)


class Proposal(NamedTuple):
    """Fixed draws of one star's local latents, and how they follow psi."""

    local: Float[Array, "draw 4"]  # at `psi`
    log_density: Float[Array, " draw"]
    response: Float[Array, "4 psi"]  # d local / d psi
    psi: Float[Array, " psi"]
    mode: Float[Array, " 4"]


class Linear(NamedTuple):
    """The readings at a proposal's draws, to first order in their inputs."""

    value: Float[Array, "draw reading"]
    slope: Float[Array, "draw reading input"]
    bad: Bool[Array, " draw"]  # the model has no star


def inputs_at(
    shared: Shared, local: Float[Array, "*b 4"]
) -> Float[Array, "*b input"]:
    """What the readings depend on: galaxy, local latents, yield factors."""
    shape = local.shape[:-1]
    galaxy = jnp.broadcast_to(shared.galaxy, (*shape, N_GLOBAL))
    factors = jnp.broadcast_to(shared.factors, (*shape, len(shared.factors)))
    return jnp.concatenate([galaxy, local, factors], axis=-1)


def log_weights(
    star: Star,
    shared: Shared,
    local: Float[Array, "draw 4"],
    log_density: Float[Array, " draw"],
    predicted: tuple[Float[Array, "draw reading"], Bool[Array, " draw"]],
) -> Float[Array, " draw"]:
    """Log importance weights of draws: likelihood times population over proposal."""
    value, bad = predicted
    gain = jnp.where(bad, BAD, log_likelihood(star, shared, value))
    return gain + log_population(shared, local) - log_density


def propose(
    key: Key[Array, ""],
    star: Star,
    model: Model,
    layout: Layout,
    psi: Float[Array, " psi"],
    start: Float[Array, " 4"],
    n: int,
) -> Proposal:
    """A proposal of one star around one psi.

    Args:
        key: decides the draws of this star.
        star: readings.
        model: forward model and prior.
        layout: of psi.
        psi: shared latents.
        start: a first guess of the mode beside `STARTS`.
        n: draws.
    """
    shared = unpack(psi, layout)
    mode = find_mode(star, model, shared, start)
    curvature, response = _curvature_and_response(star, model, layout, psi, mode)
    keys = jax.random.split(key, CHART_ROUNDS + 1)

    def improve(chart: Chart, key: Array) -> tuple[Chart, None]:
        return _fit(star, shared, model, *draw_chart(key, chart, CHART_DRAWS)), None

    chart = normal_chart(mode, jnp.linalg.inv(curvature))
    chart, _ = lax.scan(improve, chart, keys[:-1])
    local, log_density = draw_chart(keys[-1], chart, n)
    return Proposal(local, log_density, response, psi, mode)


def normal_chart(
    centre: Float[Array, " 4"], covariance: Float[Array, "4 4"]
) -> Chart:
    """The chart of a multivariate normal."""
    factor = jnp.linalg.cholesky(covariance)
    whiten = jnp.linalg.inv(factor)
    means, slopes = [], []
    for k in range(N_LOCAL):
        before = N_GLOBAL + k
        mean = jnp.zeros(1 + before + before * (before + 1) // 2)
        line = factor[k, :k] @ whiten[:k, :k]
        means.append(mean.at[1 + N_GLOBAL : 1 + before].set(line))
        slopes.append(jnp.zeros(before))
    constant = jnp.log(jnp.diag(factor))
    return Chart(centre, jnp.ones(N_LOCAL), tuple(means), tuple(slopes), constant)


def find_mode(
    star: Star, model: Model, shared: Shared, start: Float[Array, " 4"]
) -> Float[Array, " 4"]:
    """The local latents of largest posterior density, by Levenberg's damped steps."""
    spread = jnp.exp(shared.log_width)
    starts = shared.mean + spread * jnp.asarray(STARTS)
    starts = jnp.concatenate([start[None], starts])

    def residuals(local: Array) -> Array:
        value, bad = readings(model, inputs_at(shared, local))
        return jnp.where(bad, 1e3, _residuals(star, shared, value, local))

    def look(local: Array) -> tuple[Array, Array]:
        slope, rest = jax.jacfwd(lambda x: (residuals(x),) * 2, has_aux=True)(local)
        return rest, slope

    def climb(state: tuple, _) -> tuple:
        local, step, damping, rest, slope = state
        new, steeper = look(local + step)
        is_better = jnp.sum(new**2) < jnp.sum(rest**2)
        local = jnp.where(is_better, local + step, local)
        rest, slope = (
            jnp.where(is_better, x, y) for x, y in ((new, rest), (steeper, slope))
        )
        damping = jnp.clip(damping * jnp.where(is_better, 0.2, 5.0), 1e-4, 1e4)
        normal = slope.T @ slope
        normal = normal + damping * jnp.diag(jnp.diag(normal))
        step = -jnp.linalg.solve(normal, slope.T @ rest)
        step *= jnp.minimum(1.0, MAX_STEP / (jnp.linalg.norm(step) + 1e-9))
        return (local, step, damping, rest, slope), None

    def search(start: Array) -> tuple[Array, Array]:
        n = star.values.shape[-1] + N_LOCAL
        nothing = jnp.full(n, 1e6), jnp.zeros((n, N_LOCAL))
        first = (start, jnp.zeros(N_LOCAL), jnp.asarray(0.5), *nothing)
        (local, _, _, rest, _), _ = lax.scan(climb, first, length=N_STEPS)
        return local, jnp.sum(rest**2)

    found, squares = jax.vmap(search)(starts)
    return found[jnp.argmin(squares)]


def linearise(
    proposal: Proposal, model: Model, layout: Layout
) -> Linear:
    """The readings and their slopes at all draws of one star."""
    inputs = inputs_at(unpack(proposal.psi, layout), proposal.local)
    value, bad = readings(model, inputs)
    slope = jax.vmap(lambda x: _slope(model, x))(inputs)
    slope = jnp.where(bad[:, None, None] | ~jnp.isfinite(slope), 0.0, slope)
    return Linear(value, slope, bad)


def draw_chart(
    key: Key[Array, ""], chart: Chart, n: int
) -> tuple[Float[Array, "n 4"], Float[Array, " n"]]:
    """Evenly spread draws from a chart with widened normals, and their log density."""
    noise = _normal(key, n)
    local, log_det = push(chart, jnp.zeros((N_GLOBAL, n)), WIDEN * noise)
    return local.T, norm.logpdf(noise).sum(axis=0) - log_det


def _fit(star, shared, model, local, log_density) -> Chart:
    predicted = readings(model, inputs_at(shared, local))
    weight = temper(log_weights(star, shared, local, log_density, predicted))
    weight = jax.nn.softmax(weight) * n_effective(weight)
    return fit_chart(jnp.zeros((N_GLOBAL, len(local))), local.T, weight)


def _residuals(star: Star, shared: Shared, value: Array, local: Array) -> Array:
    """Standardised residuals of the readings and of the population."""
    zero = jnp.zeros(1)
    offset = jnp.concatenate([shared.zero_points, zero])
    variance = star.variance + jnp.concatenate([shared.variance, zero])
    rest = jnp.sqrt(star.seen / variance) * (value + offset - star.values)
    units = (local - shared.mean) * jnp.exp(-shared.log_width)
    return jnp.concatenate([rest, units])


def _slope(model: Model, inputs: Float[Array, " input"]) -> Array:
    """Jacobian of the readings, from the side on which it has fewer numbers."""
    n_out = jax.eval_shape(lambda x: readings(model, x)[0], inputs).shape[0]
    jacobian = jax.jacrev if n_out < len(inputs) else jax.jacfwd
    return jacobian(lambda x: readings(model, x)[0])(inputs)


def _curvature_and_response(star, model, layout, psi, mode) -> tuple[Array, Array]:
    """Gauss-Newton curvature of a star's mode, and d mode / d psi."""
    at = inputs_at(unpack(psi, layout), mode)
    value, _ = readings(model, at)
    slope = _slope(model, at)
    slope = jnp.where(jnp.isfinite(slope), slope, 0.0)

    def residuals(psi: Array, local: Array) -> Array:
        shared = unpack(psi, layout)
        moved = value + slope @ (inputs_at(shared, local) - at)
        return _residuals(star, shared, moved, local)

    by_psi, by_local = jax.jacfwd(residuals, argnums=(0, 1))(psi, mode)
    curvature = by_local.T @ by_local
    return curvature, -jnp.linalg.solve(curvature, by_local.T @ by_psi)


def _normal(key: Key[Array, ""], n: int) -> Float[Array, "4 n"]:
    """Evenly spread standard normals: a recurrence with a random start."""
    start = jax.random.uniform(key, (N_LOCAL, 1))
    steps = jnp.asarray(RECURRENCE)[:, None] * jnp.arange(n)
    return ndtri(jnp.clip((start + steps) % 1.0, 1e-6, 1.0 - 1e-6))
