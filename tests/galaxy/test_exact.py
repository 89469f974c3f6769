"""Importance sampling against closed forms: `exact` and `robust`."""

import jax
import numpy as np
import numpyro.distributions as dist
import pytest

import chemsbi_jax as cs
from chemsbi_jax.galaxy.exact import posterior
from chemsbi_jax.galaxy.exact.blocks import (
    evidence_at,
    resample_poor_stars,
)
from chemsbi_jax.galaxy.exact.maps import adapt_poor_proposals
from chemsbi_jax.galaxy.exact.polynomial import (
    Design,
)
from chemsbi_jax.galaxy.exact.start import exact_of_stars
from chemsbi_jax.galaxy.exact.triangular_map import prior_chart
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import GalaxyChecks, GalaxyPosterior
from helpers.networks import untrained
from helpers.quadratic_galaxy import N_STARS, closed_form, galaxy_of, model


def test_posteriors_as_wide_as_the_prior_come_to_rest():
    rng = np.random.default_rng(4)
    matrix, sigma = 0.5 * rng.normal(size=(6, 8)), 20.0
    values = rng.normal(size=(9, 6)) @ matrix + sigma * rng.normal(size=(9, 8))
    mean, covariance = closed_form(matrix, values, sigma)
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    npe = untrained(prior)
    forward = model(matrix)
    start = GalaxyPosterior("guess", mean[None], mean, np.eye(2), {})
    stars = galaxy_of(values, sigma)
    result = exact_of_stars(jax.random.key(1), npe, forward, stars, start)
    assert result.checks["at_rest"]
    assert np.diag(covariance).min() > 0.9  # of the prior's
    np.testing.assert_allclose(result.grid.mean, mean, atol=0.02)
    np.testing.assert_allclose(result.grid.covariance, covariance, atol=0.03)


def test_one_abundance_gives_the_wide_and_bent_posterior():
    rng = np.random.default_rng(7)
    matrix, sigma, n = 0.3 * rng.normal(size=(6, 8)), 0.2, 10
    width = np.hypot(sigma, np.linalg.norm(matrix[2:, 0]))
    one = np.arange(8) == 6
    values = np.where(one, 0.4 + width * rng.normal(size=(n, 1)), np.nan)
    stars = galaxy_of(values, sigma)._replace(observed=np.tile(one, (n, 1)))
    # the local parameters are integrated out by hand, the global ones on a fine grid
    u = np.linspace(-5.0, 5.0, 801)
    first, second = np.meshgrid(u, u, indexing="ij")
    curve = first + 0.6 * second + 0.1 * second**2
    pull = (values[:, 6].mean() - curve) / width
    log_post = -0.5 * (n * pull**2 + first**2 + second**2)
    weight = np.exp(log_post - log_post.max()).ravel()
    grid = np.stack([first.ravel(), second.ravel()])
    mean = grid @ weight / weight.sum()
    covariance = np.cov(grid, aweights=weight, bias=True)
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    npe = untrained(prior)
    # one bent abundance of the global parameters, and a little of the local ones
    slopes = np.concatenate([[1.0, 0.6], matrix[2:, 0]])
    forward = model(np.tile(slopes[:, None], 8), bend=0.1)
    start = GalaxyPosterior("guess", mean[None], mean + 1.5, 0.01 * np.eye(2), {})
    result = exact_of_stars(jax.random.key(1), npe, forward, stars, start)
    assert result.checks["at_rest"]
    sd = np.sqrt(np.diag(covariance))
    # a polynomial of degree 8 through a ridge that is bent by its width
    np.testing.assert_allclose(np.asarray(result.grid.mean) / sd, mean / sd, atol=0.1)
    found = np.sqrt(np.diag(result.grid.covariance))
    np.testing.assert_allclose(found, sd, rtol=0.1)


def test_exact_finds_the_closed_form_from_a_useless_flow(problem):
    matrix, stars, npe, forward, sigma = problem
    mean, covariance = closed_form(matrix, stars.values, sigma)
    # far off, and too narrow: the rounds have to find the place
    off = mean + 8.0 * np.sqrt(np.diag(covariance))
    start = GalaxyPosterior("guess", off[None], off, covariance / 4.0, {})
    result = exact_of_stars(jax.random.key(1), npe, forward, stars, start)
    sd = np.sqrt(np.diag(covariance))
    assert result.checks["at_rest"]
    # the flow proposes from the prior: a few stars keep only three effective draws
    assert np.all(np.abs(np.asarray(result.grid.mean) - mean) < 0.3 * sd)
    width = np.sqrt(np.diag(result.grid.covariance)) / sd
    assert np.all(np.abs(width - 1.0) < 0.1)


