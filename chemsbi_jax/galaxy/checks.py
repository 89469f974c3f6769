"""Does the model fit the stars; do methods, halves and abundances agree?"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.diagnostics.misfit import (
    N_REFERENCE,
    Misfit,
    mean_residuals,
    misfit_test,
)
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.amortised.table import StarTable
from chemsbi_jax.galaxy.infer import infer_galaxy, infer_table
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.galaxy.rows import host_generator, random_rows
from chemsbi_jax.galaxy.single_stars import predict_stars
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.npe.noise import observe_like
from chemsbi_jax.types import AnyArray, Forward, GalaxyPosterior, Stars

N_FIRST_DRAWS = 1000  # draws of the first star, for its figure
N_CHECK_DRAWS = 64  # draws of each star, for the checks in abundance space
STABLE_SIGMA = 3.0  # halves of the table that differ by more are not stable
MIN_HALVED = 4  # stars; fewer are not divided into halves


class ModelFit(NamedTuple):
    """Whether the model explains the stars."""

    flagged: bool  # True: it does not
    p_value: float  # that a galaxy of the model differs at least as much
    text: str  # the same as a sentence
    mean_residual_dex: dict[str, float]  # abundance -> observed minus expected [dex]


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


class StarDraws(NamedTuple):
    """Posterior draws of each star (other yields: of all jointly), and predictions."""

    theta: Float[np.ndarray, "star draw param"]
    predicted: Float[np.ndarray, "star draw2 element"]  # dex, without noise
    of_first: Float[np.ndarray, "draw3 param"]  # many draws of the first star
    prior: Float[np.ndarray, "draw4 param"]  # of the prior


def check_fit(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    draws: Float[AnyArray, "star draw param"],
    galaxy: GalaxyPosterior,
) -> Misfit:
    """Compare the stars with model stars at the inferred parameters.

    Args:
        key: determines the model stars and their draws.
        networks: posterior network and forward model.
        stars: the observed stars.
        draws: `sample_stars` of them, at least `N_CHECK_DRAWS` each.
        galaxy: the posterior, of which the mean is used.
    """
    key_model, key_draws = jax.random.split(key)
    npe, forward = networks
    model, _ = model_stars(key_model, networks, stars, galaxy)
    if model is None:
        return outside_all(stars)
    n = N_CHECK_DRAWS
    predicted = np.asarray(_apply(forward, jnp.asarray(draws[:, :n])))
    of_model = predict_stars(key_draws, npe, forward, model, n, n)[1]
    return _compare_residuals(stars, predicted, model, of_model)


def sample_and_check(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    galaxy: GalaxyPosterior,
    n_draws: int,
) -> tuple[StarDraws, Misfit]:
    """`check_fit` with the draws of the stars, all from one compiled program.

    Args:
        key: determines the draws and the model stars.
        networks: posterior network and forward model.
        stars: the observed stars.
        galaxy: the posterior, of which the mean is used.
        n_draws: draws of each star, at least `N_CHECK_DRAWS`.
    """
    key_model, key_draws = jax.random.split(key)
    npe, forward = networks
    n_stars = len(stars.values)
    model, prior = model_stars(key_model, networks, stars, galaxy)
    # the first star again and again: other rows have other random numbers
    first = stars.take(np.zeros(math.ceil(N_FIRST_DRAWS / n_draws), int))
    tables = [stars, first] + ([model] if model is not None else [])
    rows = predict_stars(key_draws, npe, forward, _join(tables), n_draws, N_CHECK_DRAWS)
    (theta, predicted), start = rows, n_stars + len(first.values)
    of_first = theta[n_stars:start].reshape(-1, theta.shape[-1])[:N_FIRST_DRAWS]
    draws = StarDraws(theta[:n_stars], predicted[:n_stars], of_first, prior)
    if model is None:
        return draws, outside_all(stars)
    misfit = _compare_residuals(stars, draws.predicted, model, predicted[start:])
    return draws, misfit


def model_stars(
    key: Key[Array, ""], networks: Networks, stars: Stars, galaxy: GalaxyPosterior
) -> tuple[Stars | None, Float[np.ndarray, "draw param"]]:
    """Stars of the model at the inferred parameters, measured as those of the table.

    Returns:
        The stars, or None if the inferred parameters lie outside the model; and draws
        of the prior, with whose local parameters they were made.
    """
    key_theta, key_noise, key_rows = jax.random.split(key, 3)
    mean = np.asarray(galaxy.mean, np.float32)
    prior, clean = _draw_model(key_theta, networks.npe, networks.forward, mean)
    rows = host_generator(key_rows).integers(len(stars.values), size=N_REFERENCE)
    table = stars.take(rows)
    # with the noise of all: the programs do not depend on the number of good ones
    model = observe_like(key_noise, table, prior, clean)
    good = np.asarray(np.isfinite(clean).all(axis=-1))
    return (model.take(good) if good.any() else None), np.asarray(prior)


@quick_jit
def _draw_model(
    key: Key[Array, ""], npe: Npe, forward: Forward, mean: Float[AnyArray, " 2"]
) -> tuple[Array, Array]:
    """Draws of the prior, and abundances with the galaxy's parameters in place."""
    prior = priors.sample(key, npe.prior, N_REFERENCE)
    return prior, forward(prior.at[:, :N_GLOBAL].set(mean))


