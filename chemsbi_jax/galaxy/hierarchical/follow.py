"""Each star's mode at any psi, and its Laplace marginal likelihood there.

A star starts at its anchor, moved by the linear response to psi, and takes a fixed
number of Gauss-Newton steps of the forward model. The result is a deterministic
function of psi, so that it is a proper density for Hamiltonian steps.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from chemsbi_jax.galaxy.hierarchical.marginal import with_outliers
from chemsbi_jax.galaxy.hierarchical.proposals import (
    LOCAL,
    MAX_STEP,
    N_LOCAL,
    Anchor,
    inputs_at,
    normal_approximation,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.small import (
    cholesky,
    log_determinant,
    solve_lower,
    solve_upper,
)
from chemsbi_jax.galaxy.hierarchical.star import (
    BAD,
    LOG_2_PI,
    Model,
    Star,
    log_likelihood,
    log_population,
    noise_variance,
    offsets,
    readings,
)

N_FOLLOW = 1  # Gauss-Newton steps of a star at each psi, after the linear response
BLOCK = 16  # stars whose derivatives are held in memory at once


class Normal(NamedTuple):
    """Normal approximation of one star's local latents at one psi."""

    mode: Float[Array, "*star 4"]
    root: Float[Array, "*star 4 4"]  # lower Cholesky factor of the precision
    log_likelihood: Float[Array, "*star"]  # Laplace, with outliers


class _Local(NamedTuple):
    """Log density of the local latents at one point, to second order."""

    value: Float[Array, ""]
    gradient: Float[Array, " 4"]
    precision: Float[Array, "4 4"]  # Gauss-Newton


def follow(
    star: Star, anchor: Anchor, model: Model, layout: Layout, psi: Float[Array, " psi"]
) -> Normal:
    """Mode, precision and Laplace marginal likelihood of one star at any psi.

    The gradient to psi is that with the readings linear around the mode: it leaves out
    how their slopes change with psi. Hamiltonian steps stay exact with any force that
    is a function of the position alone, and second derivatives take long to compile.
    """
    shared = unpack(psi, layout)
    fixed = lax.stop_gradient(shared)
    _, step = normal_approximation(star, anchor, layout, lax.stop_gradient(psi))
    local = anchor.mode + _shorten(step - anchor.shift)
    for _ in range(N_FOLLOW):
        value, slope, bad = _apart(_look(star, model, fixed, *_apart((local,))))
        here = _expand(star, shared, local, value, slope[:, LOCAL], bad)
        here = _apart(lax.stop_gradient(here))
        step = _solve(_root(here.precision), here.gradient)
        local = _apart(local + _shorten(step))
    value, slope, bad = _apart(_look(star, model, fixed, local))
    moved = inputs_at(shared, local) - inputs_at(fixed, local)
    here = _expand(star, shared, local, value + slope @ moved, slope[:, LOCAL], bad)
    root = _root(lax.stop_gradient(here.precision))
    step = _solve(root, lax.stop_gradient(here.gradient))
    # what is left to the maximum of the quadratic, limited where it is not trusted
    left = lax.stop_gradient(0.5 * step @ here.gradient)
    inlier = here.value + left / (1.0 + left)
    inlier = inlier - log_determinant(root) + 0.5 * N_LOCAL * LOG_2_PI
    inlier = inlier + _only_gradient(_change(root, step, here))
    return Normal(local, root, with_outliers(star, shared, inlier))


def _look(
    star: Star, model: Model, shared: Shared, local: Float[Array, " 4"]
) -> tuple[Float[Array, " reading"], Float[Array, "reading input"], Array]:
    """Readings, their slopes to all inputs, and whether there is no star."""

    def predict(inputs: Array) -> tuple[Array, tuple]:
        value, bad = readings(star, model, inputs)
        return value, (value, bad)

    jacobian = jax.jacrev(predict, has_aux=True)
    slope, (value, bad) = jacobian(inputs_at(shared, local))
    slope = jnp.where(bad | ~jnp.isfinite(slope), 0.0, slope)
    return lax.stop_gradient((value, slope, bad))