def test_exact_uses_gaps(problem):
    matrix, stars, npe, forward, sigma = problem
    kept = [0, 1, 2, 4, 5, 7]
    mean, covariance = closed_form(matrix[:, kept], stars.values[:, kept], sigma)
    observed = np.zeros(stars.observed.shape, bool)
    observed[:, kept] = True
    values = np.where(observed, stars.values, np.nan)
    result = exact_of_stars(
        jax.random.key(1),
        npe,
        forward,
        stars._replace(values=values, observed=observed),
        GalaxyPosterior("guess", mean[None], mean, covariance, {}),
    )
    sd = np.sqrt(np.diag(covariance))
    # sharp stars and a flow that proposes from the prior: few effective draws
    limit = 0.2 if sigma > 0.5 else 0.7
    assert np.all(np.abs(np.asarray(result.grid.mean) - mean) < limit * sd)


def test_a_star_that_nothing_explains_is_left_out(problem):
    matrix, stars, npe, forward, sigma = problem
    # an offset that no parameters make: orthogonal to what the model can do
    outside = np.linalg.svd(matrix)[2][6]
    values = stars.values.copy()
    values[7] += 40.0 * sigma * outside
    mean, covariance = closed_form(matrix, np.delete(values, 7, axis=0), sigma)
    start = GalaxyPosterior("guess", mean[None], mean, covariance, {})
    result = exact_of_stars(
        jax.random.key(1), npe, forward, stars._replace(values=values), start
    )
    assert result.checks["left_out"] == [7]
    sd = np.sqrt(np.diag(covariance))
    assert np.all(np.abs(np.asarray(result.grid.mean) - mean) < 0.2 * sd)


def test_robust_finds_the_error_of_the_model(problem):
    matrix, stars, npe, forward, sigma = problem
    rng = np.random.default_rng(8)
    values = stars.values.copy()
    values[:, 3] += 4.0 * sigma * rng.normal(size=N_STARS)
    wrong = stars._replace(values=values)
    key = jax.random.key(2)
    robust = cs.infer_galaxy(key, npe, wrong, "robust", forward=forward)
    assert robust.checks.keys() <= GalaxyChecks.__annotations__.keys()
    sizes = np.array(list(robust.checks["model_error_dex"].values())) / sigma
    # 40 stars: an rms is known to 11 %
    assert 2.5 < sizes[3] < 5.5
    assert np.all(np.delete(sizes, 3) < 0.5 * sizes[3])
    exact = cs.infer_galaxy(key, npe, wrong, "exact", forward=forward)
    assert np.linalg.det(robust.covariance) > np.linalg.det(exact.covariance)


def test_methods_with_a_model_ask_for_it(problem):
    _, stars, npe, _, _ = problem
    for method in ("exact", "robust"):
        with pytest.raises(ValueError, match="needs the forward model"):
            cs.infer_galaxy(jax.random.key(0), npe, stars, method)


def test_stars_with_few_effective_draws_get_more(problem):
    _, stars, npe, forward, _ = problem
    start = GalaxyPosterior("guess", np.zeros((2, 2)), np.zeros(2), np.eye(2), {})
    result = exact_of_stars(jax.random.key(1), npe, forward, stars, start)
    design = Design(np.asarray(result.grid.mean, float), 0.1 * np.eye(2), 9)
    plain = result.stars._replace(chart=prior_chart(N_STARS))
    found = evidence_at(plain, npe, forward, design.points)
    few = found.n_effective.min(axis=1) < 10.0
    assert few.any()  # the flow was not trained
    more = resample_poor_stars(
        plain, found, npe, forward, design, np.ones(N_STARS, bool)
    )
    assert np.all(more.n_draws[few] > found.n_draws[few])
    # with sharp stars and this flow one draw in thousands counts
    assert np.median((more.n_effective / found.n_effective)[few]) > 1.2
    better, charted = adapt_poor_proposals(plain, found, npe, forward, design)
    assert np.median(charted.n_effective.min(axis=1)[few]) > 20.0
    known = (better.chart.centre == plain.chart.centre).all(axis=1)
    assert (~known).any()
    for one, other in zip(charted, found, strict=True):  # as they were
        np.testing.assert_array_equal(one[known], other[known])


def test_a_guess_far_off_is_searched_and_a_good_one_is_not(problem, monkeypatch):
    matrix, stars, npe, forward, sigma = problem
    mean, covariance = closed_form(matrix, stars.values, sigma)
    sd, searches, search = np.sqrt(np.diag(covariance)), [], posterior.search_prior
    monkeypatch.setattr(
        posterior, "search_prior", lambda *a: searches.append(a) or search(*a)
    )
    effort = []
    for off in (0.0, 15.0):
        at = mean + off * sd
        start = GalaxyPosterior("guess", at[None], at, covariance, {})
        result = exact_of_stars(jax.random.key(1), npe, forward, stars, start)
        assert result.checks["at_rest"]
        # sharp stars keep a few effective draws, as above
        assert np.all(np.abs(np.asarray(result.grid.mean) - mean) < 0.3 * sd)
        effort.append((result.checks["rounds"], len(searches)))
    assert effort[0] == (1, 0)
    # further rounds, or a search of the whole prior, after which one can be enough
    assert effort[1][0] > 2 or effort[1][1] == 1
