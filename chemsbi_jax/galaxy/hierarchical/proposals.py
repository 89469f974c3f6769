"""Coordinates of one star's local latents from the forward model alone, without a flow.

The mode comes from damped Gauss-Newton steps and a triangular chart from a few rounds
of weighted draws. The normal approximation around the mode, in closed form as the
readings are linear there, carries the chart along with the shared parameters: its mode
moves it and its width stretches it. One chart so serves a whole posterior.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import ndtri
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.exact.importance import n_effective, temper
from chemsbi_jax.galaxy.exact.triangular_map import Chart, fit_chart, transform
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.small import (
    cholesky,
    solve_lower,
    solve_upper,
)
from chemsbi_jax.galaxy.hierarchical.star import (
    BAD,
    Model,
    Star,
    log_likelihood,
    log_population,
    noise_variance,
    offsets,
    readings,
    residuals,
    slope_of_readings,
)
from chemsbi_jax.types import AnyArray

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


class Anchor(NamedTuple):
    """One star's mode at one psi, with the readings to first order around it."""

    psi: Float[AnyArray, "*star psi"]
    mode: Float[AnyArray, "*star 4"]
    value: Float[AnyArray, "*star reading"]
    slope: Float[AnyArray, "*star reading input"]


def inputs_at(
    shared: Shared, local: Float[AnyArray, "*b 4"]
) -> Float[AnyArray, "*b input"]:
    """What the readings depend on: galaxy, local latents, yield factors."""
    shape = local.shape[:-1]
    galaxy = jnp.broadcast_to(shared.galaxy, (*shape, N_GLOBAL))
    factors = jnp.broadcast_to(shared.factors, (*shape, len(shared.factors)))
    return jnp.concatenate([galaxy, local, factors], axis=-1)


def find_anchor(
    star: Star,
    model: Model,
    layout: Layout,
    psi: Float[AnyArray, " psi"],
    start: Float[AnyArray, " 4"],
) -> Anchor:
    """The mode of one star at one psi; `start` is a first guess beside `STARTS`."""
    shared = unpack(psi, layout)
    mode = find_mode(star, model, shared, start)
    value, slope = slope_of_readings(star, model, inputs_at(shared, mode))
    return Anchor(psi, mode, value, slope)


def find_mode(
    star: Star, model: Model, shared: Shared, start: Float[AnyArray, " 4"]
) -> Float[AnyArray, " 4"]:
    """The local latents of largest posterior density, by Levenberg's damped steps."""
    spread = jnp.exp(shared.log_width)
    starts = shared.mean + spread * jnp.asarray(STARTS)
    starts = jnp.concatenate([start[None], starts])

    def rest_at(local: Array) -> Array:
        value, bad = readings(star, model, inputs_at(shared, local))
        return jnp.where(bad, 1e3, residuals(star, shared, value, local))

    def look(local: Array) -> tuple[Array, Array]:
        slope, rest = jax.jacfwd(lambda x: (rest_at(x),) * 2, has_aux=True)(local)
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
        root = cholesky(normal + damping * jnp.diag(jnp.diag(normal) + 1e-6))
        step = -solve_upper(root, solve_lower(root, slope.T @ rest))
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


def normal_approximation(
    star: Star, anchor: Anchor, layout: Layout, psi: Float[AnyArray, " psi"]
) -> tuple[Float[AnyArray, "4 4"], Float[AnyArray, " 4"]]:
    """Cholesky factor of the curvature, and the Gauss-Newton step from the mode."""
    curvature, slope = normal_equations(star, anchor, layout, psi)
    root = cholesky(curvature)
    return root, -solve_upper(root, solve_lower(root, slope))


def normal_equations(
    star: Star, anchor: Anchor, layout: Layout, psi: Float[AnyArray, " psi"]
) -> tuple[Float[AnyArray, "4 4"], Float[AnyArray, " 4"]]:
    """Curvature of minus the log density at the anchor's mode, and its slope."""
    shared = unpack(psi, layout)
    rest = linear_readings(anchor, layout, psi, anchor.mode) - star.values
    rest = rest + offsets(star, shared)
    weighted = (star.seen / noise_variance(star, shared))[:, None]
    weighted = weighted * anchor.slope[:, LOCAL]
    of_population = jnp.exp(-2.0 * shared.log_width)
    curvature = weighted.T @ anchor.slope[:, LOCAL] + jnp.diag(of_population)
    return curvature, weighted.T @ rest + of_population * (anchor.mode - shared.mean)


