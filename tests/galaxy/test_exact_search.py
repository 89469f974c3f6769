"""The search for the posterior, and what `exact` refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import chi2 as chi2_distribution
from scipy.stats import multivariate_normal

from chemsbi_jax.errors import ConvergenceError, InputError
from chemsbi_jax.galaxy.exact.importance import Evidence
from chemsbi_jax.galaxy.exact.posterior import (
    SEARCH_REACH_SIGMA,
    evaluate_design,
    require_converged,
)
from chemsbi_jax.galaxy.exact.prior_flow import without_proposals
from chemsbi_jax.galaxy.exact.search import (
    MIN_CHI2_PROBABILITY,
    search_prior,
    sharpen,
    within_model,
)
from chemsbi_jax.galaxy.exact.start import (
    exact_of_stars,
    laplace_log_evidence,
    searched_guess,
)
from chemsbi_jax.galaxy.likelihood import observe
from chemsbi_jax.types import GalaxyPosterior
from helpers.quadratic_galaxy import N_STARS, closed_form, galaxy_of


def test_which_stars_the_model_explains():
    stars = galaxy_of(np.zeros((3, 8)), 0.05)
    chi2 = jnp.array([8.0, 100.0, 400.0])
    found = Evidence(jnp.zeros((3, 1)), jnp.ones((3, 1)), jnp.ones(3), chi2)
    assert within_model(found, observe(stars)).tolist() == [True, True, False]


def test_a_star_that_was_left_out_comes_back_well_below_the_limit_only():
    """At the limit it would join and leave the others from round to round."""
    limit = chi2_distribution.isf(MIN_CHI2_PROBABILITY, 8)
    chi2 = limit * jnp.array([0.99, 0.99, 1.01, 0.7])
    found = Evidence(jnp.zeros((4, 1)), jnp.ones((4, 1)), jnp.ones(4), chi2)
    observed = observe(galaxy_of(np.zeros((4, 8)), 0.05))
    was_out = np.array([False, True, False, True])
    is_used = within_model(found, observed, was_out)
    assert is_used.tolist() == [True, False, False, True]


def test_the_search_finds_the_posterior_from_no_guess(problem):
    matrix, stars, npe, forward, sigma = problem
    mean, covariance = closed_form(matrix, stars.values, sigma)
    result = exact_posterior_from_prior(stars, npe, forward)
    found, wide = search_prior(result.stars, npe, forward)
    shift = found - mean
    # the grid's cell is part of the width that it gives
    assert shift @ np.linalg.solve(wide, shift) < 4.0
    assert np.all(np.linalg.eigvalsh(wide) > 0.8 * np.linalg.eigvalsh(covariance))


def test_a_sharper_search_has_the_mean_and_width_of_the_posterior(problem):
    """Laplace's method is exact here, so only the grid's polynomial is approximate."""
    matrix, stars, npe, forward, sigma = problem
    mean, covariance = closed_form(matrix, stars.values, sigma)
    table = exact_posterior_from_prior(stars, npe, forward).stars
    place = search_prior(table, npe, forward)
    found, width = sharpen(table, npe, forward, *place)
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(found - mean) < 0.3 * sd)
    np.testing.assert_allclose(np.sqrt(np.diag(width)) / sd, 1.0, atol=0.15)


@pytest.mark.thorough
def test_the_search_needs_no_proposals(problem):
    """The result of the exact method with the prior in place of the network's flow."""
    matrix, stars, npe, forward, sigma = problem
    mean, covariance = closed_form(matrix, stars.values, sigma)
    plain = without_proposals(npe)
    start = searched_guess(plain, forward, stars)
    result = exact_of_stars(jax.random.key(3), plain, forward, stars, start)
    assert result.checks["at_rest"]
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(np.asarray(result.grid.mean) - mean) < 0.3 * sd)
    ratio = np.sqrt(np.diag(result.grid.covariance)) / sd
    np.testing.assert_allclose(ratio, 1.0, atol=0.15)


