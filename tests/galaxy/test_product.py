"""Products of Gaussians, and the grid: closed forms and published numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.galaxy.amortised.gaussian import combine_gaussians
from chemsbi_jax.galaxy.grid import draw_from_grid, zoom_in
from helpers.exact_galaxy import PRIOR_COVARIANCE, PRIOR_MEAN, closed_form

combine = jax.jit(combine_gaussians)


# --- the product of Gaussians


def some_stars(n: int = 3):
    """Gaussian posteriors narrower than the prior, along a degeneracy."""
    rng = np.random.default_rng(1)
    means = PRIOR_MEAN + 0.1 * rng.normal(size=(n, 2))
    factor = np.array([[0.08, 0.0], [0.1, 0.07]]) * rng.uniform(0.8, 1.2, (n, 1, 1))
    return means, factor @ factor.swapaxes(1, 2)


def marginal_product(draws):
    """The reference's headline: 1-D inverse variances, no prior, no covariance."""
    weight = 1.0 / draws.var(axis=1)
    mean = (weight * draws.mean(axis=1)).sum(axis=0) / weight.sum(axis=0)
    return mean, np.diag(1.0 / weight.sum(axis=0))


def test_product_on_a_grid():
    """Brute force: multiply the densities, divide by the prior, take moments."""
    means, covariances = some_stars()
    axes = [np.linspace(m - 0.6, m + 0.6, 401) for m in PRIOR_MEAN]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)

    def log_density(mean, covariance):
        centred = grid - mean
        inverse = np.linalg.inv(covariance)
        return -0.5 * np.einsum("abi,ij,abj->ab", centred, inverse, centred)

    total = sum(map(log_density, means, covariances))
    total -= (len(means) - 1) * log_density(PRIOR_MEAN, PRIOR_COVARIANCE)
    weights = np.exp(total - total.max())
    weights /= weights.sum()
    mean = np.einsum("ab,abi->i", weights, grid)
    covariance = np.einsum("ab,abi,abj->ij", weights, grid - mean, grid - mean)
    product = combine(means, covariances, PRIOR_MEAN, PRIOR_COVARIANCE)
    np.testing.assert_allclose(product.mean, mean, atol=1e-5)  # float32 of 2.9
    np.testing.assert_allclose(product.covariance, covariance, rtol=1e-3)
    assert not product.is_guarded.any()


def test_one_star_is_itself():
    means, covariances = some_stars(1)
    product = combine(means, covariances, PRIOR_MEAN, PRIOR_COVARIANCE)
    np.testing.assert_allclose(product.mean, means[0], atol=1e-5)
    np.testing.assert_allclose(product.covariance, covariances[0], rtol=1e-4)


def test_any_order_of_stars():
    means, covariances = some_stars(40)
    order = np.random.default_rng(0).permutation(40)
    one = combine(means, covariances, PRIOR_MEAN, PRIOR_COVARIANCE)
    two = combine(means[order], covariances[order], PRIOR_MEAN, PRIOR_COVARIANCE)
    np.testing.assert_allclose(one.mean, two.mean, rtol=1e-5)
    np.testing.assert_allclose(one.covariance, two.covariance, rtol=1e-4)
    expected = closed_form(means, covariances)
    np.testing.assert_allclose(one.mean, expected[0], atol=1e-5)
    np.testing.assert_allclose(one.covariance, expected[1], rtol=1e-3)


def test_padding_does_not_count():
    means, covariances = some_stars(40)
    counts = np.arange(40) < 7
    part = combine(means, covariances, PRIOR_MEAN, PRIOR_COVARIANCE, counts)
    expected = closed_form(means[:7], covariances[:7])
    np.testing.assert_allclose(part.mean, expected[0], atol=1e-5)
    np.testing.assert_allclose(part.covariance, expected[1], rtol=1e-3)


