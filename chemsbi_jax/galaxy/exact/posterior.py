"""Galaxy posterior by importance sampling, without the network's error: `exact`.

An amortised flow is only roughly right for stars unlike its training stars, and a
product of N stars accumulates its errors N times. Here the forward model gives each
star's likelihood of the global parameters, by importance sampling over the star's local
parameters, at the points of a small design around the posterior. The flow proposes the
local parameters; where it proposes poorly, a map of its noise is fitted first, which
moves with the global latents if it starts from the prior.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Key
from tqdm import tqdm

from chemsbi_jax.errors import ConvergenceError, InputError
from chemsbi_jax.galaxy.exact.blocks import (
    effective_draws,
    evidence_at,
    resample_poor_stars,
)
from chemsbi_jax.galaxy.exact.failure import why_no_posterior
from chemsbi_jax.galaxy.exact.importance import Evidence, Star, keys_of_stars, new_stars
from chemsbi_jax.galaxy.exact.maps import adapt_poor_proposals, has_moving_maps
from chemsbi_jax.galaxy.exact.polynomial import (
    Design,
    design_factor,
    edge_mass,
    fit_polynomial,
    is_converged,
    touches_edge,
)
from chemsbi_jax.galaxy.exact.search import is_consistent, search_prior, within_model
from chemsbi_jax.galaxy.grid import GridPosterior
from chemsbi_jax.galaxy.likelihood import Observed
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward, GalaxyChecks

# half a side of the designs in standard deviations: at the posterior, where that cuts
# off a bent one, and of designs that look for it where the last one had it at the edge
REACH_SIGMA, WIDE_REACH_SIGMA, SEARCH_REACH_SIGMA = 4.0, 6.0, 10.0
MAX_EDGE_MASS = 3e-4  # posterior probability in the outermost cells of the grid
MIN_GROWTH = 1.1  # of the area, of a wider design that is worth a round
# grid points a side -> largest number of stars they serve; MIN_SIDE for larger tables
SIDES = {13: 5, 9: 70}
MIN_SIDE = 5
FINER_SIDES = 7, *sorted(SIDES)  # of later rounds
MAX_POLYNOMIAL_RMS = 0.1  # in log density; above it a design gets more points
MAX_GUESS_ROUNDS, MAX_ROUNDS = 4, 12  # from a guess, and in all
FEW_LEFT_OUT = 0.01  # share of the stars; a wrong place leaves out more


class Exact(NamedTuple):
    """The posterior, and what it was made with."""

    grid: GridPosterior
    stars: Star  # with their maps
    is_used: Bool[np.ndarray, " star"]  # False: no parameters explain the star
    checks: GalaxyChecks
    design: Design  # of the last round
    found: Evidence  # of the stars at its points


class Round(NamedTuple):
    """The posterior on one design."""

    design: Design
    stars: Star  # with their maps
    found: Evidence
    grid: GridPosterior
    polynomial_rms: float  # in log density
    is_used: Bool[np.ndarray, " star"]  # False: not explained within the design
    reach: float  # half a side of the design in standard deviations
    n_rounds: int  # with this one
    first: Evidence  # of the first batch of draws
    was_out: Bool[np.ndarray, " star"]  # `is_out` of the round before

    @property
    def is_search(self) -> bool:
        """Whether the design is a wide one that only looks for the posterior."""
        return self.reach > WIDE_REACH_SIGMA

    @property
    def is_out(self) -> Bool[np.ndarray, " star"]:
        """Left out by this round, or, if it is a search, by the last one before it.

        The wide design of a search explains stars that the posterior does not.
        """
        return self.was_out if self.is_search else ~self.is_used

    @property
    def is_settled(self) -> bool:
        """Whether the posterior is well within the design."""
        return is_converged(self.grid, self.design) and not self.is_search

    @property
    def is_resolved(self) -> bool:
        """Whether the design has enough points, or as many as any."""
        is_finest = self.design.side >= max(SIDES)
        return is_finest or self.polynomial_rms <= MAX_POLYNOMIAL_RMS

    @property
    def is_complete(self) -> bool:
        """Whether the design holds the tails, or can't be wider."""
        wide = design_factor(np.asarray(self.grid.covariance), WIDE_REACH_SIGMA)
        growth = np.linalg.det(wide) / np.linalg.det(self.design.factor)
        return bool(growth < MIN_GROWTH) or edge_mass(self.grid) <= MAX_EDGE_MASS

    @property
    def is_converged(self) -> bool:
        """Whether the posterior is in the design as it should be."""
        return self.is_settled and self.is_resolved and self.is_complete


