r"""Many stars, one posterior: the product of the stars with the prior divided out.

:math:`\log p(\Lambda|D_{1..N}) = \sum_i \log p(\Lambda|D_i) - (N-1) \log p(\Lambda)`.

Everything here happens in latents in which the prior of Lambda is a standard normal.
"""

from collections.abc import Callable
from functools import cache

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.stats import norm
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.catalog import require_complete
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.devices import spread
from chemsbi_jax.galaxy.exact import Exact, exact_posterior
from chemsbi_jax.galaxy.gaussian import GaussianProduct, combine_gaussians
from chemsbi_jax.galaxy.grid import GridPosterior, draw_from_grid, zoom_in
from chemsbi_jax.galaxy.likelihood import observe
from chemsbi_jax.npe.model import (
    Npe,
    features,
    sample_global_latents,
    sample_latents,
    star_keys,
)
from chemsbi_jax.types import Forward, GalaxyPosterior, Stars

N_STAR_DRAWS = 1000  # of each star, for the Gaussian method
N_GALAXY_DRAWS = 4000
SEARCH = 10.0  # the flow method looks this many times wider than the Gaussian one
BLOCK = 32  # stars at a time: their arrays stay in the cache


def sample_stars(
    key: Key[Array, ""], npe: Npe, stars: Stars, n_draws: int = 1000
) -> Float[Array, "star draw param"]:
    """Draws from the posterior of each star, in one jitted call.

    Args:
        key: the draws of a star depend on it and on the star's row alone.
        npe: `load_npe` or `train_npe`.
        stars: `read_stars`; all eight abundances, with the errors of the training.
        n_draws: draws a star.

    Returns:
        (n_stars, n_draws, 6) theta in the order of `PARAMETERS`.

    Raises:
        CatalogError: a star lacks an abundance, or has other errors than the training.
    """
    values, _ = _padded_values(npe, stars)
    keys = _keys(key, len(values))
    draws = _on_all_devices(_sample)((keys, values), npe, n_draws)
    return draws[: len(stars.values)]


def _sample(stars: tuple[Key[Array, " star"], Array], npe: Npe, n_draws: int) -> Array:
    keys, values = stars
    draws = sample_latents(keys, npe, values, n_draws)
    return priors.from_normal(npe.prior, draws)


# at the first call, as JAX starts with it: a script may still ask for all cores before
_on_all_devices = cache(spread)
_keys = jax.jit(star_keys, static_argnums=1)


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
        stars: `read_stars`; all eight abundances, with the errors of the training.
        method: "flow" multiplies the exact densities of the network on a grid;
            "gaussian" multiplies Gaussians fitted to draws of each star; "exact" takes
            the flow only as a guide and integrates the likelihood of `forward`.
        n_draws: draws from the result.
        forward: theta (..., 6) -> abundances [dex], for "exact".
        quiet: no progress bar of "exact".

    Raises:
        ValueError: unknown method, or "exact" without `forward`.
        CatalogError: a star lacks an abundance, or has other errors than the training.
    """
    if method == "exact":
        return _infer_exact(key, npe, stars, forward, n_draws, quiet)
    if method not in METHODS:
        known = " or ".join([*METHODS, "exact"])
        raise ValueError(f"Expected method {known}; got {method!r}.")
    values, counts = _padded_values(npe, stars)
    return METHODS[method](key, npe, values, counts, n_draws)


def infer_prefixes(
    key: Key[Array, ""], npe: Npe, stars: Stars, method: str = "flow"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The posterior of the first 1, 2, 5, 10, ... stars of the table.

    Returns:
        Numbers of stars (k,), means (k, 2) and standard deviations (k, 2).
    """
    values, _ = _padded_values(npe, stars)
    n_stars = len(stars.values)
    steps = [a * 10**b for b in range(7) for a in (1, 2, 5)]
    numbers = np.array([n for n in steps if n < n_stars] + [n_stars])
    each = [
        METHODS[method](key, npe, values, jnp.arange(len(values)) < n, 2)
        for n in numbers
    ]
    sds = np.array([np.sqrt(np.diag(g.covariance)) for g in each])
    return numbers, np.array([g.mean for g in each]), sds


def _infer_gaussian(key, npe, values, counts, n_draws) -> GalaxyPosterior:
    key_stars, key_draws = jax.random.split(key)
    product = gaussian_product(key_stars, npe, values, counts)
    latent = (
        product.mean
        + jax.random.normal(key_draws, (n_draws, N_GLOBAL))
        @ jnp.linalg.cholesky(product.covariance).T
    )
    checks = {"guarded_stars": int(product.is_guarded.sum())}
    return _to_posterior("gaussian", npe, latent, product, checks)


def _infer_flow(key, npe, values, counts, n_draws) -> GalaxyPosterior:
    key_guess, key_draws = jax.random.split(key)
    guess = gaussian_product(key_guess, npe, values, counts)
    grid = grid_posterior(npe, values, counts, guess)
    latent = draw_from_grid(key_draws, grid, n_draws)
    weights = np.exp(np.asarray(grid.log_weights, float))
    edge = np.concatenate([weights[[0, -1]].ravel(), weights[:, [0, -1]].ravel()])
    checks = {
        "ess": float(n_draws),  # the draws are independent
        "grid_points": float(weights.sum() ** 2 / (weights**2).sum()),
        "mass_at_edge": float(edge.sum() / weights.sum()),
    }
    return _to_posterior("flow", npe, latent, grid, checks)


