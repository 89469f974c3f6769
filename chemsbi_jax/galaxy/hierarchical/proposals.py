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
LOCAL = slice(N_GLOBAL, N_GLOBAL + N_LOCAL)  # of the inputs
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
    """Fixed draws of one star's local latents, and what moves them with psi."""

    noise: Float[Array, "draw 4"]  # in units of the star's normal approximation
    log_density: Float[Array, " draw"]  # of the noise
    psi: Float[Array, " psi"]  # where all of this was made
    mode: Float[Array, " 4"]
    value: Float[Array, " reading"]  # at the mode
    slope: Float[Array, "reading input"]  # at the mode
    shift: Float[Array, " 4"]  # Gauss-Newton step that is left at the mode


class Linear(NamedTuple):
    """The readings at a proposal's draws, to first order in their inputs."""

    inputs: Float[Array, "draw input"]
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
    at = inputs_at(shared, mode)
    value, bad = readings(model, at)
    slope = jnp.where(bad, 0.0, _slope(model, at))
    nothing = jnp.zeros(N_LOCAL)
    here = Proposal(nothing[None], nothing[:1], psi, mode, value, slope, nothing)
    root, step = _normal_approximation(star, here, layout, psi)
    inverse = jnp.linalg.inv(root)
    chart = normal_chart(mode, inverse.T @ inverse)
    keys = jax.random.split(key, CHART_ROUNDS + 1)

    def improve(chart: Chart, key: Array) -> tuple[Chart, None]:
        return _fit(star, shared, model, *draw_chart(key, chart, CHART_DRAWS)), None

    chart, _ = lax.scan(improve, chart, keys[:-1])
    local, log_density = draw_chart(keys[-1], chart, n)
    volume = jnp.sum(jnp.log(jnp.diag(root)))
    noise = (local - mode) @ root
    return here._replace(noise=noise, log_density=log_density - volume, shift=step)


def move(
    star: Star, proposal: Proposal, layout: Layout, psi: Float[Array, " psi"]
) -> tuple[Float[Array, "draw 4"], Float[Array, " draw"]]:
    """The draws of one star at another psi, and their log density.

    The normal approximation of the star's posterior, in closed form as the readings
    are linear around its mode, carries the draws along: its mode moves them, and its
    width stretches them.
    """
    root, step = _normal_approximation(star, proposal, layout, psi)
    centre = proposal.mode + step - proposal.shift
    local = centre + _solve_upper(root, proposal.noise)
    return local, proposal.log_density + jnp.sum(jnp.log(jnp.diag(root)))


def _normal_approximation(
    star: Star, proposal: Proposal, layout: Layout, psi: Array
) -> tuple[Float[Array, "4 4"], Float[Array, " 4"]]:
    """Cholesky factor of the curvature, and the Gauss-Newton step from the mode."""
    shared, before = unpack(psi, layout), unpack(proposal.psi, layout)
    moved = inputs_at(shared, proposal.mode) - inputs_at(before, proposal.mode)
    zero = jnp.zeros(1)
    offset = jnp.concatenate([shared.zero_points, zero])
    variance = star.variance + jnp.concatenate([shared.variance, zero])
    rest = proposal.value + proposal.slope @ moved + offset - star.values
    weighted = (star.seen / variance)[:, None] * proposal.slope[:, LOCAL]
    of_population = jnp.exp(-2.0 * shared.log_width)
    curvature = weighted.T @ proposal.slope[:, LOCAL] + jnp.diag(of_population)
    slope = weighted.T @ rest + of_population * (proposal.mode - shared.mean)
    root = _cholesky(curvature)
    return root, -_solve_upper(root, _solve_lower(root, slope))


def _cholesky(matrix: Float[Array, "4 4"]) -> Float[Array, "4 4"]:
    """Written out: a library call for each star and psi takes longer than its work."""
    rows: list[list[Array]] = []
    for i in range(N_LOCAL):
        row: list[Array] = []
        for j in range(i + 1):
            other = row if i == j else rows[j]
            rest = matrix[i, j] - sum(row[k] * other[k] for k in range(j))
            row.append(jnp.sqrt(rest) if i == j else rest / rows[j][j])
        rows.append(row)
    zero = jnp.zeros_like(matrix[0, 0])
    return jnp.stack([jnp.stack(r + [zero] * (N_LOCAL - len(r))) for r in rows])


def _solve_lower(root: Array, right: Float[Array, "*b 4"]) -> Float[Array, "*b 4"]:
    """x with root x = right."""
    x: list[Array] = []
    for i in range(N_LOCAL):
        rest = right[..., i] - sum(root[i, k] * x[k] for k in range(i))
        x.append(rest / root[i, i])
    return jnp.stack(x, axis=-1)


def _solve_upper(root: Array, right: Float[Array, "*b 4"]) -> Float[Array, "*b 4"]:
    """x with root.T x = right."""
    x: dict[int, Array] = {}
    for i in reversed(range(N_LOCAL)):
        rest = right[..., i] - sum(root[k, i] * x[k] for k in range(i + 1, N_LOCAL))
        x[i] = rest / root[i, i]
    return jnp.stack([x[i] for i in range(N_LOCAL)], axis=-1)


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


def linearise(star: Star, proposal: Proposal, model: Model, layout: Layout) -> Linear:
    """The readings and their slopes at all draws of one star."""
    local, _ = move(star, proposal, layout, proposal.psi)
    inputs = inputs_at(unpack(proposal.psi, layout), local)
    value, bad = readings(model, inputs)
    slope = jax.vmap(lambda x: _slope(model, x))(inputs)
    slope = jnp.where(bad[:, None, None] | ~jnp.isfinite(slope), 0.0, slope)
    return Linear(inputs, value, slope, bad)


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
    rest = star.seen / jnp.sqrt(variance) * (value + offset - star.values)
    units = (local - shared.mean) * jnp.exp(-shared.log_width)
    return jnp.concatenate([rest, units])


def _slope(model: Model, inputs: Float[Array, " input"]) -> Array:
    """Jacobian of the readings, from the side on which it has fewer numbers."""
    n_out = jax.eval_shape(lambda x: readings(model, x)[0], inputs).shape[0]
    jacobian = jax.jacrev if n_out < len(inputs) else jax.jacfwd
    return jacobian(lambda x: readings(model, x)[0])(inputs)


def _normal(key: Key[Array, ""], n: int) -> Float[Array, "4 n"]:
    """Evenly spread standard normals: a recurrence with a random start."""
    start = jax.random.uniform(key, (N_LOCAL, 1))
    steps = jnp.asarray(RECURRENCE)[:, None] * jnp.arange(n)
    return ndtri(jnp.clip((start + steps) % 1.0, 1e-6, 1.0 - 1e-6))