def exact_posterior(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    observed: Observed,
    seen: Float[Array | np.ndarray, "star feature"],
    mean: Float[Array | np.ndarray, " 2"],
    covariance: Float[Array | np.ndarray, "2 2"],
    *,
    quiet: bool = True,
) -> Exact:
    """Posterior of the global latents by importance sampling, from a first guess.

    Where the rounds do not converge from the guess, or leave more than one star of 100
    out, the whole prior is searched, and the rounds start again from what it finds.

    Args:
        key: determines the draws.
        npe: prior, and proposals for the local parameters.
        forward: theta (..., 6) -> abundances [dex].
        observed: measurements of the stars.
        seen: the flow's features of the stars (`features`, transposed).
        mean: first guess, in latents.
        covariance: and its width; both may be far off.
        quiet: no progress bar.

    Returns:
        The posterior, and how far it can be trusted: effective draws of the stars,
        whether the rounds converged ("at_rest"), and which stars were left out.

    Raises:
        InputError: no parameters explain any of the stars.
    """
    n_stars = len(seen)
    stars = new_stars(keys_of_stars(key, n_stars), seen, observed)
    bar = tqdm(total=MAX_ROUNDS, desc="exact", unit=" rounds", disable=quiet)
    guess = np.asarray(mean, float), np.asarray(covariance, float)
    best = _refine(stars, npe, forward, *guess, MAX_GUESS_ROUNDS, bar)
    if not best.is_converged or np.mean(~best.is_used) > FEW_LEFT_OUT:
        place = search_prior(stars, npe, forward)
        if not best.is_converged or not is_consistent(best.grid, *place):
            n_left = MAX_ROUNDS - best.n_rounds
            again = _refine(stars, npe, forward, *place, n_left, bar)
            best = max(again, best, key=_quality)
    bar.total = bar.n  # no more rounds are needed: the bar is full
    bar.close()
    if not best.is_used.any():
        raise InputError(
            "Expected stars that the model can make; no parameters within the prior "
            f"come near to any of these {n_stars}. Check units and solar scale of the "
            "table, and leave out abundances that the model can't reproduce."
        )
    checks = _checks(best)
    return Exact(best.grid, best.stars, best.is_used, checks, best.design, best.found)


def require_converged(result: Exact) -> None:
    """Raise where the rounds of `exact_posterior` did not converge.

    Raises:
        ConvergenceError: naming the cause and the remedy.
    """
    if result.checks["at_rest"]:
        return
    n_used, draws = int(result.is_used.sum()), result.checks["effective_draws_median"]
    raise ConvergenceError(
        why_no_posterior(n_used, draws, result.grid.mean, result.stars.observed)
    )


def evaluate_design(
    stars: Star,
    npe: Npe,
    forward: Forward,
    design: Design,
    reach: float = REACH_SIGMA,
    before: Round | None = None,
) -> Round:
    """One round: the posterior on one design, and what it was made with."""
    was_out = np.zeros(len(stars.seen), bool) if before is None else before.is_out
    n_rounds = 1 if before is None else before.n_rounds + 1
    found = evidence_at(stars, npe, forward, design.points)
    if reach <= WIDE_REACH_SIGMA:  # a search needs a direction and no digits
        stars, found = adapt_poor_proposals(stars, found, npe, forward, design)
    is_used = within_model(found, stars.observed, was_out)
    grid, rms = fit_polynomial(design, _sum_of_stars(found, is_used))
    new = Round(
        design, stars, found, grid, rms, is_used, reach, n_rounds, found, was_out
    )
    if new.is_search or touches_edge(grid, design):
        return new
    return _with_more_draws(new, npe, forward, with_moving=False)


