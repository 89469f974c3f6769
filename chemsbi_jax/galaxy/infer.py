r"""Many stars, one posterior: the product of the stars with the prior divided out.

:math:`\log p(\Lambda|D_{1..N}) = \sum_i \log p(\Lambda|D_i) - (N-1) \log p(\Lambda)`.

Everything here happens in latents in which the prior of Lambda is a standard normal.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL
from chemsbi_jax.galaxy.amortised.product import (
    gaussian_product,
    grid_posterior,
)
from chemsbi_jax.galaxy.amortised.score_correction import mean_score
from chemsbi_jax.galaxy.amortised.stream import stream_galaxy as stream_galaxy
from chemsbi_jax.galaxy.amortised.uninformative import pad_and_count
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.exact.posterior import require_converged
from chemsbi_jax.galaxy.exact.robust import robust_posterior
from chemsbi_jax.galaxy.exact.start import exact_of_stars
from chemsbi_jax.galaxy.grid import draw_from_grid
from chemsbi_jax.galaxy.result import grid_checks, mean_error, to_posterior
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.stars import check_stars
from chemsbi_jax.types import Forward, GalaxyPosterior, Stars

N_GALAXY_DRAWS = 4000
STREAM_FROM = 20_000  # stars; more of them do not go through the memory at once


@in_float32
def infer_galaxy(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    method: str = "flow",
    n_draws: int = N_GALAXY_DRAWS,
    *,
    forward: Forward | None = None,
    quiet: bool = True,
) -> GalaxyPosterior:
    """Posterior of (alpha_imf, log10_n_ia) given all stars of a galaxy.

    Args:
        key: decides the draws.
        npe: `load_npe` or `train_npe`.
        stars: `read_stars`; what `npe` can read (any, or all eight with one error).
        method: "flow" multiplies the exact densities of the network on a grid;
            "gaussian" multiplies Gaussians fitted to draws of each star; "exact" takes
            the flow only as a guide and integrates the likelihood of `forward`;
            "robust" also gives each abundance a model error, as large as the stars
            ask for. Stars that tell too little for a network (`find_weak`) do not count
            in the first two.
        n_draws: draws from the result.
        forward: theta (..., 6) -> abundances [dex], for "exact" and "robust". "flow"
            takes its own mean error out with it (`centre`); without, that adds up to a
            few tenths of sigma at 1000 stars.
        quiet: no progress bar of these two, and of more than `STREAM_FROM` stars, which
            go through `stream_galaxy`.

    Raises:
        ValueError: unknown method, or one that lacks `forward`.
        CatalogError: a star can't be used (`check_stars`), or the network is for one
            error, and a star has another or gaps.
        ConvergenceError: "exact" or "robust" did not converge.
    """
    stars = check_stars(stars)
    if method in WITH_FORWARD:
        return _infer_exact(key, npe, stars, method, forward, n_draws, quiet)
    if method not in METHODS:
        known = " or ".join([*METHODS, *WITH_FORWARD])
        raise ValueError(f"Expected method {known}; got {method!r}.")
    if len(stars.values) > STREAM_FROM:
        return stream_galaxy(
            key, npe, stars, method, n_draws, forward=forward, quiet=quiet
        )
    inputs, counts = _padded_inputs(npe, stars)
    galaxy = METHODS[method](key, npe, inputs, counts, n_draws, forward)
    n_weak = len(stars.values) - int(counts.sum())
    return galaxy._replace(checks=galaxy.checks | {"weak_stars": n_weak})


@in_float32
def infer_prefixes(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    method: str = "flow",
    forward: Forward | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The posterior of the first 1, 2, 5, 10, ... stars; arguments as `infer_galaxy`.

    Returns:
        Numbers of stars (k,), means (k, 2) and standard deviations (k, 2).
    """
    stars = check_stars(stars)
    inputs, counts = _padded_inputs(npe, stars)
    n_stars = len(stars.values)
    steps = [a * 10**b for b in range(7) for a in (1, 2, 5)]
    numbers = np.array([n for n in steps if n < n_stars] + [n_stars])
    each = [
        METHODS[method](
            key, npe, inputs, counts & (jnp.arange(len(inputs)) < n), 2, forward
        )
        for n in numbers
    ]
    sds = np.array([np.sqrt(np.diag(g.covariance)) for g in each])
    return numbers, np.array([g.mean for g in each]), sds


def _infer_gaussian(key, npe, inputs, counts, n_draws, forward) -> GalaxyPosterior:
    key_stars, key_draws = jax.random.split(key)
    product = gaussian_product(key_stars, npe, inputs, counts)
    latent = (
        product.mean
        + jax.random.normal(key_draws, (n_draws, N_GLOBAL))
        @ jnp.linalg.cholesky(product.covariance).T
    )
    checks = {"guarded_stars": int(product.is_guarded.sum())}
    return to_posterior("gaussian", npe, latent, product, checks)


def _infer_flow(key, npe, inputs, counts, n_draws, forward) -> GalaxyPosterior:
    key_guess, key_draws = jax.random.split(key)
    guess = gaussian_product(key_guess, npe, inputs, counts)
    score = None
    if forward is not None:
        key_model = jax.random.fold_in(key, 2)
        score = mean_score(key_model, npe, forward, inputs, counts, guess)
    grid = grid_posterior(npe, inputs, counts, guess, score)
    checks = grid_checks(grid, n_draws) | mean_error(grid, score, counts.sum())
    latent = draw_from_grid(key_draws, grid, n_draws)
    return to_posterior("flow", npe, latent, grid, checks)


WITH_FORWARD = ("exact", "robust")


def _infer_exact(key, npe, stars, method, forward, n_draws, quiet) -> GalaxyPosterior:
    if forward is None:
        raise ValueError(
            f"Method {method!r} needs the forward model: give `forward`, a function "
            "from theta to abundances such as the emulator."
        )
    key_exact, key_robust, key_draws = jax.random.split(key, 3)
    result = exact_of_stars(key_exact, npe, forward, stars, quiet=quiet)
    checks = {}
    if method == "robust":
        left_out = result.checks["left_out"]
        found = robust_posterior(key_robust, npe, forward, result)
        result = found.exact
        sizes = found.model_error.tolist()
        checks["model_error_dex"] = dict(zip(ABUNDANCES, sizes, strict=True))
        # those that the first pass left out, by their row in the table
        result = result._replace(checks=result.checks | {"left_out": left_out})
    require_converged(result)
    latent = draw_from_grid(key_draws, result.grid, n_draws)
    checks = {"ess": float(n_draws), **result.checks, **checks}
    return to_posterior(method, npe, latent, result.grid, checks)


METHODS: dict[str, Callable] = {"flow": _infer_flow, "gaussian": _infer_gaussian}


def _padded_inputs(npe: Npe, stars: Stars) -> tuple[Array, Array]:
    """Inputs padded to a few fixed lengths, so that no new N traces again."""
    return pad_and_count(npe, npe.reader.inputs(stars))
