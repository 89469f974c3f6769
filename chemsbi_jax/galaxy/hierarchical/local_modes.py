"""Search of the local latents that fit one star best, from the forward model alone."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical.shared import Shared
from chemsbi_jax.galaxy.hierarchical.star import (
    LOG_2_PI,
    Model,
    Star,
    readings,
    residuals,
)
from chemsbi_jax.galaxy.small import cholesky, solve_lower, solve_upper
from chemsbi_jax.types import AnyArray

N_LOCAL = 4
N_STEPS = 12  # of Gauss and Newton, damped
MAX_STEP = 1.5  # prior widths
# first places of the search, in widths of the population: its middle and four corners
STARTS = (
    (0.0, 0.0, 0.0, 0.0),
    (1.0, 0.0, -1.0, -1.0),
    (-1.0, 0.0, 1.0, 1.0),
    (1.0, 0.0, 1.0, 1.0),
    (-1.0, 0.0, -1.0, -1.0),
)


def inputs_at(
    shared: Shared, local: Float[AnyArray, "*b 4"]
) -> Float[AnyArray, "*b input"]:
    """What the readings depend on: galaxy, local latents, yield factors."""
    shape = local.shape[:-1]
    galaxy = jnp.broadcast_to(shared.galaxy, (*shape, N_GLOBAL))
    factors = jnp.broadcast_to(shared.factors, (*shape, len(shared.factors)))
    return jnp.concatenate([galaxy, local, factors], axis=-1)


class LocalModes(NamedTuple):
    """Where the posterior of each star's local latents is largest."""

    local: Float[AnyArray, "star 4"]
    log_volume: Float[AnyArray, " star"]  # of the normal there: integral over peak


def find_modes(
    stars: Star, model: Model, shared: Shared, start: Float[AnyArray, "star 4"]
) -> LocalModes:
    """The local latents of largest posterior density, by Levenberg's damped steps.

    The loop and the model run on arrays of all stars and starts, as tracing them inside
    of `vmap` takes twice as long.
    """
    spread = jnp.exp(shared.log_width)
    starts = shared.mean + spread * jnp.asarray(STARTS)
    starts = jnp.broadcast_to(starts, (len(start), *starts.shape))
    starts = jnp.concatenate([start[:, None], starts], axis=1)

    each = jax.tree.map(lambda x: jnp.expand_dims(x, 1), stars)
    n = stars.values.shape[-1] + N_LOCAL
    nothing = jnp.full((*starts.shape[:2], n), 1e6)

    def rest_at(local: Array) -> Array:
        value, bad = readings(each, model, inputs_at(shared, local))
        rest = residuals(each, shared, value, local)
        return jnp.where(bad[..., None], 1e3, rest)

    def look(local: Array) -> tuple[Array, Array]:
        """Residuals, and their slopes: (star, start, residual, latent)."""

        def along(axis: Array) -> tuple[Array, Array]:
            return jax.jvp(rest_at, (local,), (jnp.broadcast_to(axis, local.shape),))

        return jax.vmap(along, out_axes=(None, -1))(jnp.eye(N_LOCAL))

    def climb(state: tuple, _) -> tuple:
        return _all_steps(state, *look(state[0] + state[1])), None

    first = (
        starts,
        jnp.zeros_like(starts),
        jnp.full(starts.shape[:2], 0.5),
        nothing,
        jnp.zeros((*nothing.shape, N_LOCAL)),
    )
    (local, _, _, rest, slope), _ = lax.scan(climb, first, length=N_STEPS)
    best = jnp.argmin(jnp.sum(rest**2, axis=-1), axis=1)
    local = jnp.take_along_axis(local, best[:, None, None], axis=1)[:, 0]
    slope = jnp.take_along_axis(slope, best[:, None, None, None], axis=1)[:, 0]
    return LocalModes(local, jax.vmap(_log_volume)(slope))


def _log_volume(slope: Float[AnyArray, "residual 4"]) -> Float[AnyArray, ""]:
    """Log integral of exp(-r^2 / 2) of linear residuals, over its largest value."""
    root = cholesky(slope.T @ slope)
    return 0.5 * N_LOCAL * LOG_2_PI - jnp.log(jnp.diag(root)).sum()


def _step(state: tuple, new: Array, steeper: Array) -> tuple:
    """One search: keep the new place if it is better, and find the next step.

    Args:
        state: place, step, damping, residuals and slopes there.
        new: residuals a step away.
        steeper: slopes there.
    """
    local, step, damping, rest, slope = state
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
    return local, step, damping, rest, slope


_all_steps = jax.vmap(jax.vmap(_step))  # of all stars and starts