def _change(
    root: Float[Array, "4 4"], step: Float[Array, " 4"], here: _Local
) -> Float[Array, ""]:
    """Its gradient is that of g P^-1 g / 2 - log det P / 2, with root and step fixed.

    Derivatives of the written-out factorisation would take minutes to compile.
    """
    inverse = _solve(root, jnp.eye(N_LOCAL))
    of_step = step @ here.gradient - 0.5 * step @ here.precision @ step
    return of_step - 0.5 * jnp.sum(inverse * here.precision)


def _only_gradient(x: Float[Array, "..."]) -> Float[Array, "..."]:
    return x - lax.stop_gradient(x)


def _solve(root: Float[Array, "4 4"], right: Float[Array, "*b 4"]) -> Array:
    return _apart(solve_upper(root, solve_lower(root, right)))


def _root(matrix: Float[Array, "4 4"]) -> Float[Array, "4 4"]:
    return _apart(cholesky(matrix))


def _apart(x):
    """Compiled apart from what comes before and after.

    Fused, XLA computes the factorisation anew for each input of the networks: measured
    20 times slower on CPU.
    """
    return lax.optimization_barrier(x)


def _shorten(step: Float[Array, " 4"]) -> Float[Array, " 4"]:
    length = jnp.sqrt(jnp.sum(step**2) + 1e-12)
    return step * jnp.minimum(1.0, MAX_STEP / length)


def _expand(
    star: Star,
    shared: Shared,
    local: Float[Array, " 4"],
    value: Float[Array, " reading"],
    slope: Float[Array, "reading 4"],
    bad: Bool[Array, ""],
) -> _Local:
    """Log density, its gradient and its Gauss-Newton precision."""
    weighted = (star.seen / noise_variance(star, shared))[:, None] * slope
    of_population = jnp.exp(-2.0 * shared.log_width)
    rest = star.values - value - offsets(star, shared)
    gradient = weighted.T @ rest - of_population * (local - shared.mean)
    density = log_likelihood(star, shared, value) + log_population(shared, local)
    density = jnp.where(bad, BAD, density)
    return _Local(density, gradient, weighted.T @ slope + jnp.diag(of_population))


class SharedDensity(NamedTuple):
    """Posterior density of psi with Laplace marginal likelihoods of all stars."""

    model: Model
    layout: Layout
    star: Star  # in blocks: (block, star, ...)
    anchor: Anchor
    counts: Float[Array, "block star"]  # 1, or 0 for a row that only fills up
    first: Float[Array, "block star"]  # log likelihood at the anchor, a constant
    centre: Float[Array, " psi"]
    factor: Float[Array, "psi psi"]  # lower triangle

    def psi(self, at: Float[Array, " psi"]) -> Float[Array, " psi"]:
        """Shared latents from their coordinates."""
        return self.centre + self.factor @ at

    def value_and_slope(
        self, at: Float[Array, " psi"]
    ) -> tuple[Float[Array, ""], Float[Array, " psi"]]:
        """Log density of the coordinates up to a constant, and the force there."""
        psi = self.psi(at)

        def of_block(psi: Array, block: tuple) -> Array:
            star, anchor, counts, first = block
            each = jax.vmap(follow, (0, 0, None, None, None))
            found = each(star, anchor, self.model, self.layout, psi)
            # differences from the anchor keep the digits of a sum in float32
            gain = jnp.where(counts > 0.0, found.log_likelihood - first, 0.0)
            return jnp.sum(gain)

        def add(total: tuple, block: tuple) -> tuple[tuple, None]:
            more = jax.value_and_grad(of_block)(psi, block)
            return jax.tree.map(jnp.add, total, more), None

        start = -0.5 * jnp.sum(psi**2), -psi
        blocks = (self.star, self.anchor, self.counts, self.first)
        (value, slope), _ = lax.scan(add, start, blocks)
        return value, slope @ self.factor
