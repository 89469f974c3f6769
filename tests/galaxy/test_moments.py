"""Stars in the units of their galaxy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.galaxy.hierarchical.mock import N_READINGS
from chemsbi_jax.galaxy.hierarchical.moments import N_MOMENTS, PLACES, find_moments


@pytest.fixture
def values(key):
    key_mix, key_star = jax.random.split(key)
    mix = jax.random.normal(key_mix, (N_READINGS, N_READINGS))
    return jax.random.normal(key_star, (400, N_READINGS)) @ mix + 0.5


def test_stars_in_units_of_their_galaxy_are_white(values):
    found = find_moments(values, jnp.ones_like(values))
    np.testing.assert_allclose(np.cov(found.stars.T), np.eye(N_READINGS), atol=0.03)
    np.testing.assert_allclose(found.values[:N_READINGS], values.mean(0)[PLACES], 1e-4)


def test_log_width_is_that_of_the_rest_of_a_linear_prediction(values):
    found = find_moments(values, jnp.ones_like(values))
    ordered = np.asarray(values, float)[:, PLACES]
    first = np.column_stack([np.ones(len(ordered)), ordered[:, :-1]])
    fit = np.linalg.lstsq(first, ordered[:, -1], rcond=None)[0]
    rest = np.std(ordered[:, -1] - first @ fit)
    width = np.exp(2.0 * found.values[2 * N_READINGS - 1])
    np.testing.assert_allclose(width, rest, rtol=0.02)


def test_what_no_star_has_is_zero_and_gaps_do_not_count(values):
    seen = jnp.ones_like(values).at[:, 2].set(0.0).at[:50, 4].set(0.0)
    found = find_moments(values * seen, seen)
    other = find_moments(jnp.where(seen > 0.0, values, 99.0), seen)
    for a, b in zip(found, other, strict=True):
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(a, b)
    place = list(PLACES).index(2)
    assert found.values.shape == (N_MOMENTS,)
    assert found.values[place] == found.values[N_READINGS + place] == 0.0
    assert not np.any(found.stars[:, place])


def test_a_gap_counts_as_the_mean_of_its_reading(values):
    seen = jnp.ones_like(values).at[:150, 4].set(0.0)
    found = find_moments(values, seen)
    place = list(PLACES).index(4)
    given = np.asarray(values)[150:, 4]
    np.testing.assert_allclose(found.values[place], given.mean(), atol=1e-4)
    alone = find_moments(values, seen * (jnp.arange(N_READINGS) == 4))
    width = np.exp(2.0 * alone.values[N_READINGS + place])
    np.testing.assert_allclose(width, given.std(), rtol=1e-3)


def test_a_galaxy_without_stars_has_finite_moments():
    nothing = jnp.zeros((5, N_READINGS))
    found = find_moments(nothing, nothing)
    assert np.isfinite(found.values).all()
    assert not np.any(found.stars)
