"""Result of one yield set for the stars: posterior, evidence, left-out data, misfit."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Int, Key

from chemsbi_jax.diagnostics.misfit import Misfit
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.exact.evidence import LogEvidence, log_evidence
from chemsbi_jax.galaxy.exact.start import laplace_log_evidence, searched_guess
from chemsbi_jax.galaxy.guided import (
    Guided,
    check_guided_fit,
    infer_guided,
    joint_draws,
)
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.types import GalaxyPosterior, Stars

MIN_LEFT = 1  # abundances that a star keeps when one is left out
GUESS_WIDER = 1.5  # factor of the widths: an abundance less widens a posterior


class SetFit(NamedTuple):
    """The fit of one yield set to the stars."""

    posterior: GalaxyPosterior
    is_used: Bool[np.ndarray, " star"]  # False: no parameters explain the star
    evidence: LogEvidence  # of the used stars
    misfit: Misfit
    # abundance -> log predictive density of its values given all others, a star [nat]
    left_out_element: dict[str, float]


class RoughFit(NamedTuple):
    """The fit of one yield set by Laplace's method."""

    guess: GalaxyPosterior  # `start` of `infer_guided`, which else searches for it
    ln_z: float  # of all stars; natural log


@in_float32
def fit_set(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    rows: Int[np.ndarray, " row"],
    quiet: bool = True,
) -> SetFit:
    """Fit one yield set.

    Args:
        key: determines all draws.
        networks: guide, and forward model of the set.
        stars: checked.
        rows: stars that the abundances are left out of, in turn.
        quiet: no progress bar.

    Raises:
        ConvergenceError: the exact method found no posterior.
        InputError: no parameters explain any of the stars.
    """
    keys = dict(
        zip(
            ("infer", "evidence", "draws", "fit", "elements"),
            jax.random.split(key, 5),
            strict=True,
        )
    )
    guided = infer_guided(keys["infer"], networks, stars, quiet=quiet)
    evidence = evidence_of(keys["evidence"], networks, guided)
    is_used = guided.exact.is_used
    draws = joint_draws(keys["draws"], networks, guided)
    used = stars.take(is_used)
    misfit = check_guided_fit(keys["fit"], networks, used, guided, draws)
    start = guess_from(guided.posterior, len(stars.values) / max(len(rows), 1))
    some = stars.take(rows)
    elements = leave_out_elements(keys["elements"], networks, some, start)
    return SetFit(guided.posterior, is_used, evidence, misfit, elements)


@in_float32
def rough_fit(networks: Networks, stars: Stars) -> RoughFit:
    """Place and ln Z of a set by Laplace's method, without draws.

    Args:
        networks: guide, of which only the prior counts, and forward model of the set.
        stars: any; they are checked.
    """
    (npe, forward), stars = networks, check_stars(stars)
    guess = searched_guess(npe, forward, stars)
    return RoughFit(guess, laplace_log_evidence(npe, forward, stars, guess))


@in_float32
def evidence_of(key: Key[Array, ""], networks: Networks, guided: Guided) -> LogEvidence:
    """`log_evidence` of a posterior by `infer_guided`."""
    return log_evidence(key, guided.exact, networks.npe, networks.forward)


def leave_out_elements(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    start: GalaxyPosterior | None = None,
) -> dict[str, float]:
    """Log predictive density of each abundance, given the others of the same stars.

    It is the difference of ln Z with and without the abundance, over the number of
    stars that have it. Stars that the set explains in no case do not count.

    Args:
        key: determines all draws.
        networks: guide and forward model.
        stars: checked.
        start: first guess of all these posteriors; None searches the prior each time.

    Returns:
        Abundance -> natural log of the density [1/dex], mean over stars; NaN where
        the exact method found no posterior.
    """
    key_infer, key_evidence = jax.random.split(key)
    keys = key_infer, key_evidence  # the same for all: only the abundances differ

    def fit(some: Stars) -> tuple[Guided, LogEvidence]:
        guided = infer_guided(keys[0], networks, some, start=start)
        return guided, evidence_of(keys[1], networks, guided)

    several = stars.observed.sum(axis=1) > MIN_LEFT
    stars, found = stars.take(several), {}
    if not several.any():
        return {}
    try:
        guided, full = fit(stars)
        if not guided.exact.is_used.all():
            stars = stars.take(guided.exact.is_used)
            guided, full = fit(stars)
    except InputError:  # this subset has no posterior
        return {}
    for i, name in enumerate(stars.abundances):
        n = int(stars.observed[:, i].sum())
        if n == 0:
            continue
        found[name] = _difference(fit, _without(stars, i), full, n)
    return found


def guess_from(posterior: GalaxyPosterior, ratio: float) -> GalaxyPosterior:
    """First guess of the posterior of a part of the stars, or without an abundance.

    A search of the whole prior would take most of the time of such a fit.

    Args:
        posterior: of all stars.
        ratio: number of all stars over that of the part.
    """
    covariance = posterior.covariance * ratio * GUESS_WIDER**2
    return posterior._replace(method="guess", covariance=covariance)


def _difference(
    fit: Callable[[Stars], tuple[Guided, LogEvidence]],
    stars: Stars,
    full: LogEvidence,
    n: int,
) -> float:
    try:
        guided, without = fit(stars)
    except InputError:
        return float("nan")
    if not guided.exact.is_used.all():  # other stars: no difference of the same data
        return float("nan")
    return (full.value - without.value) / n


def _without(stars: Stars, i: int) -> Stars:
    observed = stars.observed.copy()
    observed[:, i] = False
    return stars._replace(
        observed=observed,
        values=np.where(observed, stars.values, np.nan),
        errors=np.where(observed, stars.errors, np.nan),
    )
