"""Monotonic rational-quadratic splines (Durkan+ 2019, NeurIPS 32, eqs. 4-8).

Knots lie along the first axis; any further axes are independent splines. Long axes
last is what makes the draws fast on a CPU.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

INTERVAL = 4.5  # the spline acts within +-INTERVAL; outside it is the identity
MIN_SHARE = 1e-3  # of the interval, for each bin
MIN_SLOPE = 1e-3
# softplus(SLOPE_OFFSET) + MIN_SLOPE is 1, so a new flow is the identity
SLOPE_OFFSET = 0.5397


class Spline(NamedTuple):
    """Knots of splines."""

    x: Float[Array, "knot *batch"]
    y: Float[Array, "knot *batch"]
    slope: Float[Array, "knot *batch"]  # dy/dx at the knots, 1 at both ends


def n_raw(n_bins: int) -> int:
    """How many unconstrained numbers describe a spline of `n_bins` bins."""
    return 3 * n_bins - 1


def make_spline(raw: Float[Array, "raw *batch"]) -> Spline:
    """Splines from `n_raw` unconstrained numbers each."""
    n_bins = (raw.shape[0] + 1) // 3
    inner = jax.nn.softplus(raw[2 * n_bins :] + SLOPE_OFFSET) + MIN_SLOPE
    one = jnp.ones_like(inner[:1])
    return Spline(
        _knots(raw[:n_bins]),
        _knots(raw[n_bins : 2 * n_bins]),
        jnp.concatenate([one, inner, one]),
    )


def _knots(raw: Array) -> Array:
    n_bins = raw.shape[0]
    share = MIN_SHARE + (1.0 - n_bins * MIN_SHARE) * jax.nn.softmax(raw, axis=0)
    # a product with a triangle of ones: a cumulative sum that fuses well
    below = jnp.tril(jnp.ones((n_bins - 1, n_bins), raw.dtype))
    inner = INTERVAL * (2.0 * jnp.tensordot(below, share, axes=1) - 1.0)
    end = jnp.full_like(inner[:1], INTERVAL)
    return jnp.concatenate([-end, inner, end])


def spline_forward(x: Float[Array, "*batch"], spline: Spline) -> tuple[Array, Array]:
    """y(x) and log dy/dx."""
    safe = jnp.clip(x, -INTERVAL, INTERVAL)
    x0, y0, width, height, d0, d1 = _bin(safe, spline.x, spline)
    slope = height / width
    t = (safe - x0) / width
    mix = t * (1.0 - t)
    denominator = slope + (d1 + d0 - 2.0 * slope) * mix
    y = y0 + height * (slope * t * t + d0 * mix) / denominator
    log_det = _log_derivative(t, slope, d0, d1, denominator)
    inside = jnp.abs(x) < INTERVAL
    return jnp.where(inside, y, x), jnp.where(inside, log_det, 0.0)


def spline_inverse(y: Float[Array, "*batch"], spline: Spline) -> tuple[Array, Array]:
    """x(y) and log dx/dy."""
    safe = jnp.clip(y, -INTERVAL, INTERVAL)
    x0, y0, width, height, d0, d1 = _bin(safe, spline.y, spline)
    slope = height / width
    rise = (safe - y0) / height
    bend = (d1 + d0 - 2.0 * slope) * rise
    a = slope - d0 + bend
    b = d0 - bend
    c = -slope * rise
    t = 2.0 * c / (-b - jnp.sqrt(jnp.maximum(b * b - 4.0 * a * c, 0.0)))
    denominator = slope + (d1 + d0 - 2.0 * slope) * t * (1.0 - t)
    log_det = -_log_derivative(t, slope, d0, d1, denominator)
    inside = jnp.abs(y) < INTERVAL
    return jnp.where(inside, x0 + t * width, y), jnp.where(inside, log_det, 0.0)


def _log_derivative(
    t: Array, slope: Array, d0: Array, d1: Array, denominator: Array
) -> Array:
    rest = 1.0 - t
    numerator = d1 * t * t + 2.0 * slope * t * rest + d0 * rest * rest
    return jnp.log(numerator * jnp.square(slope / denominator))


def _bin(value: Array, edges: Array, spline: Spline) -> tuple[Array, ...]:
    """Corner, size and end slopes of the bin that holds `value`.

    Differences of masked values instead of indexing: gathers are slow on a CPU.
    """
    # comparisons and rows once: each of these operations is traced
    beyond = [value >= edge for edge in jnp.unstack(edges[1:-1])]

    def pick(rows: Sequence[Array]) -> Array:
        """The one of `rows`, one a bin, for the bin of `value`."""
        found = rows[0]
        for is_beyond, row in zip(beyond, rows[1:], strict=True):
            found = jnp.where(is_beyond, row, found)
        return found

    def at_ends(knots: Array) -> tuple[Array, Array]:
        rows = jnp.unstack(knots)
        return pick(rows[:-1]), pick(rows[1:])

    (x0, x1), (y0, y1), slopes = map(at_ends, spline)
    return x0, y0, x1 - x0, y1 - y0, *slopes
