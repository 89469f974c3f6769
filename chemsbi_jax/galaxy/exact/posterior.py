"""The galaxy's posterior without the network's error: method `exact`.

An amortised flow is only roughly right for stars unlike those it was trained on, and N
stars add its errors up. Here each star's likelihood of the global parameters comes from
the forward model itself, by importance sampling over the star's local parameters, at a
few points around the answer. The flow proposes: it follows the star from point to
point, so that the same noise cancels between them. For stars that it does not know a
chart of its noise is fitted first.
"""

from functools import cache
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Key
from scipy import stats
from tqdm import tqdm

from chemsbi_jax.devices import spread
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.exact.importance import (
    GOOD,
    Evidence,
    Star,
    adapt_chart,
    more_evidence,
    star_evidence,
)
from chemsbi_jax.galaxy.exact.polynomial import at_rest, join_points, piles_up, square
from chemsbi_jax.galaxy.exact.triangular_map import Chart, prior_chart
from chemsbi_jax.galaxy.grid import GridPosterior
from chemsbi_jax.galaxy.likelihood import Observed
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward

REACH, SEARCH_REACH = 4.0, 10.0  # half a side of the designs, in standard deviations
SIDES = {13: 5, 9: 70}  # points a side of the designs of up to so many stars
LEAST = 5  # points a side of all others
INNER = 0.51  # half sides of the design: its half, and rounding
DRAWS = 64  # of each star, at each point
# below POOR effective draws a star gets a lot of MORE times as many, at most LOTS times
POOR, MORE, LOTS = 32.0, 4, 4
BLOCK, FEW = 64, 4  # stars a call; of those that take long, on each device
MAX_ROUNDS = 12
TINY = 1e-12  # prior widths squared
UNEXPLAINED = 1e-25  # chance of a star's chi2 (10 sigma) below which it does not count


class Exact(NamedTuple):
    """The posterior, and what it was made with."""

    grid: GridPosterior
    stars: Star  # with their charts
    counts: Bool[np.ndarray, " star"]  # False: no parameters explain the star
    checks: dict


def exact_posterior(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    observed: Observed,
    seen: Float[Array, "star feature"],
    mean: Float[Array, " 2"],
    covariance: Float[Array, "2 2"],
    *,
    quiet: bool = True,
) -> Exact:
    """Posterior of the global latents by importance sampling, from a first guess.

    Args:
        key: decides the draws.
        npe: prior, and proposals for the local parameters.
        forward: theta (..., 6) -> abundances [dex].
        observed: what the likelihood needs of the stars.
        seen: what the flow sees of the stars (`features`, transposed).
        mean: first guess, in latents.
        covariance: and its width; both may be far off. One round will do where the
            guess was good to one sigma.
        quiet: no progress bar.

    Returns:
        The posterior, and how far it can be trusted: effective draws of the stars,
        whether the rounds came to rest, and which stars were left out.
    """
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(len(seen)))
    stars = Star(keys, seen, observed, prior_chart(len(seen)))
    mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
    bar = tqdm(total=MAX_ROUNDS, desc="exact", unit=" rounds", disable=quiet)
    reach, n_rounds = REACH, 0
    for _ in range(MAX_ROUNDS):
        factor, is_search = design_factor(covariance, reach), reach > REACH
        stars, found, grid, error = _look(stars, npe, forward, mean, factor, is_search)
        lost = piles_up(grid, mean, factor)
        rests = not is_search and at_rest(grid, mean, factor)
        if not lost:  # else its width is that of the edge
            covariance = np.asarray(grid.covariance)
        mean = np.asarray(grid.mean)
        reach = SEARCH_REACH if lost else REACH
        n_rounds += 1
        bar.update()
        if rests:
            bar.total = n_rounds  # no more are needed: the bar is full
            bar.refresh()
            break
    bar.close()
    checks = {"at_rest": rests, "rounds": n_rounds}
    counts = explained(found, observed)
    checks |= {"polynomial_rms": error, **_draw_checks(found, counts)}
    return Exact(grid, stars, counts, checks)


def _look(
    stars: Star, npe: Npe, forward: Forward, mean, factor, is_search: bool
) -> tuple[Star, Evidence, GridPosterior, float]:
    """One round: the posterior at one design, and what it was made with."""
    points = mean[:, None] + factor @ _square(len(stars.key))
    found = in_blocks(_evidence, stars, npe, forward, points)
    if not is_search:  # which needs a direction and no digits
        stars, found = follow(stars, found, npe, forward, points)
    grid, error = _posterior(found, _near(found, stars.observed), mean, factor)
    if not is_search and not piles_up(grid, mean, factor):
        found = draw_more(stars, found, npe, forward, points)
        counts = explained(found, stars.observed)
        grid, error = _posterior(found, counts, mean, factor)
    return stars, found, grid, error


def _posterior(found: Evidence, counts: np.ndarray, mean, factor):
    counts = counts if counts.any() else ~counts  # a search needs a direction
    # float64: thousands of stars add up
    total = np.asarray(found.log_likelihood, float)[counts].sum(axis=0)
    return join_points(_square(len(counts)), total, mean, factor)


def _draw_checks(found: Evidence, counts: np.ndarray) -> dict:
    worth = _worth(found)[counts]
    return {
        "left_out": np.flatnonzero(~counts).tolist(),
        "effective_draws_median": float(np.median(worth)),
        "effective_draws_p01": float(np.quantile(worth, 0.01)),
    }