def test_stars_that_know_nothing_do_no_harm():
    """500 stars whose sampled posterior is the prior, a bit wider or narrower."""
    means, covariances = some_stars(3)
    rng = np.random.default_rng(5)
    draws = rng.multivariate_normal(PRIOR_MEAN, 1.3 * PRIOR_COVARIANCE, (500, 1000))
    weak = np.einsum("nda,ndb->nab", *[draws - draws.mean(axis=1, keepdims=True)] * 2)
    means_all = np.concatenate([means, draws.mean(axis=1)])
    covariances_all = np.concatenate([covariances, weak / 999])
    # without the guard, the wider ones would take away more than the three stars know
    naive = np.linalg.inv(closed_form(means_all, covariances_all)[1])
    assert np.linalg.eigvalsh(naive).min() < 0.0
    product = combine(means_all, covariances_all, PRIOR_MEAN, PRIOR_COVARIANCE)
    assert product.is_guarded[3:].all()
    assert not product.is_guarded[:3].any()
    expected = combine(means, covariances, PRIOR_MEAN, PRIOR_COVARIANCE)
    np.testing.assert_allclose(product.mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(product.covariance, expected.covariance, rtol=1e-4)


def test_no_star_but_the_prior():
    means, covariances = PRIOR_MEAN[None], PRIOR_COVARIANCE[None]
    product = combine(means, covariances, PRIOR_MEAN, PRIOR_COVARIANCE)
    np.testing.assert_allclose(product.mean, PRIOR_MEAN, atol=1e-5)
    np.testing.assert_allclose(product.covariance, PRIOR_COVARIANCE, atol=1e-6)


# --- published samples

PUBLISHED = {  # N: wrong sign, marginal product, right (mean, sd), correlation
    1: (*[(-2.2833, -2.8925, 0.0791, 0.1196)] * 3, None),
    10: (
        (-2.3083, -2.8811, 0.0231, 0.0328),
        (-2.3136, -2.8871, 0.0249, 0.0359),
        (-2.3079, -2.8799, 0.0268, 0.0388),
        0.847,
    ),
    100: (
        (-2.3071, -2.8933, 0.0072, 0.0103),
        (-2.3093, -2.8933, 0.0078, 0.0114),
        (-2.3089, -2.8958, 0.0084, 0.0123),
        0.837,
    ),
    200: (
        (-2.2946, -2.8826, 0.0051, 0.0072),
        (-2.2956, -2.8809, 0.0056, 0.0080),
        (-2.2924, -2.8792, 0.0060, 0.0086),
        0.840,
    ),
}


@pytest.mark.parametrize("n", PUBLISHED)
def test_published_samples(n, data):
    file = np.load(data / "reference" / "published_single_star_samples.npz")
    draws = np.stack([file["alpha_imf"], file["log10_n_ia"]], axis=-1)[:n].astype(float)
    means = draws.mean(axis=1)
    covariances = np.array([np.cov(star, rowvar=False) for star in draws])
    product = combine(means, covariances, PRIOR_MEAN, PRIOR_COVARIANCE)
    mine = np.asarray(product.mean, float), np.asarray(product.covariance, float)
    *expected, correlation = PUBLISHED[n]
    wrong = closed_form(means, covariances, sign=1)
    for got, numbers in zip(
        (wrong, marginal_product(draws), mine), expected, strict=True
    ):
        mean, sd = got[0], np.sqrt(np.diag(got[1]))
        # half of the last digit, and 1e-5 for the product's single precision; the
        # marginal product differs by 0.0001 at N = 1: population variance
        slack = 1.2e-4 if got is not mine and n == 1 else 6e-5
        np.testing.assert_allclose([*mean, *sd], numbers, rtol=0.0, atol=slack)
    if correlation is not None:
        rho = mine[1][0, 1] / np.sqrt(mine[1][0, 0] * mine[1][1, 1])
        assert rho == pytest.approx(correlation, abs=6e-4)


# --- the grid


def gaussian_density(precision, peak):
    def log_density(first, second):
        x = jnp.broadcast_to(first[:, None], second.shape) - peak[0]
        y = second - peak[1]
        p = precision
        return -0.5 * (p[0, 0] * x**2 + 2.0 * p[0, 1] * x * y + p[1, 1] * y**2)

    return log_density


@jax.jit
def zoom_in_on_ridge(precision, peak, guess, wide):
    return zoom_in(gaussian_density(precision, peak), guess, wide)


@pytest.mark.parametrize("n", [1, 200, 1000])
@pytest.mark.parametrize("truth", [(0.0, 0.0), (-3.0, -4.0), (3.0, -3.5)])
def test_grid_finds_a_narrow_ridge(n, truth):
    """N stars on a degeneracy (rho 0.84), several prior widths from its mean."""
    star = np.linalg.inv(0.3**2 * np.array([[1.0, 1.2], [1.2, 2.0]]))
    precision = np.eye(2) + n * star
    peak = np.linalg.solve(precision, n * star @ np.array(truth))
    covariance = np.linalg.inv(precision)
    sd = np.sqrt(np.diag(covariance))
    # the guess is two widths off and ten times too wide, but not wider than the prior
    wide = np.linalg.inv(np.eye(2) + precision / 100.0)
    grid = zoom_in_on_ridge(precision, peak, peak + 2.0 * sd, wide)
    assert (np.abs(np.asarray(grid.mean) - peak) / sd).max() < 0.02
    width = np.sqrt(np.diag(np.asarray(grid.covariance)))
    np.testing.assert_allclose(width / sd, 1.0, atol=0.01)
    rho = covariance[0, 1] / sd.prod()
    got = float(grid.covariance[0, 1]) / width.prod()
    assert got == pytest.approx(rho, abs=0.005)


def test_draws_from_the_grid_have_its_moments(key):
    covariance = 0.01 * np.array([[1.0, 1.2], [1.2, 2.0]])
    density = gaussian_density(np.linalg.inv(covariance), np.array([1.0, -2.0]))
    grid = jax.jit(lambda mean, wide: zoom_in(density, mean, wide))(
        jnp.zeros(2), jnp.eye(2)
    )
    n = 20_000
    draws = np.asarray(draw_from_grid(key, grid, n), float)
    sd = np.sqrt(np.diag(covariance))
    # five standard errors of the draws, and 0.3 % of the cells
    shift = (draws.mean(axis=0) - np.asarray(grid.mean)) / sd
    assert np.abs(shift).max() < 5.0 / n**0.5
    np.testing.assert_allclose(
        np.cov(draws, rowvar=False) / np.outer(sd, sd),
        covariance / np.outer(sd, sd),
        atol=5.0 * 2.0**0.5 / n**0.5 + 0.006,
    )
    assert len(np.unique(draws[:, 0])) > 0.95 * n  # no grid left in the draws
