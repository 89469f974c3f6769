"""Evidence of all stars of a galaxy, in blocks of a few fixed shapes.

The sizes of blocks and the number of points a call are fixed, so that JAX compiles one
program for tables and designs of all sizes.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int, Key

from chemsbi_jax.compute.devices import spread
from chemsbi_jax.galaxy.exact.importance import Evidence, Star, merge, star_evidence
from chemsbi_jax.galaxy.exact.polynomial import Design
from chemsbi_jax.galaxy.exact.shear import moves
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward

DRAWS = 64  # of each star, at each point
# stars with fewer than MIN_EFFECTIVE_DRAWS get up to MAX_EXTRA_ROUNDS batches of
# EXTRA_DRAWS_FACTOR x DRAWS more, and stars with a moving map at least one
MIN_EFFECTIVE_DRAWS, EXTRA_DRAWS_FACTOR, MAX_EXTRA_ROUNDS = 32.0, 4, 4
INNER_HALF_SIDES = 0.51  # half sides of a design: its inner half, and rounding
BLOCK_STARS, SMALL_BLOCK_STARS = 32, 8  # stars a call, of large and of small tables
SLOW_STARS_PER_DEVICE = 4  # stars a call where each takes long
POINTS_PER_CALL = 25


def evidence_at(
    stars: Star,
    npe: Npe,
    forward: Forward,
    points: Float[np.ndarray, "2 point"],
    rows: Int[np.ndarray, " row"] | None = None,
    extra_round: int | None = None,
) -> Evidence:
    """Evidence of stars at some points of the global latents.

    Args:
        stars: with their maps.
        npe: proposals for the local parameters, and the prior.
        forward: theta (..., 6) -> abundances [dex].
        points: global latents.
        rows: which stars; None is all of them.
        extra_round: None for the first batch of draws, else the number of the further
            batch, which has more draws.
    """
    n_points = points.shape[1]
    columns = np.arange(n_points + -n_points % POINTS_PER_CALL) % n_points
    parts = []
    for some in columns.reshape(-1, POINTS_PER_CALL):
        if extra_round is None:
            part = in_blocks(_evidence, stars, npe, forward, points[:, some], rows)
        else:
            arguments = (points[:, some], np.uint32(extra_round))
            part = in_blocks(
                _extra_evidence, stars, npe, forward, arguments, rows, slow_block()
            )
        parts.append(part)
    return Evidence(
        np.concatenate([p.log_likelihood for p in parts], axis=1)[:, :n_points],
        np.concatenate([p.n_effective for p in parts], axis=1)[:, :n_points],
        parts[0].n_draws,
        np.min([p.chi2 for p in parts], axis=0),
    )


def resample_poor_stars(
    stars: Star,
    found: Evidence,
    npe: Npe,
    forward: Forward,
    design: Design,
    is_used: Bool[np.ndarray, " star"],
    *,
    with_moving: bool = True,
) -> Evidence:
    """Further draws for the used stars with few effective draws, or a moving map.

    Stars with such a map have about MIN_EFFECTIVE_DRAWS at first. If the draws
    themselves decided which of these get more, those that missed a large weight would
    keep their few draws, and the likelihood would be biased; so all of them get a
    second batch, unless `with_moving` is False.

    Other arguments as for `maps.adapt_poor_proposals`.
    """
    for i in range(MAX_EXTRA_ROUNDS):
        needs_more = ~(effective_draws(found, design) >= MIN_EFFECTIVE_DRAWS)  # or NaN
        if i == 0 and with_moving:
            needs_more |= moves(stars.shear)
        poor = np.flatnonzero(is_used & needs_more)
        if len(poor) == 0:
            break
        batch = evidence_at(stars, npe, forward, design.points, poor, extra_round=i)
        before = Evidence(*(x[poor] for x in found))
        both = merge(Evidence(*(np.stack(x) for x in zip(before, batch, strict=True))))
        found = replace_rows(found, poor, both)
    return found


def effective_draws(found: Evidence, design: Design) -> Float[np.ndarray, " star"]:
    """Least effective draws of each star in the inner half of a design (2 sigma)."""
    is_inner = np.abs(design.units).max(axis=0) <= INNER_HALF_SIDES
    return np.asarray(found.n_effective)[:, is_inner].min(axis=1)


def replace_rows(every: Any, rows: Int[np.ndarray, " row"] | None, some: Any) -> Any:
    """A copy of a PyTree of arrays with other content in some rows (None: in all).

    On the host: there nothing is compiled for the number of rows.
    """

    def replaced(x: Any, y: Any) -> np.ndarray:
        x = np.array(x)
        x[slice(None) if rows is None else rows] = y
        return x

    return jax.tree.map(replaced, every, some)


def in_blocks(
    function: Callable[..., Any],
    stars: Any,
    npe: Npe,
    forward: Forward,
    points: Any,
    rows: Int[np.ndarray, " row"] | None = None,
    most: int = BLOCK_STARS,
) -> Any:
    """Apply a function to stars (some, or all), in blocks of one size on all devices.

    Args:
        function: (stars, npe, forward, points) -> results, a row for each star.
        stars: PyTree with a row for each star.
        npe: the second argument.
        forward: the third one.
        points: the last one; floating-point arrays in it become float32.
        rows: which stars; None is all of them.
        most: largest number of stars a call.
    """
    points = jax.tree.map(_as_float32, points)
    stars = jax.tree.map(np.asarray, stars)
    n_stars = len(jax.tree.leaves(stars)[0])
    rows = np.arange(n_stars) if rows is None else rows
    size = min(most, SMALL_BLOCK_STARS if n_stars <= SMALL_BLOCK_STARS else BLOCK_STARS)
    parts = []
    for i in range(0, len(rows), size):
        some = np.resize(rows[i : i + size], size)  # the last block repeats its rows
        block = jax.tree.map(lambda x, some=some: x[some], stars)
        part = _on_all_devices(function)(block, npe, forward, points)
        parts.append(jax.tree.map(np.asarray, part))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(rows)], *parts)


def slow_block() -> int:
    """Stars a call where each takes long."""
    return SLOW_STARS_PER_DEVICE * jax.local_device_count()


def _as_float32(x: Any) -> Array:
    x = np.asarray(x)
    # `jnp.asarray` would compile a program for each shape
    return jax.device_put(x.astype(np.float32) if x.dtype.kind == "f" else x)


def _evidence(
    stars: Star, npe: Npe, forward: Forward, points: Float[Array, "2 point"]
) -> Evidence:
    def one(star: Star) -> Evidence:
        # the same draws for every design: the noise between designs cancels
        return star_evidence(star.keys().design, star, npe, forward, points, DRAWS)

    return lax.map(one, stars)


def _extra_evidence(
    stars: Star, npe: Npe, forward: Forward, arguments: tuple[Array, Array]
) -> Evidence:
    points, extra_round = arguments

    def one(star: Star) -> Evidence:
        key = _extra_key(star, extra_round)
        return star_evidence(
            key, star, npe, forward, points, EXTRA_DRAWS_FACTOR * DRAWS
        )

    return lax.map(one, stars)


def _extra_key(star: Star, extra_round: Array) -> Key[Array, ""]:
    return jax.random.fold_in(star.keys().extra, extra_round)


# at the first call: a script may set the number of devices before that
_on_all_devices = cache(spread)