@quick_jit
def _apply(forward: Forward, theta: Array) -> Array:
    return forward(theta)


def _join(tables: list[Stars]) -> Stars:
    """One table of tables that have the same columns."""
    parts = [table.arrays() for table in tables]
    columns = {name: np.concatenate([p[name] for p in parts]) for name in parts[0]}
    return tables[0]._replace(**columns)


def _compare_residuals(
    stars: Stars, predicted: np.ndarray, model: Stars, of_model: np.ndarray
) -> Misfit:
    return misfit_test(
        mean_residuals(stars.values, predicted),
        mean_residuals(model.values, of_model),
        (stars.errors, model.errors),
        stars.abundances,
    )


def outside_all(stars: Stars) -> Misfit:
    """The misfit where the model has no stars at the inferred parameters."""
    nothing = np.empty((0, len(stars.abundances)))
    return misfit_test(stars.values, nothing, abundances=stars.abundances)


def describe_fit(misfit: Misfit) -> ModelFit:
    """The result of `check_fit` as summary.json has it."""
    each = zip(misfit.abundances, misfit.mean_residual, strict=True)
    residuals = {name: float(dex) for name, dex in each if np.isfinite(dex)}
    return ModelFit(misfit.is_flagged, misfit.p_value, misfit.text, residuals)


def compare_halves(
    key: Key[Array, ""], networks: Networks, table: StarTable
) -> Halves | None:
    """Even rows against odd rows, by the flow.

    None for fewer than four stars, and where a half has only stars that the flow
    excludes: it would agree with everything.
    """
    if table.n_stars < MIN_HALVED:
        return None
    npe, forward = networks
    row = np.arange(len(table.is_star))
    halves = [table.part((row % 2 == i) & (row < table.n_stars)) for i in (0, 1)]
    if any(half.n_weak == half.n_stars for half in halves):
        return None
    one, two = (
        infer_table(
            key,  # key reuse: common random numbers, so that only the stars differ
            npe,
            half,
            forward=forward,
        )
        for half in halves
    )
    return halves_of(one, two)


def halves_of(one: GalaxyPosterior, two: GalaxyPosterior) -> Halves:
    """The two results of a table in units of the error of their difference."""
    shift = np.asarray(one.mean) - two.mean
    covariance = np.asarray(one.covariance) + two.covariance
    distance = float(np.sqrt(shift @ np.linalg.solve(covariance, shift)))
    sd = np.sqrt(np.diag(covariance))
    return Halves((shift / sd).tolist(), distance, distance < STABLE_SIGMA)


def leave_out(
    key: Key[Array, ""], networks: Networks, stars: Stars, n_stars: int
) -> LeaveOut:
    """Change of the exact result without each abundance, in sigma of the changed one.

    The model does not reproduce an abundance that moves the result by many sigma.

    Args:
        key: determines the draws; the same for all, so that only the abundances differ.
        networks: posterior network and forward model.
        stars: of which random ones are used: a table may be sorted.
        n_stars: their largest number.
    """
    (npe, forward), shifts = networks, {}
    key_rows, key_infer = jax.random.split(key)
    some = stars.take(random_rows(key_rows, len(stars.values), n_stars))

    def infer(some: Stars) -> GalaxyPosterior:
        return infer_galaxy(key_infer, npe, some, "exact", forward=forward)

    try:
        full = infer(some)
    except InputError:  # no parameters explain these rows
        return LeaveOut(0, shifts)
    for i, name in enumerate(some.abundances):
        observed = some.observed.copy()
        observed[:, i] = False
        if not observed.any() or (observed == some.observed).all():
            continue
        try:
            found = infer(some._replace(observed=observed))
        except InputError:  # the other abundances alone give no posterior
            continue
        shifts[name] = ((np.asarray(found.mean) - full.mean) / found.sd).tolist()
    return LeaveOut(len(some.values), shifts)