def linear_readings(
    anchor: Anchor, layout: Layout, psi: Float[AnyArray, " psi"], local: Array
) -> Float[AnyArray, " reading"]:
    """The readings at other shared and local parameters, to first order."""
    before = inputs_at(unpack(anchor.psi, layout), anchor.mode)
    return anchor.value + anchor.slope @ (
        inputs_at(unpack(psi, layout), local) - before
    )


def log_weights(
    star: Star,
    shared: Shared,
    model: Model,
    local: Float[AnyArray, "*b 4"],
    log_density: Float[AnyArray, "*b"],
) -> Float[AnyArray, "*b"]:
    """Log importance weights of draws: likelihood times population over proposal."""
    value, bad = readings(star, model, inputs_at(shared, local))
    gain = jnp.where(bad, BAD, log_likelihood(star, shared, value))
    return gain + log_population(shared, local) - log_density


def find_chart(
    key: Key[Array, ""], star: Star, model: Model, layout: Layout, anchor: Anchor
) -> Chart:
    """A chart of one star at its anchor, from a few rounds of weighted draws."""
    shared = unpack(anchor.psi, layout)
    root, _ = normal_approximation(star, anchor, layout, anchor.psi)

    def improve(chart: Chart, key: Array) -> tuple[Chart, None]:
        local, log_density = draw_from(chart, even_normals(key, CHART_DRAWS))
        weight = temper(log_weights(star, shared, model, local.T, log_density))
        weight = jax.nn.softmax(weight) * n_effective(weight)
        nothing = jnp.zeros((N_GLOBAL, CHART_DRAWS))
        return fit_chart(nothing, local, weight), None

    keys = jax.random.split(key, CHART_ROUNDS)
    return lax.scan(improve, normal_chart(anchor.mode, root), keys)[0]


def draw_from(
    chart: Chart, noise: Float[AnyArray, "4 draw"]
) -> tuple[Float[AnyArray, "4 draw"], Float[AnyArray, " draw"]]:
    """Local latents from standard normals that are widened, and their log density."""
    nothing = jnp.zeros((N_GLOBAL, noise.shape[1]))
    local, log_det = transform(chart, nothing, WIDEN * noise)
    log_det = log_det + N_LOCAL * jnp.log(WIDEN)
    return local, norm.logpdf(noise).sum(axis=0) - log_det


def normal_chart(centre: Float[AnyArray, " 4"], root: Float[AnyArray, "4 4"]) -> Chart:
    """The chart of a normal, from the Cholesky factor of its precision."""
    covariance = solve_upper(root, solve_lower(root, jnp.eye(N_LOCAL)))
    factor = cholesky(covariance)
    whiten = solve_lower(factor, jnp.eye(N_LOCAL)).T
    means, slopes = [], []
    for k in range(N_LOCAL):
        before = N_GLOBAL + k
        mean = jnp.zeros(1 + before + before * (before + 1) // 2)
        line = factor[k, :k] @ whiten[:k, :k]
        means.append(mean.at[1 + N_GLOBAL : 1 + before].set(line))
        slopes.append(jnp.zeros(before))
    constant = jnp.log(jnp.diag(factor))
    return Chart(centre, jnp.ones(N_LOCAL), tuple(means), tuple(slopes), constant)


def even_normals(key: Key[Array, ""], n: int) -> Float[AnyArray, "4 n"]:
    """Evenly spread standard normals: a recurrence with a random start."""
    start = jax.random.uniform(key, (N_LOCAL, 1))
    steps = jnp.asarray(RECURRENCE)[:, None] * jnp.arange(n)
    return ndtri(jnp.clip((start + steps) % 1.0, 1e-6, 1.0 - 1e-6))
