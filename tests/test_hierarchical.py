"""Shared errors, against models whose marginal likelihood has a closed form."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.tree_util import Partial
from scipy import stats as scipy_stats

import chemsbi_jax as cs
from chemsbi_jax.constants import ABUNDANCES, YIELD_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical import (
    correct,
    density,
    follow,
    marginal,
    proposals,
    result,
    small,
)
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, psi_names, unpack
from chemsbi_jax.galaxy.hierarchical.star import Model, make_stars
from chemsbi_jax.priors import Prior

N, ERROR = 20, 0.05
PRIOR = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
CONSTANT = h.SharedErrors(population_width=0.0, scatter=0.0, outlier_share=0.0)
"""What is left is linear and Gaussian."""


class Line(NamedTuple):
    by_theta: jax.Array
    by_factors: jax.Array


def line(theta, factors, slopes):
    return theta @ slopes.by_theta + factors @ slopes.by_factors


@pytest.fixture(scope="module")
def slopes():
    rng = np.random.default_rng(3)
    by_theta = 0.3 * rng.normal(size=(6, 8))
    return Line(
        jnp.asarray(by_theta, jnp.float32),
        jnp.asarray(0.7 * rng.normal(size=(11, 8)), jnp.float32),
    )


@pytest.fixture(scope="module")
def model(slopes):
    return Model(Partial(line, slopes=slopes), PRIOR)


@pytest.fixture(scope="module")
def stars(model):
    rng = np.random.default_rng(4)
    theta = rng.normal(size=(N, 6))
    theta[:, :2] = 0.4, -0.3
    factors = np.broadcast_to(0.1 * rng.normal(size=11), (N, 11))
    clean = np.asarray(model.forward(jnp.asarray(theta), jnp.asarray(factors)))
    values = clean + ERROR * rng.normal(size=clean.shape)
    observed = np.ones((N, 8), bool)
    observed[::3, 2] = False
    values = np.where(observed, values, np.nan)
    unknown = np.full(N, np.nan)
    return cs.Stars(
        values, np.where(observed, ERROR, np.nan), observed, unknown, unknown,
        np.arange(N).astype(str),
    )  # fmt: skip


def log_normal(model, stars, i, psi, layout):
    """log p(star i | psi) of the linear model, by scipy."""
    shared = jax.tree.map(lambda x: np.asarray(x, float), unpack(psi, layout))
    slopes = model.forward.keywords["slopes"]
    a, b = np.asarray(slopes.by_theta, float), np.asarray(slopes.by_factors, float)
    seen = stars.observed[i]
    mean = shared.galaxy @ a[:2] + shared.mean @ a[2:] + shared.factors @ b
    mean = mean + shared.zero_points[:8]
    spread = a[2:].T @ np.diag(np.exp(2.0 * shared.log_width)) @ a[2:]
    covariance = spread + np.diag(ERROR**2 + shared.variance[:8])
    covariance = covariance[np.ix_(seen, seen)]
    normal = scipy_stats.multivariate_normal(mean[seen], covariance)
    return normal.logpdf(stars.values[i][seen])


def one_star(stars, settings, i):
    return jax.tree.map(lambda x: jnp.asarray(x[i]), make_stars(stars, settings, PRIOR))


def at_random(layout, seed, size=0.5):
    return size * jax.random.normal(jax.random.key(seed), layout.scale.shape)


@pytest.mark.parametrize("n", [1, 4])
def test_small_matrices(n):
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n))
    matrix = root @ root.T + np.eye(n)
    lower = small.cholesky(jnp.asarray(matrix))
    right = rng.normal(size=(3, n))
    np.testing.assert_allclose(lower, np.linalg.cholesky(matrix), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        small.solve_upper(lower, small.solve_lower(lower, jnp.asarray(right))),
        np.linalg.solve(matrix, right.T).T,
        rtol=1e-3,
        atol=1e-5,
    )
    half = 0.5 * np.linalg.slogdet(matrix)[1]
    np.testing.assert_allclose(small.log_determinant(lower), half, rtol=1e-4)


def test_marginal_likelihood_is_that_of_the_linear_model(model, stars):
    """At an anchor, and at another psi: the linear response is exact here."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), YIELD_FACTORS)
    for i in (0, 1):
        star = one_star(stars, CONSTANT, i)
        here, there = at_random(layout, 1), at_random(layout, 2)
        anchor = proposals.find_anchor(star, model, layout, here, jnp.zeros(4))
        for psi in (here, there):
            expected = log_normal(model, stars, i, psi, layout)
            found = marginal.laplace_marginal(star, anchor, layout, psi)
            # float32: a few hundred nats of chi2 at `there`
            np.testing.assert_allclose(found, expected, rtol=2e-4, atol=0.02)


