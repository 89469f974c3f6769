"""The exact posterior with a network of other yields as a guide, and its checks.

A flow of other yields does not change the result: it only proposes local parameters.
What the amortised methods otherwise do (second method, halves, prefixes, draws of the
stars) is done by the exact method, too.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.diagnostics.misfit import Misfit, mean_residuals, misfit_test
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.checks import (
    MIN_HALVED,
    Halves,
    halves_of,
    model_stars,
    outside_all,
)
from chemsbi_jax.galaxy.exact.posterior import Exact, require_converged
from chemsbi_jax.galaxy.exact.star_draws import (
    JointDraws,
    draw_other_stars,
    draw_stars,
)
from chemsbi_jax.galaxy.exact.start import exact_of_stars, searched_guess
from chemsbi_jax.galaxy.grid import draw_from_grid
from chemsbi_jax.galaxy.infer import N_GALAXY_DRAWS
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.galaxy.result import to_posterior
from chemsbi_jax.galaxy.rows import host_generator
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.types import GalaxyChecks, GalaxyPosterior, Stars

N_REFERENCE = 500  # stars of the model that the residuals are compared with


class Guided(NamedTuple):
    """The posterior, and what it was made with."""

    posterior: GalaxyPosterior
    exact: Exact


@in_float32
def infer_guided(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    n_draws: int = N_GALAXY_DRAWS,
    *,
    start: GalaxyPosterior | None = None,
    quiet: bool = True,
) -> Guided:
    """The exact posterior, from a search of the whole prior that needs no network.

    Args:
        key: determines all draws.
        networks: guide and forward model.
        stars: any; they are checked.
        n_draws: of the posterior.
        start: first guess, in place of the search.
        quiet: no progress bar.

    Raises:
        ConvergenceError: no posterior was found, in a search of the whole prior either.
        InputError: no parameters explain any of the stars.
    """
    key_exact, key_draws = jax.random.split(key)
    (npe, forward), stars = networks, check_stars(stars)
    if start is None:
        start = searched_guess(npe, forward, stars)
    result = exact_of_stars(key_exact, npe, forward, stars, start, quiet=quiet)
    require_converged(result)
    latent = draw_from_grid(key_draws, result.grid, n_draws)
    checks: GalaxyChecks = {"ess": float(n_draws), **result.checks}
    posterior = to_posterior("exact", npe, latent, result.grid, checks)
    return Guided(posterior, result)


@in_float32
def joint_draws(key: Key[Array, ""], networks: Networks, guided: Guided) -> JointDraws:
    """Draws of the used stars from the joint posterior of galaxy and stars."""
    return draw_stars(key, guided.exact, networks.npe, networks.forward)


@in_float32
def check_guided_fit(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    guided: Guided,
    draws: JointDraws,
) -> Misfit:
    """`check_fit` with draws of the joint posterior.

    Args:
        key: determines the stars of the model and their draws.
        networks: guide and forward model.
        stars: those that the posterior used.
        guided: the posterior.
        draws: `joint_draws` of these stars.
    """
    key_model, key_draws = jax.random.split(key)
    model, _ = model_stars(key_model, networks, stars, guided.posterior)
    if model is None:
        return outside_all(stars)
    model = model.take(slice(N_REFERENCE))
    npe, forward = networks
    reference = draw_other_stars(key_draws, guided.exact, npe, forward, model)
    return misfit_test(
        mean_residuals(stars.values, draws.predicted),
        mean_residuals(model.values, reference.predicted),
        (stars.errors, model.errors),
        stars.abundances,
    )


def guided_halves(
    key: Key[Array, ""], networks: Networks, stars: Stars
) -> Halves | None:
    """Even rows against odd rows; None for fewer than four stars.

    Raises:
        ConvergenceError: a half has no posterior.
    """
    if len(stars.values) < MIN_HALVED:
        return None
    one, two = (
        infer_guided(
            key,  # key reuse: common random numbers, so that only the stars differ
            networks,
            stars.take(slice(i, None, 2)),
        ).posterior
        for i in (0, 1)
    )
    return halves_of(one, two)


def guided_prefixes(
    key: Key[Array, ""], networks: Networks, stars: Stars, galaxy: GalaxyPosterior
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of random stars 1, 10, ..., means and widths; the last is the result.

    A number of stars whose posterior does not converge has NaN, a gap in the figure.
    """
    n = len(stars.values)
    key_order, key_infer = jax.random.split(key)
    order = host_generator(key_order).permutation(n)
    stars = stars.take(order)  # a table may be sorted
    numbers = [10**i for i in range(7) if 10**i < n]
    each = [
        _moments_of_first(key_infer, networks, stars, k)  # key reuse: common numbers
        for k in numbers
    ]
    each.append((np.asarray(galaxy.mean), np.asarray(galaxy.sd)))
    means, sds = np.array([m for m, _ in each]), np.array([s for _, s in each])
    return np.array([*numbers, n]), means, sds


def _moments_of_first(
    key: Key[Array, ""], networks: Networks, stars: Stars, n: int
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and width of the first `n` stars; NaN without a posterior."""
    try:
        found = infer_guided(key, networks, stars.take(slice(n))).posterior
    except InputError:
        return np.full(N_GLOBAL, np.nan), np.full(N_GLOBAL, np.nan)
    return np.asarray(found.mean), np.asarray(found.sd)