def _infer_exact(key, npe, stars, forward, n_draws, quiet) -> GalaxyPosterior:
    if forward is None:
        raise ValueError(
            "Method 'exact' needs the forward model: give `forward`, a function from "
            "theta to abundances such as the emulator."
        )
    key_exact, key_draws = jax.random.split(key)
    result = exact_of_stars(key_exact, npe, forward, stars, quiet=quiet)
    latent = draw_from_grid(key_draws, result.grid, n_draws)
    checks = {"ess": float(n_draws), **result.checks}
    return _to_posterior("exact", npe, latent, result.grid, checks)


def exact_of_stars(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    stars: Stars,
    start: GalaxyPosterior | None = None,
    *,
    quiet: bool = True,
) -> Exact:
    """`exact_posterior` of a star table, from the flow's answer or another first guess.

    Gaps, any errors and birth times count in the likelihood; the flow, which only
    guides, sees its training's mean in the gaps.
    """
    values = jnp.where(stars.observed, stars.values, npe.feature_mean)
    values = values.astype(jnp.float32)
    if start is None:
        padded, counts = _pad(npe, np.asarray(values))
        guess = grid_posterior(
            npe, padded, counts, gaussian_product(key, npe, padded, counts)
        )
        mean, covariance = guess.mean, guess.covariance
    else:
        scale = np.array([float(d.variance) ** 0.5 for d in npe.prior[:N_GLOBAL]])
        centre = np.array([float(d.mean) for d in npe.prior[:N_GLOBAL]])
        mean = (np.asarray(start.mean) - centre) / scale
        covariance = np.asarray(start.covariance) / np.outer(scale, scale)
    observed = jax.tree.map(lambda x: x.astype(jnp.float32), observe(stars))
    seen = features(npe, values).T
    return exact_posterior(
        key, npe, forward, observed, seen, mean, covariance, quiet=quiet
    )


METHODS: dict[str, Callable] = {"flow": _infer_flow, "gaussian": _infer_gaussian}


def gaussian_product(
    key: Key[Array, ""],
    npe: Npe,
    values: Float[Array, "star element"],
    counts: Bool[Array, " star"],
) -> GaussianProduct:
    """Gaussian method in latents; rows that don't count are padding."""
    stars = (_keys(key, len(values)), values)
    means, covariances = _on_all_devices(_moments)(stars, npe)
    zero, one = jnp.zeros(N_GLOBAL), jnp.eye(N_GLOBAL)
    return _combine(means, covariances, zero, one, counts)


def _moments(stars: tuple[Key[Array, " star"], Array], npe: Npe) -> tuple[Array, Array]:
    """Mean and covariance of the global latents of each star."""
    keys, values = stars
    draws = sample_global_latents(keys, npe, values, N_STAR_DRAWS)
    means = draws.mean(axis=1)
    centred = draws - means[:, None]
    return means, jnp.einsum("nda,ndb->nab", centred, centred) / (N_STAR_DRAWS - 1)


_combine = jax.jit(combine_gaussians)


@eqx.filter_jit
def grid_posterior(
    npe: Npe,
    values: Float[Array, "star element"],
    counts: Bool[Array, " star"],
    guess: GaussianProduct,
) -> GridPosterior:
    """Flow method in latents: the product of the densities on a grid.

    The search starts around the Gaussian answer, ten times wider, but not wider than
    the prior: far from every star a network's density means nothing.
    """
    prior = jnp.eye(N_GLOBAL)
    wide = jnp.linalg.inv(prior + jnp.linalg.inv(SEARCH**2 * guess.covariance))
    rows = jax.tree.map(lambda x: x.reshape(-1, BLOCK, *x.shape[1:]), (values, counts))

    def log_density(first: Array, second: Array) -> Array:
        prior = norm.logpdf(first)[:, None] + norm.logpdf(second)

        def block(total: Array, rows: tuple[Array, Array]) -> tuple[Array, None]:
            gain = jax.vmap(lambda v: _on_columns(npe, v, first, second))(rows[0])
            gain = jnp.where(rows[1][:, None, None], gain - prior, 0.0)
            return total + jnp.sum(gain, axis=0), None

        return lax.scan(block, prior, rows)[0]

    return zoom_in(log_density, guess.mean, wide)


def _on_columns(npe: Npe, values: Array, first: Array, second: Array) -> Array:
    return npe.galaxy_flow.given(features(npe, values)).log_prob_columns(first, second)


def _to_posterior(
    method: str,
    npe: Npe,
    latent: Array,
    result: GaussianProduct | GridPosterior,
    checks,
) -> GalaxyPosterior:
    """From latents to theta; exact where the prior of Lambda is normal."""
    prior = tuple(npe.prior)[:N_GLOBAL]
    draws = np.asarray(priors.from_normal(prior, latent))
    if all(priors.is_normal(d) for d in prior):
        scale = np.array([d.scale for d in prior], float)
        shift = np.array([d.loc for d in prior], float)
        mean = shift + scale * np.asarray(result.mean, float)
        covariance = np.outer(scale, scale) * np.asarray(result.covariance, float)
    else:
        mean, covariance = draws.mean(axis=0), np.cov(draws, rowvar=False)
    return GalaxyPosterior(method, draws, mean, covariance, checks)


def _padded_values(npe: Npe, stars: Stars) -> tuple[Array, Array]:
    """Abundances padded to a few fixed lengths, so that no new N traces again."""
    require_complete(stars, sigma=float(npe.sigma))
    return _pad(npe, stars.values)


def _pad(npe: Npe, known: np.ndarray) -> tuple[Array, Array]:
    n = len(known)
    length = BLOCK * 2 ** max(0, int(np.ceil(np.log2(n / BLOCK))))
    values = np.repeat(np.asarray(npe.feature_mean)[None], length, axis=0)
    values[:n] = known
    return jnp.asarray(values), jnp.arange(length) < n