def test_following_psi_is_exact_in_the_linear_model(model, stars):
    """The Laplace marginal likelihood at another psi, and its force on psi."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), YIELD_FACTORS)
    star, here = one_star(stars, CONSTANT, 1), at_random(layout, 1, 0.2)
    anchor = proposals.find_anchor(star, model, layout, here, jnp.zeros(4))
    there = here + at_random(layout, 2, 0.2)

    def followed(psi):
        return follow.follow(star, anchor, model, layout, psi).log_likelihood

    def closed(psi):
        return marginal.laplace_marginal(star, anchor, layout, psi)

    expected = log_normal(model, stars, 1, there, layout)
    found, force = jax.jit(jax.value_and_grad(followed))(there)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=0.02)
    closed_force = jax.jit(jax.grad(closed))(there)
    # float32: slopes of up to 100 a unit
    np.testing.assert_allclose(force, closed_force, rtol=2e-3, atol=0.05)


def test_shared_errors_of_iron_count(model, stars):
    """[X/Fe] from [X/H]: the density is that of the full covariance, here by scipy."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), YIELD_FACTORS)
    iron = ABUNDANCES.index("fe_h")
    errors = stars.errors.copy()
    errors[:, iron] *= np.sqrt(0.5)  # half of the variance of [X/Fe] is that of [Fe/H]
    shared = stars._replace(errors=errors, fe_covariance=errors[:, iron] ** 2)
    psi = at_random(layout, 1, 0.2)
    psi = psi.at[layout.slices()["scatter"]].set(0.0)
    star = one_star(shared, CONSTANT, 1)
    anchor = proposals.find_anchor(star, model, layout, psi, jnp.zeros(4))
    found = marginal.laplace_marginal(star, anchor, layout, psi)
    p = jax.tree.map(lambda x: np.asarray(x, float), unpack(psi, layout))
    slopes = model.forward.keywords["slopes"]
    a, b = np.asarray(slopes.by_theta, float), np.asarray(slopes.by_factors, float)
    mean = p.galaxy @ a[:2] + p.mean @ a[2:] + p.factors @ b + p.zero_points[:8]
    covariance = a[2:].T @ np.diag(np.exp(2.0 * p.log_width)) @ a[2:]
    error = np.full((8, 8), 0.5)
    error[iron], error[:, iron] = -0.5, -0.5
    np.fill_diagonal(error, 1.0)
    error[iron, iron] = 0.5
    normal = scipy_stats.multivariate_normal(mean, covariance + ERROR**2 * error)
    assert stars.observed[1].all()
    expected = normal.logpdf(stars.values[1])
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=0.02)


def test_sampled_marginal_agrees(model, stars, key):
    layout = make_layout(h.SharedErrors(outlier_share=0.0), YIELD_FACTORS)
    star, psi = one_star(stars, CONSTANT, 0), at_random(layout, 1, 0.2)
    anchor = proposals.find_anchor(star, model, layout, psi, jnp.zeros(4))
    found = correct.sampled_marginal(key, star, anchor, model, layout, psi, 512)
    expected = log_normal(model, stars, 0, psi, layout)
    assert found.n_effective > 0.5 * 512  # the widening alone costs a quarter
    # evenly spread draws: an error well below 1 / sqrt(n_effective) = 0.06
    np.testing.assert_allclose(found.log_likelihood, expected, atol=0.05)


def test_an_outlier_has_the_broad_density(model, stars, key):
    settings = h.SharedErrors()
    layout = make_layout(settings, YIELD_FACTORS)
    far = stars._replace(
        values=stars.values + np.where(np.arange(N) == 0, 5.0, 0.0)[:, None]
    )
    star, psi = one_star(far, settings, 0), jnp.zeros(len(layout.scale))
    anchor = proposals.find_anchor(star, model, layout, psi, jnp.zeros(4))
    found = correct.sampled_marginal(key, star, anchor, model, layout, psi, 64)
    assert found.inlier < 1e-6
    expected = np.log(0.01) + star.log_broad
    np.testing.assert_allclose(found.log_likelihood, expected, rtol=1e-5)


def test_coordinates_integrate_to_the_marginal(model, stars, key):
    """In a linear model the stars' coordinates are standard normals at every psi."""
    layout = make_layout(CONSTANT, YIELD_FACTORS)
    star, here = one_star(stars, CONSTANT, 1), at_random(layout, 1, 0.2)
    anchor = proposals.find_anchor(star, model, layout, here, jnp.zeros(4))
    root, _ = proposals.normal_approximation(star, anchor, layout, here)
    chart = proposals.normal_chart(anchor.mode, root)
    guide = proposals.Guide(anchor, chart, jnp.zeros((4, len(here))))
    guide = density.add_response(key, star, guide, model, layout)
    psi = here + at_random(layout, 2, 0.2)
    expected = log_normal(model, stars, 1, psi, layout)
    for noise in jax.random.normal(key, (3, 4)):
        found = density.log_density_of_star(star, guide, model, layout, psi, noise)
        normal = scipy_stats.norm.logpdf(noise).sum()
        np.testing.assert_allclose(found - normal, expected, rtol=2e-4, atol=0.02)