def adapt_charts(
    stars: Star, npe: Npe, forward: Forward, mean, rows: np.ndarray | None = None
) -> Star:
    """Stars, of which some (or all) get charts that fit around these global latents."""
    anew = stars._replace(chart=prior_chart(len(stars.key)))  # one belongs to a place
    charts = in_blocks(_charts, anew, npe, forward, mean, rows, _few())
    return stars._replace(chart=_put(stars.chart, rows, charts))


def follow(
    stars: Star, found: Evidence, npe: Npe, forward: Forward, points: np.ndarray
) -> tuple[Star, Evidence]:
    """Charts, and the evidence with them, for stars that the flow does not know.

    Args:
        stars: with their charts.
        found: their evidence at the points.
        npe: see `exact_posterior`, as `forward`.
        forward: the model.
        points: a design; its middle comes in the middle.
    """
    middle = points.shape[1] // 2
    known = found.n_effective[:, middle] >= GOOD * DRAWS
    unknown = np.flatnonzero(~known)  # NaN are, too
    if len(unknown) == 0:
        return stars, found
    stars = adapt_charts(stars, npe, forward, points[:, middle], unknown)
    again = in_blocks(_evidence, stars, npe, forward, points, unknown)
    return stars, _put(found, unknown, again)


def draw_more(
    stars: Star, found: Evidence, npe: Npe, forward: Forward, points: np.ndarray
) -> Evidence:
    """Further lots of draws for stars of which few count; arguments as `follow`."""
    for lot in range(LOTS):
        poor = np.flatnonzero(~(_worth(found) >= POOR))
        if len(poor) == 0:
            break
        found = _put(
            found,
            poor,
            in_blocks(_more, (stars, found), npe, forward, (points, lot), poor, _few()),
        )
    return found


def _worth(found: Evidence) -> Float[np.ndarray, " star"]:
    """Effective draws of the stars in the inner half of the design (some two sigma)."""
    n_effective = np.asarray(found.n_effective)
    units = _square(len(n_effective))
    return n_effective[:, np.abs(units).max(axis=0) <= INNER].min(axis=1)


def _put(every, rows: np.ndarray | None, some):
    """Replaces some rows, on the host: there nothing is compiled for their number."""

    def put(x, y) -> np.ndarray:
        x = np.array(x)
        x[slice(None) if rows is None else rows] = y
        return x

    return jax.tree.map(put, every, some)


def explained(found: Evidence, observed: Observed) -> Bool[np.ndarray, " star"]:
    """Stars that some parameters of the model come near to.

    One particle that no parameters explain would outweigh all others of its galaxy.

    Raises:
        InputError: there is no such star.
    """
    counts = _near(found, observed)
    if not counts.any():
        raise InputError(
            "Expected stars that the model can make; no parameters come near to any of "
            f"these {len(counts)}. Check units and solar scale of the table."
        )
    return counts


def _near(found: Evidence, observed: Observed) -> Bool[np.ndarray, " star"]:
    n_seen = np.asarray(observed.weight > 0.0).sum(axis=-1)
    return np.asarray(found.chi2) < stats.chi2.isf(UNEXPLAINED, n_seen)


def in_blocks(
    function, stars, npe, forward, points, rows: np.ndarray | None = None, most=BLOCK
):
    """Apply a function to stars (some, or all), in blocks of one size on all devices.

    Blocks keep their size, so that nothing is compiled for a number of stars.
    """
    points = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), points)
    n_stars = len(jax.tree.leaves(stars)[0])
    rows = np.arange(n_stars) if rows is None else rows
    size = min(most, _block_size(n_stars))
    parts = []
    for i in range(0, len(rows), size):
        some = np.resize(rows[i : i + size], size)  # to its end, they come again
        block = jax.tree.map(lambda x, some=some: x[some], stars)
        part = _on_all_devices(function)(block, npe, forward, points)
        parts.append(jax.tree.map(np.asarray, part))
    return jax.tree.map(lambda *x: np.concatenate(x)[: len(rows)], *parts)


def _evidence(stars: Star, npe: Npe, forward: Forward, points) -> Evidence:
    return lax.map(lambda s: star_evidence(s, npe, forward, points, DRAWS), stars)


def _more(both: tuple[Star, Evidence], npe: Npe, forward: Forward, design) -> Evidence:
    points, lot = design

    def one(both: tuple[Star, Evidence]) -> Evidence:
        return more_evidence(*both, npe, forward, points, lot, MORE * DRAWS)

    return lax.map(one, both)


def _charts(stars: Star, npe: Npe, forward: Forward, point) -> Chart:
    return lax.map(lambda s: adapt_chart(s, npe, forward, point), stars)


# at the first call, as JAX starts with it
_on_all_devices = cache(spread)


def _block_size(n_stars: int) -> int:
    return min(BLOCK, 1 << (n_stars - 1).bit_length())


def _few() -> int:
    return FEW * jax.local_device_count()


def _square(n_stars: int) -> Float[np.ndarray, "2 point"]:
    return square(next((k for k, n in SIDES.items() if n_stars <= n), LEAST))


def design_factor(covariance: np.ndarray, reach: float) -> Float[np.ndarray, "2 2"]:
    """Lower triangle of a design that reaches so many sigma, but within the model."""
    squares, axes = np.linalg.eigh(covariance)
    # rounding may leave a square below zero
    half_sides = np.minimum(reach * np.sqrt(squares.clip(TINY)), REACH)
    return np.linalg.cholesky(axes * half_sides**2 @ axes.T)
