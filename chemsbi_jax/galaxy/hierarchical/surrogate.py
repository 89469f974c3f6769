"""Laplace marginal likelihoods of all stars from the expansion of their readings.

They are smooth, deterministic functions of psi, so that Hamiltonian steps have exact
forces. The star axis is the last one: all arithmetic runs over the stars.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from chemsbi_jax.galaxy.hierarchical.expansion import Expansion, Local, at_shared
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.shared import Layout, Shared, unpack
from chemsbi_jax.galaxy.hierarchical.star import LOG_2_PI, Star, with_outliers
from chemsbi_jax.galaxy.likelihood import IRON
from chemsbi_jax.types import AnyArray

N_STEPS = 3  # Gauss-Newton, of the local latents
LONGEST = 2.0  # of a step, prior widths
Root = list[list[Array]]
"""Lower Cholesky factors of 4 x 4 matrices, row by row; entries over the stars."""


class Normal(NamedTuple):
    """Normal approximation of the local latents of all stars at one psi."""

    mode: Float[AnyArray, "4 star"]
    root: Root  # of the precision
    log_likelihood: Float[AnyArray, " star"]  # Laplace, with outliers


class _Target(NamedTuple):
    """What the local latents are compared with at one psi."""

    values: Float[AnyArray, "reading star"]
    weight: Float[AnyArray, "reading star"]
    mean: Float[
        AnyArray, "4 star"
    ]  # of the population, less the modes of the expansion
    tight: Float[AnyArray, "4 1"]  # squared inverse width of the population


def normals(
    star: Star, expansion: Expansion, layout: Layout, psi: Float[AnyArray, " psi"]
) -> Normal:
    """Mode, precision and log marginal likelihood of every star.

    Args:
        star: with the stars along the last axis of each array.
        expansion: of their readings.
        layout: of psi.
        psi: latents of the shared parameters.
    """
    shared, local = unpack(psi, layout), at_shared(expansion, psi)
    noise = star.variance + shared.variance[:, None]
    target = _target(star, shared, expansion.local, noise)
    away = jnp.zeros_like(expansion.local)
    for _ in range(N_STEPS):
        _, gradient, root = _quadratic(local, target, away)
        step = solve(root, gradient)
        # a smooth limit, so that a star without a good start does not jump
        away = away + step / jnp.sqrt(1.0 + jnp.sum(step**2, axis=0) / LONGEST**2)
    squares, gradient, root = _quadratic(local, target, away)
    left = jnp.sum(gradient * solve(root, gradient), axis=0)
    norm = jnp.sum(star.seen * (jnp.log(noise) + LOG_2_PI), axis=0)
    log_volume = sum(jnp.log(root[i][i]) for i in range(N_LOCAL))
    inlier = -0.5 * (squares - left / (1.0 + left)) - 0.5 * norm
    inlier = inlier - jnp.sum(shared.log_width) - log_volume
    return Normal(expansion.local + away, root, with_outliers(star, shared, inlier))


def _target(star: Star, shared: Shared, local: AnyArray, noise: AnyArray) -> _Target:
    zero = shared.zero_points[:, None]
    zero = zero + star.over_h * zero[IRON]
    return _Target(
        star.values - zero,
        star.seen / noise,
        shared.mean[:, None] - local,
        jnp.exp(-2.0 * shared.log_width)[:, None],
    )


def _quadratic(
    local: Local, target: _Target, away: Float[AnyArray, "4 star"]
) -> tuple[Array, Array, Root]:
    """Squares, minus half their gradient, and the root of the normal matrix."""
    curved = jnp.sum(local.curve * away[None, None], axis=2)
    slope = local.slope + curved
    moved = jnp.sum((local.slope + 0.5 * curved) * away[None], axis=1)
    rest = target.values - local.value - moved
    from_mean = target.mean - away
    squares = jnp.sum(target.weight * rest**2, axis=0)
    squares = squares + jnp.sum(target.tight * from_mean**2, axis=0)
    weighted = target.weight[:, None] * slope
    gradient = jnp.sum(weighted * rest[:, None], axis=0) + target.tight * from_mean
    rows = [
        [jnp.sum(weighted[:, i] * slope[:, j], axis=0) for j in range(i + 1)]
        for i in range(N_LOCAL)
    ]
    for i, row in enumerate(rows):
        row[i] = row[i] + target.tight[i]
    return squares, gradient, factorise(rows)


def factorise(rows: Root) -> Root:
    """Cholesky factors of the lower triangles `rows`."""
    root: Root = []
    for i, row in enumerate(rows):
        out: list[Array] = []
        for j in range(i + 1):
            other = out if i == j else root[j]
            rest = row[j]
            for k in range(j):
                rest = rest - out[k] * other[k]
            out.append(jnp.sqrt(rest) if i == j else rest / root[j][j])
        root.append(out)
    return root


def solve_upper(
    root: Root, right: list[Array] | AnyArray
) -> Float[AnyArray, "4 *b star"]:
    """Solution x of root^T x = right."""
    n = len(root)
    x: dict[int, Array] = {}
    for i in reversed(range(n)):
        rest = right[i]
        for k in range(i + 1, n):
            rest = rest - root[k][i] * x[k]
        x[i] = rest / root[i][i]
    return jnp.stack([x[i] for i in range(n)])


def solve(root: Root, right: Float[AnyArray, "4 star"]) -> Float[AnyArray, "4 star"]:
    """Solution x of (root root^T) x = right."""
    y: list[Array] = []
    for i, row in enumerate(root):
        rest = right[i]
        for k in range(i):
            rest = rest - row[k] * y[k]
        y.append(rest / row[i])
    return solve_upper(root, y)
