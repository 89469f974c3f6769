"""Method `hierarchical`: the posterior of all that the stars of a galaxy share.

Yield factors, zero points, population, scatter and outliers have priors beside the two
parameters of the galaxy, and each star's four local parameters are integrated out.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax.constants import ABUNDANCES, YIELD_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.hierarchical.model_fit import shared_misfit
from chemsbi_jax.galaxy.hierarchical.posterior import Chains as Chains
from chemsbi_jax.galaxy.hierarchical.posterior import draw_shared
from chemsbi_jax.galaxy.hierarchical.result import (
    HierarchicalPosterior as HierarchicalPosterior,
)
from chemsbi_jax.galaxy.hierarchical.result import to_result
from chemsbi_jax.galaxy.hierarchical.settings import BLOCKS as BLOCKS
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors as SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import FactorForward, Model, make_stars
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import Stars

DEFAULT, CHAINS = SharedErrors(), Chains()


@in_float32
def hierarchical_posterior(
    key: Key[Array, ""],
    forward: FactorForward,
    prior: Prior,
    stars: Stars,
    settings: SharedErrors = DEFAULT,
    *,
    factors: Sequence[str] = YIELD_FACTORS,
    chains: Chains = CHAINS,
    most_stars: int = 5000,
    quiet: bool = True,
) -> HierarchicalPosterior:
    """Posterior of the shared parameters given all stars of a galaxy.

    Args:
        key: determines everything random.
        forward: (theta, log10 yield factors) -> abundances [dex], a PyTree such as
            `jax.tree_util.Partial`.
        prior: of the galaxy and of the stars' local parameters.
        stars: any errors, gaps and birth times.
        settings: prior scales, and blocks that are held.
        factors: names of the yield factors.
        chains: their number and length.
        most_stars: of more stars, that many random ones, as the shared errors make the
            width; `checks["n_subset"]` then has the number.
        quiet: no progress bar.

    Returns:
        With `is_converged` False, draws and intervals are not to be used, and there is
        no `misfit`.

    Raises:
        InputError: other abundances than the eight, an unknown block or factor, or a
            negative scale.
    """
    if tuple(stars.abundances) != ABUNDANCES:
        raise InputError(
            f"Expected stars with the abundances {', '.join(ABUNDANCES)}; got "
            f"{', '.join(stars.abundances)}. Take them with stars.select(ABUNDANCES)."
        )
    key_subset, key_draws, key_fit = jax.random.split(key, 3)
    n_stars, extra = len(stars.values), {}
    if n_stars > most_stars:
        rows = jax.random.choice(key_subset, n_stars, (most_stars,), replace=False)
        stars = stars.take(np.sort(np.asarray(rows)))
        extra = {"n_subset": most_stars}
    layout = make_layout(settings, factors)
    readings = make_stars(stars, settings, prior)
    model = Model(forward, prior)
    found = draw_shared(key_draws, readings, model, layout, chains, quiet=quiet)
    result = to_result(found, layout, factors, prior)
    checks = result.posterior.checks | extra
    result = result._replace(posterior=result.posterior._replace(checks=checks))
    is_outlier = found.correction.stars.inlier < 0.5
    if not result.is_converged or is_outlier.all():
        return result
    centre = result.latents.mean(axis=0)
    misfit = shared_misfit(key_fit, readings, model, layout, centre, is_outlier)
    return result._replace(misfit=misfit)
