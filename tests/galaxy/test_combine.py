"""Several catalogues of one galaxy, against closed forms."""

import numpy as np
import pytest
from scipy import stats

from chemsbi_jax.galaxy.hierarchical.combine import (
    Information,
    information_of,
    posterior_of,
    tension_of,
    with_own_errors,
)

N_DRAWS = 40_000
NONE = np.zeros(3)


def linear(rng, truth, design, noise):
    """Information of data = design @ (common parameters) + noise, in closed form."""
    data = design @ truth + noise * rng.standard_normal(len(design))
    return Information(design.T @ data / noise**2, design.T @ design / noise**2)


def some(rng, n, truth=None):
    truth = rng.standard_normal(3) if truth is None else truth
    designs = rng.standard_normal((n, 2, 3))  # two of three directions each
    return truth, [linear(rng, truth, design, 0.5) for design in designs]


def test_information_of_draws():
    rng = np.random.default_rng(0)
    _, (part,) = some(rng, 1)
    expected = posterior_of([part])
    draws = rng.multivariate_normal(*expected, size=N_DRAWS)
    found = information_of(draws)
    np.testing.assert_allclose(found.matrix, part.matrix, atol=0.4, rtol=0.05)
    again = posterior_of([found])
    np.testing.assert_allclose(again.mean, expected.mean, atol=0.02)
    np.testing.assert_allclose(again.covariance, expected.covariance, atol=0.03)


def test_few_draws_do_not_narrow_the_interval():
    """Without the correction, 60 draws in 10 dimensions would be 20 % too precise."""
    rng, n_dim = np.random.default_rng(6), 10
    some = [information_of(0.1 * rng.standard_normal((60, n_dim))) for _ in range(200)]
    trace = np.mean([np.trace(part.matrix) for part in some]) / n_dim
    assert trace == pytest.approx(99.0, rel=0.04)
    draws = 0.1 * rng.standard_normal((N_DRAWS, n_dim))
    fewer = information_of(draws, 60).matrix
    assert np.trace(fewer) < 0.85 * np.trace(information_of(draws).matrix)


@pytest.mark.parametrize("n", [100, N_DRAWS])
def test_draws_of_the_prior_have_no_information(n):
    draws = np.random.default_rng(1).standard_normal((n, 19))
    assert np.abs(information_of(draws).matrix).max() == 0.0
    assert np.abs(information_of(draws, 80.0).matrix).max() == 0.0


@pytest.mark.parametrize("n", [100, 400])
def test_few_draws_are_no_information(n):
    """Five of 19 directions are known; the noise of the others must not count."""
    rng = np.random.default_rng(8)
    width = np.append(np.full(5, 0.2), np.ones(14))
    found = [information_of(width * rng.standard_normal((n, 19))) for _ in range(100)]
    trace = np.mean([np.trace(part.matrix) for part in found])
    assert trace == pytest.approx(5.0 * 24.0, rel=0.1)


def test_independent_catalogues_are_one_catalogue_of_all_data():
    rng = np.random.default_rng(2)
    _, parts = some(rng, 3)
    found = posterior_of(parts, 0.0)
    precision = np.eye(3) + sum(part.matrix for part in parts)
    mean = np.linalg.solve(precision, sum(part.vector for part in parts))
    np.testing.assert_allclose(found.mean, mean, rtol=1e-10)
    np.testing.assert_allclose(found.covariance, np.linalg.inv(precision), rtol=1e-9)


@pytest.mark.parametrize("n", [2, 4])
def test_correlated_errors_follow_the_variance_of_their_mean(n):
    """Precise equal catalogues: the prior does not count."""
    part = Information(1e6 * np.ones(3), 1e6 * np.eye(3))
    found = posterior_of([part] * n, 0.2)
    expected = 1e-6 * (1.0 + (n - 1) * 0.2) / n
    np.testing.assert_allclose(np.diag(found.covariance), expected, rtol=1e-5)
    np.testing.assert_allclose(found.mean, 1.0, rtol=1e-5)


def test_a_catalogue_without_information_changes_nothing():
    rng = np.random.default_rng(7)
    _, (part,) = some(rng, 1)
    nothing = Information(np.zeros(3), np.zeros((3, 3)))
    one, both = posterior_of([part]), posterior_of([part, nothing, nothing], 0.2)
    np.testing.assert_allclose(both.mean, one.mean, atol=1e-8)
    np.testing.assert_allclose(both.covariance, one.covariance, atol=1e-8)


