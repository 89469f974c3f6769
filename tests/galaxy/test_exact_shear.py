"""Maps that move with the global latents, against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import multivariate_normal

from chemsbi_jax.galaxy.exact.blocks import (
    DRAWS,
    EXTRA_DRAWS_FACTOR,
    evidence_at,
)
from chemsbi_jax.galaxy.exact.importance import Star, keys_of_stars, new_stars
from chemsbi_jax.galaxy.exact.maps import adapt_charts
from chemsbi_jax.galaxy.exact.polynomial import Design, fit_polynomial
from chemsbi_jax.galaxy.exact.prior_flow import without_proposals
from chemsbi_jax.galaxy.exact.shear import fit_shear, no_shear, shift
from chemsbi_jax.galaxy.exact.start import exact_of_stars, features_of
from chemsbi_jax.galaxy.likelihood import observe
from chemsbi_jax.types import GalaxyPosterior
from helpers.quadratic_galaxy import N_STARS, closed_form


def adapted(stars, npe, forward, mean) -> Star:
    words = keys_of_stars(jax.random.key(1), N_STARS)
    seen, observed = features_of(npe, stars), observe(stars)
    return adapt_charts(new_stars(words, seen, observed), npe, forward, mean)


def test_a_linear_star_moves_with_the_mode_of_its_posterior():
    rng = np.random.default_rng(3)
    by_galaxy, by_local = rng.normal(size=(8, 2)), rng.normal(size=(8, 4))
    values, origin = rng.normal(size=8), np.array([0.4, -0.2])

    def residuals(galaxy, local):
        rest = by_galaxy @ galaxy + by_local @ local - values
        return jnp.concatenate([rest, local])

    def mode(galaxy):
        matrix = by_local.T @ by_local + np.eye(4)
        return np.linalg.solve(matrix, by_local.T @ (values - by_galaxy @ galaxy))

    noise, weight = rng.normal(size=(4, 6)), np.full(6, 1.0 / 6.0)
    found = fit_shear(residuals, *map(jnp.asarray, (origin, noise, weight)))
    other = np.array([0.9, 0.7])
    moved = shift(found, jnp.asarray(other[:, None]))[:, 0]
    np.testing.assert_allclose(moved, mode(other) - mode(origin), atol=1e-5)


def test_a_star_without_finite_slopes_stays_where_it_is():
    found = fit_shear(
        lambda galaxy, local: jnp.full(8, jnp.nan) * (galaxy.sum() + local.sum()),
        jnp.zeros(2),
        jnp.zeros((4, 3)),
        jnp.full(3, 1.0 / 3.0),
    )
    np.testing.assert_array_equal(found.slope, 0.0)


def test_the_likelihood_of_stars_without_a_network_has_no_bias(problem):
    """The slope of the log likelihood, which a bias of a few draws would change."""
    matrix, stars, npe, forward, sigma = problem
    plain = without_proposals(npe)
    mean, covariance = closed_form(matrix, stars.values, sigma)
    sd = np.sqrt(np.diag(covariance))
    design = Design(mean, 4.0 * np.linalg.cholesky(covariance), 5)
    table = adapted(stars, plain, forward, mean)
    own = matrix[2:].T @ matrix[2:] + sigma**2 * np.eye(8)
    expected = [
        multivariate_normal.logpdf(stars.values - at @ matrix[:2], np.zeros(8), own)
        for at in design.points.T
    ]
    expected = np.array(expected).T
    errors, shifts = [], []
    for each in (table, table._replace(shear=no_shear(N_STARS))):
        found = evidence_at(each, plain, forward, design.points)
        value = np.asarray(found.log_likelihood, float)
        difference = value - expected
        errors.append(np.ptp(difference, axis=1))  # of each star, over the design
        grid, _ = fit_polynomial(design, value.sum(axis=0))
        shifts.append(np.abs(np.asarray(grid.mean) - mean).max() / sd.max())
    # a linear star: only the rounding of float32 changes between points
    assert np.max(errors[0]) < 1e-3 < 0.01 < np.median(errors[1])
    assert shifts[0] < 1e-3 < shifts[1]


def test_exact_without_a_network_is_the_closed_form(problem):
    matrix, stars, npe, forward, sigma = problem
    mean, covariance = closed_form(matrix, stars.values, sigma)
    sd = np.sqrt(np.diag(covariance))
    start = GalaxyPosterior("guess", np.zeros((2, 2)), mean + sd, 2.0 * covariance, {})
    plain = without_proposals(npe)
    result = exact_of_stars(jax.random.key(3), plain, forward, stars, start)
    assert result.checks["at_rest"]
    assert np.all(np.abs(np.asarray(result.grid.mean) - mean) < 0.005 * sd)
    ratio = np.sqrt(np.diag(result.grid.covariance)) / sd
    np.testing.assert_allclose(ratio, 1.0, atol=0.01)
    # were the effective draws to decide which stars get more, the mean would be biased
    assert result.found.n_draws.min() >= (1 + EXTRA_DRAWS_FACTOR) * DRAWS
