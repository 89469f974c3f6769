"""Method `hierarchical`: the posterior of all that the stars of a galaxy share.

Yield factors, zero points, population, scatter and outliers have priors beside the two
parameters of the galaxy, and each star's four local parameters are integrated out. A
network that was trained on galaxies drawn from these priors gives the posterior at once
(neural posterior estimation of a hierarchical model, with a set of stars as data). NUTS
on the likelihood (`sampling`) takes minutes and uses all that the stars say.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL, SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.hierarchical.mode import find_shared_mode
from chemsbi_jax.galaxy.hierarchical.model_fit import fit_stars, shared_misfit
from chemsbi_jax.galaxy.hierarchical.network import SharedNetwork as SharedNetwork
from chemsbi_jax.galaxy.hierarchical.posterior import (
    draw_psi,
    padded,
    predictive_check,
    width_budget,
)
from chemsbi_jax.galaxy.hierarchical.result import (
    HierarchicalPosterior as HierarchicalPosterior,
)
from chemsbi_jax.galaxy.hierarchical.result import to_result
from chemsbi_jax.galaxy.hierarchical.sampling import by_nuts
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


DEFAULT = SharedErrors()
MISFIT_STARS = 256  # random ones, for the alarm


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
        n_draws: of the network; NUTS keeps 200 of each of four chains.
        most_stars: of more stars, that many random ones, as the shared errors make the
            width; `checks["n_subset"]` then has the number. NUTS takes at most 256 of
            these (`checks["n_nuts"]`).
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
    keys = Keys(*jax.random.split(key, len(Keys._fields)))
    extra = {}
    if len(stars.values) > most_stars:
        stars, extra = _subset(keys.subset, stars, most_stars), {"n_subset": most_stars}
    readings = make_stars(stars, settings, trained.prior)
    model, galaxy = Model(forward, trained.prior), padded(readings, layout, ratio)
    network, width = trained.network, settings.outlier_width
    latents = draw_psi(keys.draws, network, galaxy, n_draws)
    whole = latents[:, :N_GLOBAL].std(axis=0)
    budget = width_budget(keys.budget, network, galaxy, whole)
    if settings.sampler == "nuts":
        latents, nuts = by_nuts(
            keys.nuts, readings, model, layout, latents, quiet=quiet
        )
        extra |= nuts
    check = predictive_check(keys.check, network, model, galaxy, latents, width)
    checks = {
        "converged": bool(np.isfinite(latents).all() and check.is_near),
        "predictive_p": check.p,
        "predictive_distance": check.distance,
    } | extra
    result = to_result(latents, budget, checks, layout, factors, trained.prior)
    if not result.is_converged:
        return result
    return _with_misfit(keys.fit, result, readings, model, layout, quiet)


def _require_eight(stars: Stars) -> None:
    if tuple(stars.abundances) != ABUNDANCES:
        raise InputError(
            f"Expected stars with the abundances {', '.join(ABUNDANCES)}; got "
            f"{', '.join(stars.abundances)}. Take them with stars.select(ABUNDANCES)."
        )


def _subset(key: Key[Array, ""], stars: Stars, n: int) -> Stars:
    rows = jax.random.choice(key, len(stars.values), (n,), replace=False)
    return stars.take(np.sort(np.asarray(rows)))


def _with_misfit(
    key: Key[Array, ""],
    result: HierarchicalPosterior,
    readings: Star,
    model: Model,
    layout: Layout,
    quiet: bool,
) -> HierarchicalPosterior:
    """The outliers at the mode of psi, and the misfit alarm of the other stars.

    The mean of psi will not do: far from the mode in 44 dimensions, it fits no star.
    """
    key_subset, key_mode, key_fit = jax.random.split(key, 3)
    n = len(readings.values)
    rows = jax.random.permutation(key_subset, n)[:MISFIT_STARS]
    rows = np.sort(np.asarray(rows))
    readings = jax.tree.map(lambda x: x[rows], readings)
    start = result.latents.mean(axis=0)
    search = partial(find_shared_mode, rough=True, quiet=quiet)
    centre = search(key_mode, readings, model, layout, start).psi
    fit = fit_stars(readings, model, layout, centre)
    outliers = rows[fit.outliers()].tolist()
    checks = result.posterior.checks | {"outliers": outliers, "n_alarm": len(rows)}
    result = result._replace(posterior=result.posterior._replace(checks=checks))
    misfit = shared_misfit(key_fit, readings, model, layout, centre, fit)
    return result._replace(misfit=misfit)
