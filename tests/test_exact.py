"""Importance sampling against closed forms: maps, polynomials, `exact`, `robust`."""

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax.errors import ConvergenceError, InputError
from chemsbi_jax.galaxy.exact.blocks import (
    adapt_poor_proposals,
    evidence_at,
    resample_poor_stars,
)
from chemsbi_jax.galaxy.exact.importance import Evidence, merge, n_effective, temper
from chemsbi_jax.galaxy.exact.polynomial import (
    Design,
    fit_polynomial,
    is_converged,
)
from chemsbi_jax.galaxy.exact.posterior import (
    design_factor,
    require_converged,
)
from chemsbi_jax.galaxy.exact.search import search_prior, within_model
from chemsbi_jax.galaxy.exact.start import exact_of_stars
from chemsbi_jax.galaxy.exact.triangular_map import fit_chart, prior_chart, transform
from chemsbi_jax.galaxy.likelihood import observe
from chemsbi_jax.npe.flow import SplineFlow
from chemsbi_jax.npe.training import NpeConfig, new_npe
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import GalaxyPosterior, Stars

N_STARS = 40
# it is never trained, so that its size only costs compilation
SMALL_FLOW = SplineFlow(embedding=(8, 1), hidden=(8,), n_bins=3)


def linear(theta, matrix):
    return theta @ matrix


def galaxy_of(values, sigma):
    unknown = np.full(len(values), np.nan)
    return Stars(
        values,
        np.full(values.shape, sigma),
        np.ones(values.shape, bool),
        unknown,
        unknown,
        np.arange(len(values)).astype(str),
    )


def closed_form(matrix, values, sigma):
    """Mean and covariance of the two global parameters, locals integrated out."""
    first, rest = matrix[:2].T, matrix[2:].T
    noise = rest @ rest.T + sigma**2 * np.eye(matrix.shape[1])
    inverse = np.linalg.inv(noise)
    covariance = np.linalg.inv(np.eye(2) + len(values) * first.T @ inverse @ first)
    return covariance @ first.T @ inverse @ values.sum(axis=0), covariance


SHARP = pytest.param(0.2, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[1.0, SHARP], ids=["vague", "sharp"])
def problem(request):
    """A linear model with normal priors, and an untrained flow."""
    rng = np.random.default_rng(4)
    matrix = 0.5 * rng.normal(size=(6, 8))
    latent = rng.normal(size=(N_STARS, 6))
    latent[:, :2] = (0.8, -0.6)
    values = latent @ matrix + request.param * rng.normal(size=(N_STARS, 8))
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    npe = new_npe(jax.random.key(0), prior, NpeConfig(flow=SMALL_FLOW))
    forward = Partial(linear, matrix=jnp.asarray(matrix, jnp.float32))
    return matrix, galaxy_of(values, request.param), npe, forward, request.param


def test_posteriors_as_wide_as_the_prior_come_to_rest():
    rng = np.random.default_rng(4)
    matrix, sigma = 0.5 * rng.normal(size=(6, 8)), 20.0
    values = rng.normal(size=(9, 6)) @ matrix + sigma * rng.normal(size=(9, 8))
    mean, covariance = closed_form(matrix, values, sigma)
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    npe = new_npe(jax.random.key(0), prior, NpeConfig(flow=SMALL_FLOW))
    forward = Partial(linear, matrix=jnp.asarray(matrix, jnp.float32))
    start = GalaxyPosterior("guess", mean[None], mean, np.eye(2), {})
    stars = galaxy_of(values, sigma)
    result = exact_of_stars(jax.random.key(1), npe, forward, stars, start)
    assert result.checks["at_rest"]
    assert np.diag(covariance).min() > 0.9  # of the prior's
    np.testing.assert_allclose(result.grid.mean, mean, atol=0.02)
    np.testing.assert_allclose(result.grid.covariance, covariance, atol=0.03)


