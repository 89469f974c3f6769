"""Search of the local latents that fit one star best, from the forward model alone."""

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical.shared import Shared
from chemsbi_jax.galaxy.hierarchical.small import (
    cholesky,
    solve_lower,
    solve_upper,
)
from chemsbi_jax.galaxy.hierarchical.star import (
    Model,
    Star,
    readings,
    residuals,
)
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