def test_catalogues_that_constrain_different_directions_are_independent():
    parts = [Information(4.0 * row, np.diag(4.0 * row)) for row in np.eye(3)]
    found = posterior_of(parts, 0.5)
    np.testing.assert_allclose(found.covariance, np.eye(3) / 5.0, atol=1e-8)
    np.testing.assert_allclose(found.mean, 0.8, atol=1e-8)


def test_a_weak_catalogue_does_not_widen_a_precise_one():
    precise = Information(np.zeros(3), 4.0 * np.eye(3))
    weak = Information(np.zeros(3), 0.4 * np.eye(3))
    one = posterior_of([precise]).covariance
    both = posterior_of([precise, weak], 0.2).covariance
    assert np.diag(both).max() < np.diag(one).max()


def test_own_errors_add_to_the_variance():
    variance = np.array([0.0, 0.3, np.inf])
    part = Information(np.array([2.0, 4.0, 6.0]), np.diag([1.0, 2.0, 3.0]))
    finite = np.where(np.isinf(variance), 1e12, variance)
    found = with_own_errors(part, finite)
    expected = 1.0 / (1.0 / np.array([1.0, 2.0, 3.0]) + finite)
    np.testing.assert_allclose(np.diag(found.matrix), expected, rtol=1e-6, atol=1e-9)
    # the estimates of the data, 2, stay where they are
    np.testing.assert_allclose((found.vector / expected), 2.0, rtol=1e-5)


def test_a_direction_without_information_stays_without():
    part = Information(np.array([1.0, 0.0, 0.0]), np.diag([1.0, 0.0, 0.0]))
    found = with_own_errors(part, np.ones(3))
    np.testing.assert_allclose(found.matrix, np.diag([0.5, 0.0, 0.0]), atol=1e-12)


def test_coverage_of_linear_catalogues():
    """chi2 of the truth has its distribution, and own errors count."""
    rng = np.random.default_rng(3)
    variance = np.array([0.5, 0.0, 0.0])
    chi2 = []
    for _ in range(400):
        truth = rng.standard_normal(3)
        parts = []
        for _ in range(3):
            shifted = truth + np.sqrt(variance) * rng.standard_normal(3)
            (part,) = some(rng, 1, shifted)[1]
            parts.append(with_own_errors(part, variance))
        found = posterior_of(parts, 0.0)
        away = truth - found.mean
        chi2.append(away @ np.linalg.solve(found.covariance, away))
    assert abs(np.mean(chi2) - 3.0) < 4.0 * np.sqrt(6.0 / 400)


def p_values(rng, shift, n=400):
    found = []
    for _ in range(n):
        truth, others = some(rng, 1)
        (part,) = some(rng, 1, truth + shift)[1]
        found.append(tension_of(part, others, NONE).p)
    return np.array(found)


def test_p_of_catalogues_that_agree_is_uniform():
    """Two independent catalogues: the correlation counts from three on."""
    p = p_values(np.random.default_rng(4), np.zeros(3), 1000)
    assert stats.kstest(p, "uniform").pvalue > 0.001


def test_another_galaxy_is_noticed():
    p = p_values(np.random.default_rng(5), np.array([4.0, -4.0, 4.0]))
    assert np.mean(p < 0.01) > 0.7


def test_pull_names_the_parameter():
    precise = Information(np.zeros(3), 400.0 * np.eye(3))
    away = Information(400.0 * np.array([0.0, 1.0, 0.0]), 400.0 * np.eye(3))
    found = tension_of(away, [precise], NONE)
    assert found.n_directions == 3
    assert found.p < 1e-10
    pulls = found.away / np.sqrt(np.diag(found.scatter))
    assert abs(pulls[1]) > 10.0
    np.testing.assert_allclose(pulls[[0, 2]], 0.0, atol=1e-9)


def test_a_catalogue_without_information_is_never_unusual():
    nothing = Information(np.zeros(3), np.zeros((3, 3)))
    found = tension_of(nothing, [nothing], NONE)
    assert (found.n_directions, found.p) == (0, 1.0)