def _with_more_draws(
    last: Round, npe: Npe, forward: Forward, with_moving: bool
) -> Round:
    """The round with further draws of the stars that need them."""
    stars, design = last.stars, last.design
    is_used = within_model(last.first, stars.observed, last.was_out)
    arguments = stars, last.first, npe, forward, design, is_used
    found = resample_poor_stars(*arguments, with_moving=with_moving)
    is_used = within_model(found, stars.observed, last.was_out)
    grid, rms = fit_polynomial(design, _sum_of_stars(found, is_used))
    return last._replace(found=found, grid=grid, polynomial_rms=rms, is_used=is_used)


def _refine(
    stars: Star,
    npe: Npe,
    forward: Forward,
    mean: Float[np.ndarray, " 2"],
    covariance: Float[np.ndarray, "2 2"],
    n_rounds: int,
    bar: tqdm,
) -> Round:
    """Rounds from a first guess, until they converge; at most `n_rounds`.

    A posterior that is well within its design is not lost: it only needs more points,
    or wider ones, and gets further rounds. Stars with maps that move get their further
    draws where the rounds end, as these take most of the time of a later round.
    """
    side = points_per_side(len(stars.seen))
    design = Design(mean, design_factor(covariance, REACH_SIGMA), side)
    last = evaluate_design(stars, npe, forward, design)
    bar.update()
    while True:
        if last.is_converged and has_moving_maps(last.stars):
            last = _with_more_draws(last, npe, forward, with_moving=True)
        most = MAX_ROUNDS if last.is_settled else n_rounds
        if last.is_converged or last.n_rounds >= most:
            return last
        design, reach = _next_design(last)
        last = evaluate_design(last.stars, npe, forward, design, reach, last)
        bar.update()


def _next_design(last: Round) -> tuple[Design, float]:
    """The design of the next round, and its reach in standard deviations."""
    design, grid = last.design, last.grid
    mean, covariance = np.asarray(grid.mean, float), np.asarray(grid.covariance)
    side = design.side
    if touches_edge(grid, design):  # the width is that of the edge: keep the design's
        covariance = design.factor @ design.factor.T / last.reach**2
        factor = design_factor(covariance, SEARCH_REACH_SIGMA)
        return Design(mean, factor, side), SEARCH_REACH_SIGMA
    reach = REACH_SIGMA if last.is_search else last.reach
    if last.is_settled and not last.is_complete:
        reach, side = WIDE_REACH_SIGMA, _next_side(side)
    elif last.is_settled and not last.is_resolved:
        side = _next_side(side)
    return Design(mean, design_factor(covariance, reach), side), reach


def _next_side(side: int) -> int:
    return min((s for s in FINER_SIDES if s > side), default=side)


def _quality(one: Round) -> tuple[bool, int]:
    return one.is_converged, int(one.is_used.sum())


def _sum_of_stars(found: Evidence, is_used: np.ndarray) -> Float[np.ndarray, " point"]:
    """Log likelihood of the used stars; of all if none is used, for a direction."""
    rows = is_used if is_used.any() else np.ones_like(is_used)
    # float64: thousands of stars are added
    return np.asarray(found.log_likelihood, float)[rows].sum(axis=0)


def _checks(best: Round) -> GalaxyChecks:
    effective = effective_draws(best.found, best.design)[best.is_used]
    return {
        "at_rest": best.is_converged,
        "rounds": best.n_rounds,
        "polynomial_rms": best.polynomial_rms,
        "mass_at_edge": edge_mass(best.grid),
        "left_out": np.flatnonzero(~best.is_used).tolist(),
        "effective_draws_median": float(np.median(effective)),
        "effective_draws_p01": float(np.quantile(effective, 0.01)),
    }


def points_per_side(n_stars: int) -> int:
    """Points a side of the first design; few stars have a wide posterior."""
    return next((side for side, n in SIDES.items() if n_stars <= n), MIN_SIDE)
