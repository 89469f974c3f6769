"""Does the model fit the stars; do methods, halves and abundances agree?"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL
from chemsbi_jax.diagnostics.misfit import (
    N_REFERENCE,
    Misfit,
    misfit_test,
    star_residuals,
)
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.infer import infer_galaxy
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.galaxy.single_stars import sample_stars
from chemsbi_jax.npe.noise import observe_like
from chemsbi_jax.types import AMORTISED, GalaxyPosterior, Stars

N_CHECK_DRAWS = 64  # draws of each star, for the checks in abundance space
AGREE_SIGMA, AGREE_WIDTH = 2.0, 0.2  # methods that differ by more do not agree
STABLE_SIGMA = 3.0  # halves of the table that differ by more are not stable
MIN_HALVED = 4  # stars; fewer are not divided into halves


class ModelFit(NamedTuple):
    """Whether the model explains the stars."""

    flagged: bool  # True: it does not
    p_value: float  # that a galaxy of the model differs at least as much
    text: str  # the same as a sentence
    mean_residual_dex: dict[str, float]  # abundance -> observed less expected [dex]


class Agreement(NamedTuple):
    """Another method beside the result, in units of the result's own width."""

    other: str  # name of the other method
    shift_sigma: list[float]  # of the two means
    width_ratio: list[float]  # other standard deviation / that of the result
    guarded_stars: int  # stars whose Gaussian is wider than the prior
    weak_stars: int  # stars that the other method excludes
    agree: bool


class Halves(NamedTuple):
    """Even rows of the table against odd rows."""

    shift_sigma: list[float]  # of the two means, in units of their error
    distance: float  # Mahalanobis distance of the two means
    stable: bool


class LeaveOut(NamedTuple):
    """Change of the result without each abundance."""

    n_stars: int  # stars of the test; 0: no parameters explain them
    shift_sigma: dict[
        str, list[float]
    ]  # abundance -> shifts in sigma of the result without it


def check_fit(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    draws: Float[Array, "star draw param"],
    galaxy: GalaxyPosterior,
) -> Misfit:
    """Compare the stars with model stars at the inferred parameters.

    Args:
        key: decides the model stars and their draws.
        networks: posterior network and forward model.
        stars: the observed stars.
        draws: `sample_stars` of them, at least `N_CHECK_DRAWS` each.
        galaxy: the posterior, of which the mean is used.
    """
    npe, forward = networks
    key_theta, key_noise, key_draws, key_rows = jax.random.split(key, 4)
    theta = priors.sample(key_theta, npe.prior, N_REFERENCE)
    theta = theta.at[:, :N_GLOBAL].set(jnp.asarray(galaxy.mean))
    clean = forward(theta)
    good = np.asarray(jnp.isfinite(clean).all(axis=-1))
    if not good.any():  # the inferred parameters lie outside the model
        return misfit_test(stars.values, np.empty((0, len(ABUNDANCES))))
    rows = np.random.default_rng(np.asarray(jax.random.key_data(key_rows)))
    rows = rows.integers(len(stars.values), size=good.sum())
    table = stars.take(rows)
    model = observe_like(key_noise, table, theta[good], clean[good])
    model_draws = sample_stars(key_draws, npe, model, N_CHECK_DRAWS)
    residuals = jax.jit(star_residuals)
    return misfit_test(
        residuals(jnp.asarray(stars.values), draws[:, :N_CHECK_DRAWS], forward),
        residuals(jnp.asarray(model.values), model_draws, forward),
        (stars.errors, model.errors),
    )


def describe_fit(misfit: Misfit) -> ModelFit:
    """The result of `check_fit` as summary.json has it."""
    each = zip(ABUNDANCES, misfit.mean_residual, strict=True)
    residuals = {name: float(dex) for name, dex in each if np.isfinite(dex)}
    return ModelFit(misfit.is_flagged, misfit.p_value, misfit.text, residuals)


def compare(galaxy: GalaxyPosterior, other: GalaxyPosterior) -> Agreement:
    """Difference of two methods, in units of the first one's width."""
    shift = (np.asarray(other.mean) - galaxy.mean) / galaxy.sd
    ratio = other.sd / galaxy.sd
    n_weak = other.checks.get("weak_stars", 0)
    # a method that excludes weak stars has less information than one that does not:
    # it may be wider, and farther away
    has_less = n_weak > 0 and galaxy.method not in AMORTISED
    unit = np.maximum(ratio, 1.0) if has_less else 1.0
    is_near = (np.abs(shift) < AGREE_SIGMA * unit).all()
    is_alike = (np.abs(ratio / unit - 1.0) < AGREE_WIDTH).all()
    guarded = (other.checks.get("guarded_stars"), galaxy.checks.get("guarded_stars"))
    return Agreement(
        other=other.method,
        shift_sigma=shift.tolist(),
        width_ratio=ratio.tolist(),
        guarded_stars=guarded[0] or guarded[1] or 0,
        weak_stars=n_weak,
        agree=bool(is_near and is_alike),
    )


def compare_halves(
    key: Key[Array, ""], networks: Networks, stars: Stars
) -> Halves | None:
    """Even rows against odd rows, by the flow.

    None for fewer than four stars, and where a half has only stars that the flow
    excludes: it would agree with everything.
    """
    if len(stars.values) < MIN_HALVED:
        return None
    npe, forward = networks
    halves = [stars.take(slice(i, None, 2)) for i in (0, 1)]
    # the same key: common random numbers, so that only the stars differ
    one, two = (infer_galaxy(key, npe, half, forward=forward) for half in halves)
    pairs = zip((one, two), halves, strict=True)
    if any(g.checks["weak_stars"] == len(half.values) for g, half in pairs):
        return None
    shift = np.asarray(one.mean) - two.mean
    covariance = np.asarray(one.covariance) + two.covariance
    distance = float(np.sqrt(shift @ np.linalg.solve(covariance, shift)))
    sd = np.sqrt(np.diag(covariance))
    return Halves((shift / sd).tolist(), distance, distance < STABLE_SIGMA)


def leave_out(
    key: Key[Array, ""], networks: Networks, stars: Stars, n_stars: int
) -> LeaveOut:
    """Change of the exact result without each abundance, in sigma of the changed one.

    An abundance that moves the result by many sigma is one that the model does not
    reproduce together with the others.

    Args:
        key: decides the draws; the same for all, so that only the abundances differ.
        networks: posterior network and forward model.
        stars: of which the first `n_stars` are used.
        n_stars: number of stars.
    """
    some, shifts = stars.take(slice(n_stars)), {}

    def infer(some: Stars) -> GalaxyPosterior:
        return infer_galaxy(key, networks.npe, some, "exact", forward=networks.forward)

    try:
        full = infer(some)
    except InputError:  # no parameters explain these rows
        return LeaveOut(0, shifts)
    for i, name in enumerate(ABUNDANCES):
        observed = some.observed.copy()
        observed[:, i] = False
        if not observed.any() or (observed == some.observed).all():
            continue
        found = infer(some._replace(observed=observed))
        shifts[name] = ((np.asarray(found.mean) - full.mean) / found.sd).tolist()
    return LeaveOut(len(some.values), shifts)