def bent(theta, matrix):
    """One bent abundance of the global parameters, and a little of the local ones."""
    curve = theta[..., :1] + 0.6 * theta[..., 1:2] + 0.1 * theta[..., 1:2] ** 2
    return (curve + theta[..., 2:] @ matrix[2:, :1]) * jnp.ones(8)


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
    npe = new_npe(jax.random.key(0), prior, NpeConfig(flow=SMALL_FLOW))
    forward = Partial(bent, matrix=jnp.asarray(matrix, jnp.float32))
    start = GalaxyPosterior("guess", mean[None], mean + 1.5, 0.01 * np.eye(2), {})
    result = exact_of_stars(jax.random.key(1), npe, forward, stars, start)
    assert result.checks["at_rest"]
    sd = np.sqrt(np.diag(covariance))
    # a polynomial of degree 8 through a ridge that is bent by its width
    np.testing.assert_allclose(np.asarray(result.grid.mean) / sd, mean / sd, atol=0.1)
    found = np.sqrt(np.diag(result.grid.covariance))
    np.testing.assert_allclose(found, sd, rtol=0.1)


def test_designs_reach_as_far_as_asked_but_not_out_of_the_model():
    narrow, wide = 0.01 * np.array([[2.0, 1.0], [1.0, 2.0]]), 4.0 * np.eye(2)
    factor = design_factor(narrow, 4.0)
    np.testing.assert_allclose(factor @ factor.T, 16.0 * narrow)
    np.testing.assert_allclose(design_factor(wide, 4.0), 4.0 * np.eye(2))
    # along the degeneracy the search ends at the model, across it goes on
    turned = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2.0)
    squares = design_factor(turned * [1.0, 1e-4] @ turned.T, 10.0)
    squares = squares @ squares.T
    np.testing.assert_allclose(np.linalg.eigvalsh(squares), [0.01, 16.0])


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


def test_chart_recovers_a_bent_density():
    rng = np.random.default_rng(0)
    noise = jnp.asarray(rng.normal(size=(4, 4000)), jnp.float32)
    galaxy = jnp.asarray(rng.normal(size=(2, 4000)), jnp.float32)
    first = 0.5 + 2.0 * noise[0] + 0.7 * galaxy[1]
    second = 0.3 * first**2 + 0.1 * noise[1]
    local = jnp.stack([first, second, noise[2] * jnp.exp(0.4 * first / 2), noise[3]])
    chart = jax.jit(fit_chart)(galaxy, local, jnp.ones(4000))
    again, log_det = jax.jit(transform)(chart, galaxy, noise)
    # in the tails the fitted scale of the first one bends a little
    assert np.quantile(np.abs(again[1] - second), 0.8) < 0.2
    slope = np.polyfit(np.asarray(galaxy[1]), np.asarray(again[0] - 2 * noise[0]), 1)[0]
    assert abs(slope - 0.7) < 0.1
    jacobian = jax.jit(jax.jacobian(lambda n: transform(chart, galaxy[:, 0], n)[0]))(
        noise[:, 0]
    )
    np.testing.assert_allclose(
        log_det[0], np.linalg.slogdet(np.asarray(jacobian))[1], rtol=1e-3, atol=1e-3
    )


def test_prior_chart_is_the_identity():
    noise = jax.random.normal(jax.random.key(0), (4, 7))
    chart = jax.tree.map(lambda x: x[0], prior_chart(2))
    local, log_det = transform(chart, jnp.ones((2, 7)), noise)
    np.testing.assert_allclose(local, noise, atol=1e-6)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-6)


