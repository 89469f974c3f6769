r"""Many stars, one posterior: the product of the stars with the prior divided out.

:math:`\log p(\Lambda|D_{1..N}) = \sum_i \log p(\Lambda|D_i) - (N-1) \log p(\Lambda)`.

Everything here happens in latents in which the prior of Lambda is a standard normal.
"""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.galaxy.amortised.stream import stream_galaxy as stream_galaxy
from chemsbi_jax.galaxy.amortised.table import (
    StarTable,
    multiply_flows,
    multiply_gaussians,
    prepare_table,
    product_of,
    score_of,
)
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.galaxy.width import require_width
from chemsbi_jax.galaxy.with_forward import (
    N_GALAXY_DRAWS,
    infer_hierarchical,
    infer_robust,
)
from chemsbi_jax.galaxy.with_forward import infer_exact as infer_exact
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.options import Limits
from chemsbi_jax.types import (
    AMORTISED,
    AnyArray,
    Forward,
    GalaxyPosterior,
    Stars,
)

STREAM_FROM = Limits().stream_from  # stars; more do not fit in the memory at once


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
        key: determines the draws.
        npe: `load_npe` or `train_npe`.
        stars: `read_stars`; what `npe` can read (any, or all eight with one error).
        method: "flow" multiplies the exact densities of the network on a grid;
            "gaussian" multiplies Gaussians fitted to draws of each star; "exact" takes
            the flow only as a guide and integrates the likelihood of `forward`;
            "robust" also gives each abundance a model error whose size is estimated
            from the stars; "hierarchical" adds the errors that all stars share, with
            their default priors, and is the second interval of `infer`. Stars that are
            too uninformative for a network (`find_uninformative`) are excluded from the
            first two.
        n_draws: draws from the result.
        forward: theta (..., 6) -> abundances [dex], for all but the first two; for
            "hierarchical" the shipped emulator of the yields "tng". With it,
            "flow" measures and subtracts its own mean error (`mean_score`). Otherwise
            this error adds up to a few tenths of sigma at 1000 stars.
        quiet: no progress bar of these two, and of more than `STREAM_FROM` stars, which
            go through `stream_galaxy`.

    Raises:
        ValueError: unknown method, or one that lacks `forward`.
        CatalogError: a star can't be used (`check_stars`), or the network is for one
            error, and a star has another or gaps.
        ConvergenceError: "exact" or "robust" did not converge, or the stars are unlike
            those of galaxies of the model with shared errors.
        InputError: "hierarchical" has no network for this model or prior.
        WidthError: the posterior is narrower than the errors of the stars allow.
    """
    posterior = infer_of_any_width(
        key, npe, stars, method, n_draws, forward=forward, quiet=quiet
    )
    require_width(posterior, npe.prior, stars)
    return posterior


@in_float32
def infer_of_any_width(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    method: str = "flow",
    n_draws: int = N_GALAXY_DRAWS,
    *,
    forward: Forward | None = None,
    quiet: bool = True,
) -> GalaxyPosterior:
    """`infer_galaxy` without the check of the width, for comparisons of methods."""
    stars = check_stars(stars)
    if method not in METHODS:
        known = " or ".join(METHODS)
        raise ValueError(f"Expected method {known}; got {method!r}.")
    if method in AMORTISED and len(stars.values) > STREAM_FROM:
        return stream_galaxy(
            key, npe, stars, method, n_draws, forward=forward, quiet=quiet
        )
    return METHODS[method](key, npe, stars, forward, n_draws, quiet)


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
    key_stars, key_each = jax.random.split(key)
    table = prepare(key_stars, npe, stars)
    return prefixes_of_table(key_each, npe, table, method, forward)


@in_float32
def prepare(key: Key[Array, ""], npe: Npe, stars: Stars) -> StarTable:
    """`prepare_table` of stars that are checked here."""
    return prepare_table(key, npe, check_stars(stars))


@in_float32
def prefixes_of_table(
    key: Key[Array, ""],
    npe: Npe,
    table: StarTable,
    method: str = "flow",
    forward: Forward | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """`infer_prefixes` of a prepared table.

    The mean score of the flow is that of all stars, whose estimate is the best one.
    """
    key_model, key_each = jax.random.split(key)
    steps = [a * 10**b for b in range(7) for a in (1, 2, 5)]
    numbers = np.array([n for n in steps if n < table.n_stars] + [table.n_stars])
    score = None
    if method == "flow" and forward is not None:
        score = score_of(key_model, npe, table, forward, product_of(table))
    parts = [table.first(int(n)) for n in numbers]
    each = [
        _multiply(key_each, npe, part, method, score=score)  # key reuse: all prefixes
        for part in parts
    ]
    return numbers, np.array([g.mean for g in each]), np.array([g.sd for g in each])


@in_float32
def infer_table(
    key: Key[Array, ""],
    npe: Npe,
    table: StarTable,
    method: str = "flow",
    *,
    forward: Forward | None = None,
    n_draws: int = N_GALAXY_DRAWS,
) -> GalaxyPosterior:
    """`infer_galaxy` by "flow" or "gaussian" of a prepared table, or of a part."""
    return _multiply(key, npe, table, method, forward, n_draws)


def _multiply(
    key: Key[Array, ""],
    npe: Npe,
    table: StarTable,
    method: str,
    forward: Forward | None = None,
    n_draws: int = N_GALAXY_DRAWS,
    score: Float[AnyArray, " 2"] | None = None,
) -> GalaxyPosterior:
    if method == "gaussian":
        return multiply_gaussians(key, npe, table, n_draws)
    return multiply_flows(key, npe, table, n_draws, forward, score)


def _infer_amortised(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    forward: Forward | None,
    n_draws: int,
    method: str,
) -> GalaxyPosterior:
    key_stars, key_rest = jax.random.split(key)
    table = prepare_table(key_stars, npe, stars)
    return _multiply(key_rest, npe, table, method, forward, n_draws)


def _infer_gaussian(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    forward: Forward | None,
    n_draws: int,
    quiet: bool,
) -> GalaxyPosterior:
    return _infer_amortised(key, npe, stars, None, n_draws, "gaussian")


def _infer_flow(
    key: Key[Array, ""],
    npe: Npe,
    stars: Stars,
    forward: Forward | None,
    n_draws: int,
    quiet: bool,
) -> GalaxyPosterior:
    return _infer_amortised(key, npe, stars, forward, n_draws, "flow")


METHODS: dict[str, Callable[..., GalaxyPosterior]] = {
    "flow": _infer_flow,
    "gaussian": _infer_gaussian,
    "exact": infer_exact,
    "robust": infer_robust,
    "hierarchical": infer_hierarchical,
}
"""Method -> function of (key, npe, checked stars, forward, n_draws, quiet)."""
