"""Maps of the stars' proposals: which stars need one, and from what it starts."""

import jax
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from chemsbi_jax.galaxy.exact.blocks import (
    DRAWS,
    effective_draws,
    evidence_at,
    in_blocks,
    replace_rows,
    slow_block,
)
from chemsbi_jax.galaxy.exact.importance import (
    GOOD_SHARE,
    Evidence,
    Star,
    adapt_chart,
    star_shear,
)
from chemsbi_jax.galaxy.exact.polynomial import Design
from chemsbi_jax.galaxy.exact.prior_flow import PriorFlow
from chemsbi_jax.galaxy.exact.shear import Shear, moves, no_shear
from chemsbi_jax.galaxy.exact.triangular_map import Chart, prior_chart
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward

# share of effective draws, below which a star gets a map from the prior, too
MIN_SHARE = 0.2
# difference of two estimates of a log likelihood, above which the higher one is kept:
# it is too high by so much with a probability below exp(-3) (Markov's inequality)
DECISIVE = 3.0


def adapt_charts(
    stars: Star,
    npe: Npe,
    forward: Forward,
    mean: Float[np.ndarray, " 2"],
    rows: Int[np.ndarray, " row"] | None = None,
) -> Star:
    """Stars, of which some (or all) get maps fitted at these global latents.

    Maps without the proposals of a network move with the global latents from there.
    """
    n_stars = len(stars.key_data)
    rows = np.arange(n_stars) if rows is None else rows
    if len(rows) == 0:
        return stars
    # from the identity: an earlier map belongs to another place
    anew = stars._replace(chart=prior_chart(n_stars), shear=no_shear(n_stars))
    # the proposals of a network move with the global latents by themselves
    has_no_network = isinstance(npe.star_flow, PriorFlow)
    is_moving = np.asarray(stars.is_blind)[rows] | has_no_network
    model = npe, forward, mean
    charts = in_blocks(_charts, anew, *model, rows, slow_block())
    stars = stars._replace(
        chart=replace_rows(stars.chart, rows, charts),
        shear=replace_rows(stars.shear, rows, no_shear(len(rows))),
    )
    moving = rows[is_moving]
    if len(moving) == 0:
        return stars
    shears = in_blocks(_shears, stars, *model, moving, slow_block())
    return stars._replace(shear=replace_rows(stars.shear, moving, shears))


def adapt_poor_proposals(
    stars: Star, found: Evidence, npe: Npe, forward: Forward, design: Design
) -> tuple[Star, Evidence]:
    """Maps, and the evidence with them, for stars that are proposed poorly.

    Args:
        stars: with their maps.
        found: their evidence on the design.
        npe: see `evidence_at`, as `forward`.
        forward: the model.
        design: the points.
    """
    middle = design.side**2 // 2
    is_good = found.n_effective[:, middle] >= GOOD_SHARE * DRAWS
    # NaN are poor, too; a map from elsewhere may be good at the centre alone
    poor = np.flatnonzero(
        ~np.asarray(is_good) | _is_from_elsewhere(stars.shear, design)
    )
    if len(poor) == 0:
        return stars, found
    # the network first: it may have failed on a design around a wrong guess
    stars = stars._replace(is_blind=replace_rows(stars.is_blind, poor, False))
    stars = adapt_charts(stars, npe, forward, design.centre, poor)
    again = evidence_at(stars, npe, forward, design.points, poor)
    found = replace_rows(found, poor, again)
    return _without_network(stars, found, npe, forward, design, poor)


def _without_network(
    stars: Star,
    found: Evidence,
    npe: Npe,
    forward: Forward,
    design: Design,
    rows: Int[np.ndarray, " row"],
) -> tuple[Star, Evidence]:
    """Proposals from the prior for stars whose map fails with those of the network.

    A star far from the training stars of the network may have single draws with all of
    the weight, whatever its map, or miss most of it. The map with the higher estimate
    of the likelihood is kept, or, of two that agree, that with more effective draws.
    """
    effective = np.nan_to_num(effective_draws(found, design))
    rows = rows[effective[rows] < MIN_SHARE * DRAWS]
    if len(rows) == 0 or isinstance(npe.star_flow, PriorFlow):
        return stars, found
    blind = stars._replace(is_blind=replace_rows(stars.is_blind, rows, True))
    # key reuse: a star keeps only one of its two maps
    blind = adapt_charts(blind, npe, forward, design.centre, rows)
    again = evidence_at(blind, npe, forward, design.points, rows)
    before = Evidence(*(np.asarray(x)[rows] for x in found))
    again = again._replace(
        chi2=np.minimum(again.chi2, np.nan_to_num(before.chi2, nan=np.inf))
    )
    gain = np.mean(again.log_likelihood - before.log_likelihood, axis=1)
    has_more = np.nan_to_num(effective_draws(again, design)) > effective[rows]
    # NaN: the network has no estimate
    better = (gain > DECISIVE) | (has_more & ~(gain < -DECISIVE))
    rows, again = rows[better], Evidence(*(x[better] for x in again))
    some = jax.tree.map(lambda x: np.asarray(x)[rows], blind)
    return replace_rows(stars, rows, some), replace_rows(found, rows, again)


def _is_from_elsewhere(shear: Shear, design: Design) -> Bool[np.ndarray, " star"]:
    """Maps that move, and were fitted outside the design: too far for a linear law."""
    away = np.asarray(shear.origin, float).T - design.centre[:, None]
    distance = np.abs(np.linalg.solve(design.factor, away)).max(axis=0)
    return moves(shear) & (distance > 1.0)


def has_moving_maps(stars: Star) -> bool:
    """Whether some star has a map that moves with the global latents."""
    return bool(moves(stars.shear).any())


def _charts(
    stars: Star, npe: Npe, forward: Forward, point: Float[Array, " 2"]
) -> Chart:
    return lax.map(lambda star: adapt_chart(star, npe, forward, point), stars)


def _shears(
    stars: Star, npe: Npe, forward: Forward, point: Float[Array, " 2"]
) -> Shear:
    return lax.map(lambda star: star_shear(star, npe, forward, point), stars)