def test_the_evidence_of_laplaces_method_is_the_closed_form(problem):
    """All readings of all stars are one normal vector; the galaxy's part is shared."""
    matrix, stars, npe, forward, sigma = problem
    start = searched_guess(npe, forward, stars)
    found = laplace_log_evidence(npe, forward, stars, start)
    own = matrix[2:].T @ matrix[2:] + sigma**2 * np.eye(8)
    shared = np.kron(np.ones((N_STARS, N_STARS)), matrix[:2].T @ matrix[:2])
    covariance = np.kron(np.eye(N_STARS), own) + shared
    values = stars.values.ravel()
    expected = multivariate_normal.logpdf(values, np.zeros_like(values), covariance)
    assert found == pytest.approx(expected, abs=0.05)  # a polynomial between points


def exact_posterior_from_prior(stars, npe, forward):
    start = GalaxyPosterior("prior", np.zeros((2, 2)), np.zeros(2), np.eye(2), {})
    return exact_of_stars(jax.random.key(1), npe, forward, stars, start)


@pytest.mark.thorough
def test_bad_stars_do_not_make_good_ones_unexplained(problem):
    """A null of 9.9 dex in a quarter of the stars, and a guess that it pulled away."""
    matrix, stars, npe, forward, sigma = problem
    values = stars.values.copy()
    values[::4, 3] = 9.9 * max(1.0, 4.0 * sigma)
    good = np.arange(N_STARS) % 4 > 0
    mean, covariance = closed_form(matrix, values[good], sigma)
    sd = np.sqrt(np.diag(covariance))
    off = mean + 25.0 * sd
    start = GalaxyPosterior("guess", off[None], off, covariance / 9.0, {})
    bad = stars._replace(values=values)
    result = exact_of_stars(jax.random.key(1), npe, forward, bad, start)
    assert result.checks["left_out"] == np.flatnonzero(~good).tolist()
    assert result.checks["at_rest"]
    assert np.all(np.abs(np.asarray(result.grid.mean) - mean) < 0.3 * sd)


def test_stars_outside_the_model_are_refused(problem):
    _, stars, npe, forward, _ = problem
    far = stars._replace(values=stars.values + 500.0)
    with pytest.raises(InputError, match=f"near to any of these {N_STARS}"):
        exact_posterior_from_prior(far, npe, forward)


def test_what_has_not_converged_is_refused_with_the_cause(problem):
    _, stars, npe, forward, _ = problem
    result = exact_posterior_from_prior(stars, npe, forward)
    require_converged(result)
    restless = result._replace(checks=result.checks | {"at_rest": False})
    with pytest.raises(ConvergenceError, match="the last round did not fit"):
        require_converged(restless)
    few = {"at_rest": False, "effective_draws_median": 1.2}
    with pytest.raises(ConvergenceError, match=r"effective draws of a star is 1\.2, "):
        require_converged(result._replace(checks=result.checks | few))
    observed = result.stars.observed
    weight = np.asarray(observed.weight) * (np.arange(8) < 2)
    poor = result.stars._replace(observed=observed._replace(weight=weight))
    with pytest.raises(ConvergenceError, match="2 measured values in the median, too"):
        require_converged(restless._replace(stars=poor))


def test_a_search_does_not_decide_which_stars_come_back(problem):
    """The model explains the first star to 0.9 of the limit, at each point."""
    matrix, stars, npe, forward, sigma = problem
    outside = np.linalg.svd(matrix)[2][-1]  # which no parameters change
    limit = chi2_distribution.isf(MIN_CHI2_PROBABILITY, 8)
    values = np.array(stars.values)
    distance = np.sqrt(0.9 * limit) * sigma
    values[0] += (distance - values[0] @ outside) * outside
    result = exact_posterior_from_prior(stars._replace(values=values), npe, forward)
    task = result.stars, npe, forward, result.design
    first = evaluate_design(*task)
    assert first.is_used.all()
    left_out = first._replace(is_used=np.arange(N_STARS) > 0)
    second = evaluate_design(*task, before=left_out)
    assert np.flatnonzero(~second.is_used).tolist() == [0]
    search = left_out._replace(reach=SEARCH_REACH_SIGMA)
    assert evaluate_design(*task, before=search).is_used.all()