def test_lots_of_draws_merge_into_one():
    log_weight = jax.random.normal(jax.random.key(0), (2, 50))

    def evidence(w):
        total = jax.scipy.special.logsumexp(w, axis=-1) - jnp.log(w.shape[-1])
        return Evidence(total, n_effective(w), jnp.asarray(1.0 * w.shape[-1]), w.min())

    lots = [evidence(w) for w in jnp.split(log_weight, [10, 22], axis=1)]
    merged = merge(jax.tree.map(lambda *x: jnp.stack(x), *lots))
    for one, other in zip(merged, evidence(log_weight), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


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


def test_a_guess_far_off_is_searched_and_a_good_one_is_not(problem):
    matrix, stars, npe, forward, sigma = problem
    mean, covariance = closed_form(matrix, stars.values, sigma)
    rounds = []
    for off in (0.0, 15.0):
        at = mean + off * np.sqrt(np.diag(covariance))
        start = GalaxyPosterior("guess", at[None], at, covariance, {})
        result = exact_of_stars(jax.random.key(1), npe, forward, stars, start)
        assert result.checks["at_rest"]
        rounds.append(result.checks["rounds"])
    assert rounds[0] == 1
    assert rounds[1] > 2


def test_tempering_leaves_enough_draws():
    spiky = jnp.linspace(0.0, 300.0, 512)
    assert n_effective(spiky) < 10.0
    assert n_effective(temper(spiky)) > 30.0
    flat = jnp.zeros(512)
    np.testing.assert_allclose(temper(flat), flat)


def test_polynomial_fits_the_points_of_a_gaussian():
    design = Design(np.array([0.3, -0.2]), np.array([[0.04, 0.0], [0.03, 0.02]]), 5)
    offset = 0.2 * design.factor.sum(axis=1)
    inner = np.linalg.inv(design.factor @ design.factor.T / 16.0)
    shift = design.points - (design.centre + offset)[:, None]
    total = -0.5 * np.einsum("ip,ij,jp->p", shift, inner, shift)
    total = total + 0.5 * (design.points**2).sum(axis=0)  # less the prior it adds
    grid, error = fit_polynomial(design, total)
    np.testing.assert_allclose(grid.mean, design.centre + offset, atol=2e-4)
    np.testing.assert_allclose(
        np.sqrt(np.diag(grid.covariance)),
        np.sqrt(np.diag(np.linalg.inv(inner))),
        rtol=0.01,
    )
    assert error < 1e-6
    assert is_converged(grid, design)
    beside = design._replace(centre=design.centre + design.factor @ [0.5, 0.0])
    assert not is_converged(grid, beside)
    assert not is_converged(grid, design._replace(factor=10.0 * design.factor))


def test_which_stars_the_model_explains():
    stars = galaxy_of(np.zeros((3, 8)), 0.05)
    chi2 = jnp.array([8.0, 100.0, 400.0])
    found = Evidence(jnp.zeros((3, 1)), jnp.ones((3, 1)), jnp.ones(3), chi2)
    assert within_model(found, observe(stars)).tolist() == [True, True, False]


def test_the_search_finds_the_posterior_from_no_guess(problem):
    matrix, stars, npe, forward, sigma = problem
    mean, covariance = closed_form(matrix, stars.values, sigma)
    result = exact_posterior_from_prior(stars, npe, forward)
    found, wide = search_prior(result.stars, npe, forward)
    shift = found - mean
    # the grid's cell is part of the width that it gives
    assert shift @ np.linalg.solve(wide, shift) < 4.0
    assert np.all(np.linalg.eigvalsh(wide) > 0.8 * np.linalg.eigvalsh(covariance))


def exact_posterior_from_prior(stars, npe, forward):
    start = GalaxyPosterior("prior", np.zeros((2, 2)), np.zeros(2), np.eye(2), {})
    return exact_of_stars(jax.random.key(1), npe, forward, stars, start)


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
    with pytest.raises(ConvergenceError, match="did not settle"):
        require_converged(restless)
    few = {"at_rest": False, "effective_draws_median": 1.2}
    with pytest.raises(ConvergenceError, match=r"1\.2 effective draws"):
        require_converged(result._replace(checks=result.checks | few))
    observed = result.stars.observed
    weight = np.asarray(observed.weight) * (np.arange(8) < 2)
    poor = result.stars._replace(observed=observed._replace(weight=weight))
    with pytest.raises(ConvergenceError, match="2 measured values in the median, too"):
        require_converged(restless._replace(stars=poor))
