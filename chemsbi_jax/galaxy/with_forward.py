"""Methods of `infer_galaxy` that need the forward model."""

import jax
from jaxtyping import Array, Key

from chemsbi_jax.errors import ConvergenceError, InputError
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.exact.posterior import require_converged
from chemsbi_jax.galaxy.exact.robust import robust_posterior
from chemsbi_jax.galaxy.exact.start import exact_of_stars
from chemsbi_jax.galaxy.grid import draw_from_grid
from chemsbi_jax.galaxy.hierarchical import hierarchical_posterior, load_shared_network
from chemsbi_jax.galaxy.hierarchical.same_model import factor_forward, is_same_prior
from chemsbi_jax.galaxy.result import to_posterior
from chemsbi_jax.galaxy.star_checks import check_stars, require_columns
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import Forward, GalaxyChecks, GalaxyPosterior, Stars

N_GALAXY_DRAWS = 4000


@in_float32
def infer_exact(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    forward: Forward | None,
    n_draws: int = N_GALAXY_DRAWS,
    quiet: bool = True,
    start: GalaxyPosterior | None = None,
) -> GalaxyPosterior:
    """`infer_galaxy` by "exact".

    Args:
        key: determines the draws.
        npe: the network.
        stars: the stars.
        forward: the model of the likelihood.
        n_draws: draws from the result.
        quiet: no progress bar.
        start: a first estimate; None makes one by the flow.
    """
    key_exact, key_draws = jax.random.split(key)
    stars = check_stars(stars)
    forward = _required(forward, "exact", stars)
    result = exact_of_stars(key_exact, npe, forward, stars, start, quiet=quiet)
    require_converged(result)
    latent = draw_from_grid(key_draws, result.grid, n_draws)
    checks: GalaxyChecks = {"ess": float(n_draws), **result.checks}
    return to_posterior("exact", npe, latent, result.grid, checks)


def infer_robust(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    forward: Forward | None,
    n_draws: int,
    quiet: bool,
) -> GalaxyPosterior:
    """`infer_galaxy` by "robust"."""
    key_exact, key_robust, key_draws = jax.random.split(key, 3)
    forward = _required(forward, "robust", stars)
    first = exact_of_stars(key_exact, npe, forward, stars, quiet=quiet)
    found = robust_posterior(key_robust, npe, forward, first)
    result = found.exact
    require_converged(result)
    latent = draw_from_grid(key_draws, result.grid, n_draws)
    sizes = zip(stars.abundances, found.model_error.tolist(), strict=True)
    checks: GalaxyChecks = {
        "ess": float(n_draws),
        **result.checks,
        # those that the first pass left out, by their row in the table
        "left_out": first.checks["left_out"],
        "model_error_dex": dict(sizes),
    }
    return to_posterior("robust", npe, latent, result.grid, checks)


@in_float32
def infer_hierarchical(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    forward: Forward | None,
    n_draws: int,
    quiet: bool,
) -> GalaxyPosterior:
    """`infer_galaxy` by "hierarchical"; of `npe`, the prior alone counts."""
    yields = factor_forward(_required(forward, "hierarchical", stars))
    if yields is None:
        raise InputError(
            "Expected, for method 'hierarchical', the forward model of the network of "
            "shared errors: Partial(cs.emulate, emulator=cs.load_emulator('tng')); got "
            "another model, which has no yield factors."
        )
    trained = load_shared_network()
    if not is_same_prior(npe.prior, trained.prior):
        raise InputError(
            "Expected, for method 'hierarchical', a network with the prior of the "
            "network of shared errors, such as cs.load_npe(); got another prior."
        )
    how = {"n_draws": n_draws, "quiet": quiet}
    found = hierarchical_posterior(key, trained, yields, stars, **how)
    if not found.is_converged:
        raise ConvergenceError(found.why_not())
    return found.posterior


def _required(forward: Forward | None, method: str, stars: Stars) -> Forward:
    """The forward model, which must give the columns of the stars."""
    if forward is None:
        raise ValueError(
            f"Method {method!r} needs the forward model: give `forward`, a function "
            "from theta to abundances such as the emulator."
        )
    require_columns(forward, stars)
    return forward
