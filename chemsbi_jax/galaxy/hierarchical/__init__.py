"""Method `hierarchical`: the posterior of all that the stars of a galaxy share.

Yield factors, zero points, population, scatter and outliers have priors beside the two
parameters of the galaxy, and each star's four local parameters are integrated out. A
network that was trained on galaxies drawn from these priors gives the posterior at once
(neural posterior estimation of a hierarchical model, with a set of stars as data). NUTS
(`sampling`) takes minutes and uses the full likelihood of the stars.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from chemsbi_jax.compute.quick import quick_jit, split_keys
from chemsbi_jax.constants import ABUNDANCES, SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.hierarchical.doubt import wrong_coverage
from chemsbi_jax.galaxy.hierarchical.mode import Mode, find_shared_mode, start_from
from chemsbi_jax.galaxy.hierarchical.model_fit import fit_stars, shared_misfit
from chemsbi_jax.galaxy.hierarchical.network import SharedNetwork as SharedNetwork
from chemsbi_jax.galaxy.hierarchical.posterior import (
    Check,
    Galaxy,
    draw_psi,
    padded,
    predictive_check,
    width_budget,
)
from chemsbi_jax.galaxy.hierarchical.result import (
    HierarchicalPosterior as HierarchicalPosterior,
)
from chemsbi_jax.galaxy.hierarchical.result import (
    far_errors,
    far_population,
    to_result,
)
from chemsbi_jax.galaxy.hierarchical.sampling import (
    MOST_STARS,
    budget_of_draws,
    by_nuts,
    distance_of_mode,
)
from chemsbi_jax.galaxy.hierarchical.settings import BLOCKS as BLOCKS
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors as SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import Layout, make_layout
from chemsbi_jax.galaxy.hierarchical.star import (
    FactorForward,
    Model,
    Star,
    make_stars,
)
from chemsbi_jax.galaxy.hierarchical.trained import Trained as Trained
from chemsbi_jax.galaxy.hierarchical.trained import (
    load_shared_network as load_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.trained import prior_ratio
from chemsbi_jax.types import Stars


class Keys(NamedTuple):
    """One key for each random step."""

    subset: Key[Array, ""]
    draws: Key[Array, ""]
    budget: Key[Array, ""]
    check: Key[Array, ""]
    fit: Key[Array, ""]
    nuts: Key[Array, ""]


class FitKeys(NamedTuple):
    """One key for each random step of the fit."""

    subset: Key[Array, ""]
    mode: Key[Array, ""]
    misfit: Key[Array, ""]


class StarSubset(NamedTuple):
    """Random stars, for the slow steps: mode, NUTS, alarm, mock galaxies."""

    rows: Int[np.ndarray, " row"]
    stars: Star
    # (part, star): of more stars, that many a part, of which this is the first one
    parts: Star | None


class Case(NamedTuple):
    """One galaxy, and what its posterior depends on."""

    trained: Trained
    settings: SharedErrors
    factors: Sequence[str]
    model: Model
    readings: Star
    galaxy: Galaxy
    subset: StarSubset
    budget: dict  # `width_budget`, or `budget_of_draws` of NUTS

    def check(
        self, key: Key[Array, ""], latents: Float[np.ndarray, "draw psi"]
    ) -> Check:
        """The predictive check of these draws of psi."""
        network, width = self.trained.network, self.settings.outlier_width
        checked = padded(self.subset.stars, self.galaxy.layout, self.galaxy.ratio)
        parts = self.subset.parts
        task = network, self.model, checked, latents, width
        return predictive_check(key, *task, parts)

    def result(
        self, latents: Float[np.ndarray, "draw psi"], check: Check, extra: dict
    ) -> HierarchicalPosterior:
        """The posterior of these draws, with further checks."""
        is_good = np.isfinite(latents).all() and check.is_near
        checks = {
            "converged": bool(is_good),
            "predictive_p": check.p,
            "predictive_distance": check.distance,
        }
        place = self.galaxy.layout, self.factors, self.model.prior
        return to_result(latents, self.budget, checks | extra, *place)


DEFAULT = SharedErrors()
N_PARTS = 8  # of the predictive check: all stars of a table of 2048


@in_float32
def hierarchical_posterior(
    key: Key[Array, ""],
    trained: Trained,
    forward: FactorForward,
    stars: Stars,
    settings: SharedErrors = DEFAULT,
    *,
    factors: Sequence[str] = SHARED_FACTORS,
    n_draws: int = 4000,
    most_stars: int = 5000,
    quiet: bool = True,
) -> HierarchicalPosterior:
    """Posterior of the shared parameters given all stars of a galaxy.

    Args:
        key: determines everything random.
        trained: the network, with the priors that it was trained on
            (`load_shared_network`).
        forward: (theta, log10 yield factors) -> abundances [dex], of the training; a
            PyTree such as `jax.tree_util.Partial`.
        stars: any errors, gaps and birth times.
        settings: prior scales, and blocks that are held.
        factors: names of the yield factors.
        n_draws: of the network; NUTS keeps 200 or 300 of each of four chains, or twice
            as many if these have few effective draws.
        most_stars: of more stars, that many random ones, as the shared errors make the
            width; `checks["n_subset"]` then has the number. The mode, NUTS and the
            alarm take at most 256 random ones of these (`checks["n_alarm"]`,
            `checks["n_nuts"]`), the predictive check eight times as many.
        quiet: no progress bar.

    Returns:
        With `is_converged` False, the stars are unlike those of galaxies of the model;
        draws and intervals are not to be used, and there is no `misfit`.

    Raises:
        InputError: other abundances than the eight, an unknown block or factor, or
            priors that the network was not trained for.
    """
    _require_eight(stars)
    layout = make_layout(settings, factors)
    ratio = prior_ratio(trained, settings, layout, factors)
    keys = Keys(*split_keys(key, len(Keys._fields)))
    fit = FitKeys(*split_keys(keys.fit, len(FitKeys._fields)))
    extra: dict = {}
    if len(stars.values) > most_stars:
        stars, extra = _subset(keys.subset, stars, most_stars), {"n_subset": most_stars}
    readings = make_stars(stars, settings, trained.prior)
    extra |= wrong_coverage(layout)
    model, galaxy = Model(forward, trained.prior), padded(readings, layout, ratio)
    latents = draw_psi(keys.draws, trained.network, galaxy, n_draws)
    budget = width_budget(keys.budget, trained.network, galaxy)
    some = _random_rows(fit.subset, readings)
    case = Case(trained, settings, factors, model, readings, galaxy, some, budget)
    check = case.check(keys.check, latents)
    may_be_drawn = check.is_near or settings.sampler == "nuts"
    if not (np.isfinite(latents).all() and may_be_drawn):
        return case.result(latents, check, extra)
    return _with_likelihood(keys, fit, case, latents, check, extra, quiet)


def _require_eight(stars: Stars) -> None:
    if tuple(stars.abundances) != ABUNDANCES:
        raise InputError(
            f"Expected stars with the abundances {', '.join(ABUNDANCES)}; got "
            f"{', '.join(stars.abundances)}. Take them with stars.select(ABUNDANCES)."
        )


def _subset(key: Key[Array, ""], stars: Stars, n: int) -> Stars:
    rows = jax.random.choice(key, len(stars.values), (n,), replace=False)
    return stars.take(np.sort(np.asarray(rows)))


def _random_rows(key: Key[Array, ""], readings: Star) -> StarSubset:
    """At most `MOST_STARS` of the stars, and `N_PARTS` such parts of more stars."""
    n = len(readings.values)
    if n <= MOST_STARS:
        return StarSubset(np.arange(n), readings, None)
    order = np.resize(np.asarray(_shuffled(key, n)), (N_PARTS, MOST_STARS))
    parts = jax.tree.map(lambda x: x[np.sort(order)], readings)
    return StarSubset(np.sort(order[0]), jax.tree.map(lambda x: x[0], parts), parts)


@quick_jit
def _shuffled(key: Key[Array, ""], n: int) -> Int[Array, " star"]:
    return jax.random.permutation(key, n)


def _with_likelihood(
    keys: Keys,
    fit: FitKeys,
    case: Case,
    latents: Float[np.ndarray, "draw psi"],
    check: Check,
    extra: dict,
    quiet: bool,
) -> HierarchicalPosterior:
    """The mode of psi, draws of NUTS if that is the sampler, and the alarm."""
    some = case.subset
    place = some.stars, case.model, case.galaxy.layout
    is_nuts = case.settings.sampler == "nuts"
    # chains of a coarsened posterior start at its own mode
    is_start = is_nuts and case.settings.likelihood_power(len(some.rows)) == 1.0
    how = {"with_curvature": is_start, "quiet": quiet}
    mode = find_shared_mode(fit.mode, *place, *start_from(latents), **how)
    extra = extra | {
        "mode_distance": distance_of_mode(latents, mode),
        "far_population": far_population(mode.psi, place[2]),
        "far_errors": far_errors(mode.psi, place[2], case.factors),
    }
    if is_nuts:
        latents, nuts = _by_nuts(keys, fit, case, latents, mode, quiet)
        # key reuse: the noise of the mock galaxies
        check, extra = case.check(keys.check, latents), extra | nuts
        if nuts["sampler"] == "nuts":  # else the draws are those of the network
            own = budget_of_draws(latents, place[2], nuts["n_effective"])
            case = case._replace(budget=own)
    found = case.result(latents, check, extra)
    if not found.is_converged:
        return found
    return _with_misfit(fit.misfit, found, some, case.model, place[2], mode.psi)


def _by_nuts(
    keys: Keys,
    fit: FitKeys,
    case: Case,
    latents: Float[np.ndarray, "draw psi"],
    mode: Mode,
    quiet: bool,
) -> tuple[Float[np.ndarray, "kept psi"], dict]:
    """Draws of NUTS and their checks."""
    some, n = case.subset, len(case.subset.rows)
    place = some.stars, case.model, case.galaxy.layout
    power = case.settings.likelihood_power(n)
    how: dict = {"power": power, "quiet": quiet}
    if power < 1.0:  # key reuse: the points of the other mode
        mode = find_shared_mode(fit.mode, *place, *start_from(latents), **how)
    how["enough"] = case.settings.effective_draws
    draws, extra = by_nuts(keys.nuts, *place, latents, mode, **how)
    if power < 1.0 and extra["sampler"] == "nuts":
        extra["counted_stars"] = power * n
    if n < len(case.readings.values):
        extra["n_nuts"] = n
    return draws, extra


def _with_misfit(
    key: Key[Array, ""],
    result: HierarchicalPosterior,
    some: StarSubset,
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
) -> HierarchicalPosterior:
    """The outliers at the mode of psi, and the misfit alarm of the other stars.

    The mode is used, not the mean: in 44 dimensions the mean lies far from the mode
    and fits no star.
    """
    rows, readings = some.rows, some.stars
    fit = fit_stars(readings, model, layout, psi)
    outliers = rows[fit.outliers()].tolist()
    checks = result.posterior.checks | {"outliers": outliers, "n_alarm": len(rows)}
    result = result._replace(posterior=result.posterior._replace(checks=checks))
    misfit = shared_misfit(key, readings, model, layout, psi, fit)
    return result._replace(misfit=misfit)