def gaussian_posterior(model, stars, layout):
    """Mean and covariance of psi in the linear model, from finite differences."""
    n = len(layout.scale)

    def total(psi):
        psi = jnp.asarray(psi, jnp.float32)
        return sum(log_normal(model, stars, i, psi, layout) for i in range(N))

    slopes = model.forward.keywords["slopes"]
    a, b = np.asarray(slopes.by_theta, float), np.asarray(slopes.by_factors, float)
    scale = np.asarray(layout.scale, float)
    design = np.zeros((8, n))
    design[:, :2] = a[:2].T
    at = layout.slices()
    design[:, at["yields"]] = b.T * scale[at["yields"]]
    design[:, at["zero_points"]] = np.diag(scale[at["zero_points"]])
    population = at["population"]
    design[:, population.start : population.start + 4] = a[2:].T * scale[population][:4]
    precision, right = np.eye(n), np.zeros(n)
    for i in range(N):
        seen = stars.observed[i]
        covariance = a[2:].T @ a[2:] + ERROR**2 * np.eye(8)
        weight = np.linalg.inv(covariance[np.ix_(seen, seen)])
        precision += design[seen].T @ weight @ design[seen]
        right += design[seen].T @ weight @ stars.values[i][seen]
    covariance = np.linalg.inv(precision)
    return covariance @ right, covariance


def test_posterior_of_a_linear_model(model, stars, key):
    """Mean and width of the draws, against the exact Gaussian."""
    chains = h.Chains(n_chains=8, n_warmup=(15, 20), n_draws=60)
    found = h.hierarchical_posterior(
        key, model.forward, PRIOR, stars, CONSTANT, chains=chains
    )
    layout = make_layout(CONSTANT, YIELD_FACTORS)
    mean, covariance = gaussian_posterior(model, stars, layout)
    sd = np.sqrt(np.diag(covariance))
    free = np.asarray(layout.scale) > 0.0
    free[layout.slices()["scatter"]] = False  # signs are folded
    ess = found.posterior.checks["ess_min"]
    assert ess > 100
    off = (found.latents.mean(axis=0) - mean) / sd
    assert np.abs(off[free]).max() < 4.0 / np.sqrt(ess)
    ratio = found.latents.std(axis=0) / sd
    assert np.abs(ratio[free] - 1.0).max() < 4.0 / np.sqrt(2.0 * ess)


def test_held_blocks_are_at_their_defaults():
    layout = make_layout(h.SharedErrors(hold=h.BLOCKS), YIELD_FACTORS)
    shared = unpack(at_random(layout, 0), layout)
    for part in (shared.factors, shared.zero_points, shared.mean, shared.log_width):
        assert not np.asarray(part).any()
    assert not np.asarray(shared.variance).any()
    np.testing.assert_allclose(np.exp(shared.log_outliers), 0.01, rtol=1e-5)


def test_names_and_scales():
    names = psi_names(YIELD_FACTORS)
    settings = h.SharedErrors(yields={"sn2_o": 0.2}, zero_points={"fe_h": 0.1})
    layout = make_layout(settings, YIELD_FACTORS)
    assert len(names) == len(set(names)) == len(layout.scale)
    scale = dict(zip(names, np.asarray(layout.scale), strict=True))
    assert scale["sn2_o"] == pytest.approx(0.2)
    assert scale["zero_point_fe_h"] == pytest.approx(0.1)
    assert scale["zero_point_o_fe"] == 0.0


@pytest.mark.parametrize(
    "settings",
    [
        h.SharedErrors(hold=("yield",)),
        h.SharedErrors(yields={"sn2_zz": 0.1}),
        h.SharedErrors(zero_points=-0.1),
    ],
)
def test_bad_settings(settings):
    with pytest.raises(InputError, match="Expected"):
        make_layout(settings, YIELD_FACTORS)


def test_budget_of_a_known_covariance():
    layout = make_layout(h.SharedErrors(), YIELD_FACTORS)
    covariance = np.eye(len(layout.scale))
    first = layout.slices()["yields"].start
    covariance[0, first] = covariance[first, 0] = 0.6
    budget = result.width_budget(covariance, layout)
    # conditional variance 1 - 0.6^2 = 0.8^2
    assert budget["yields"]["alpha_imf"] == pytest.approx(0.2)
    assert budget["yields"]["log10_n_ia"] == pytest.approx(0.0)
    assert budget["zero_points"]["alpha_imf"] == pytest.approx(0.0)


def test_no_interval_without_convergence():
    posterior = cs.GalaxyPosterior(
        "hierarchical", np.zeros((4, 2)), np.zeros(2), np.eye(2), {"converged": False}
    )
    names = psi_names(YIELD_FACTORS)
    some = np.zeros((4, len(names)))
    summary = h.HierarchicalPosterior(posterior, names, some, some, {}).summary()
    assert summary["converged"] is False
    assert "alpha_imf" not in summary


def test_all_abundances_have_a_zero_point():
    names = psi_names(YIELD_FACTORS)
    assert [n for n in names if n.startswith("zero")] == [
        f"zero_point_{a}" for a in ABUNDANCES
    ]
