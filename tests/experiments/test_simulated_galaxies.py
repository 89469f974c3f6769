"""Galaxies of published sets: their errors are those that were drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from common import simulated_galaxies
from common.simulated_galaxies import Size, _draw_errors, _measure, simulate_galaxies

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.galaxy.hierarchical.star import EDGE

N_STARS = 4000
FAR = 4.5  # standard errors: the largest of 16 values is beyond it in 1 of 10,000 runs


@pytest.fixture(scope="module")
def shared():
    """Shared parameters of two galaxies, with errors."""
    galaxy = jnp.array([[0.5, -1.0], [0.0, 0.0]])
    return _draw_errors(jax.random.key(1), galaxy, True)


def test_without_errors_there_are_none():
    galaxy = jnp.array([[0.5, -1.0]])
    found = _draw_errors(jax.random.key(1), galaxy, False)
    np.testing.assert_array_equal(found.galaxy, galaxy)
    for name in ("factors", "zero_points", "variance", "mean", "log_width"):
        assert not np.asarray(getattr(found, name)).any(), name


def test_errors_have_no_yield_factors(shared):
    """The stars' yields are those of the set."""
    assert not np.asarray(shared.factors).any()
    assert np.asarray(shared.zero_points).any()


def test_zero_points_and_scatter_are_in_the_values(shared):
    clean = np.full((2, N_STARS, len(cs.ABUNDANCES)), 0.3)
    clean[0, 7] = np.nan  # the model has no such star
    found = _measure(jax.random.key(2), clean, shared, 0.05, np.array(["tng"] * 2))
    assert found.counts[0, 7] == 0.0
    assert found.counts.sum() == 2 * N_STARS - 1
    values = np.where(found.counts[..., None] > 0, found.stars.values[..., :-1], np.nan)
    sd = np.sqrt(0.05**2 + np.asarray(shared.variance)[:, :-1])
    error = sd / np.sqrt(N_STARS)
    shift = np.nanmean(values, axis=1) - 0.3 - np.asarray(shared.zero_points)[:, :-1]
    assert np.abs(shift / error).max() < FAR
    ratio = np.nanstd(values, axis=1) / sd
    np.testing.assert_allclose(ratio, 1.0, atol=FAR / np.sqrt(2 * N_STARS))


def test_local_parameters_have_the_population(shared):
    found = simulated_galaxies._parameters(jax.random.key(3), shared, N_STARS)
    latents = np.asarray(priors.to_normal(cs.paper_prior(), jnp.asarray(found)))
    np.testing.assert_allclose(latents[..., :2].std(axis=1), 0.0, atol=1e-3)
    local = latents[0, :, 2:5]  # the birth time's prior is truncated
    width = np.exp(np.asarray(shared.log_width)[0, :3])
    mean = np.asarray(shared.mean)[0, :3]
    inside = np.abs(mean) + 3 * width < EDGE  # else the ends cut the distribution
    assert inside.any()
    shift = (local.mean(axis=0) - mean) / (width / np.sqrt(N_STARS))
    assert np.abs(shift[inside]).max() < FAR
    assert np.abs(local).max() <= EDGE + 0.05  # float32, at the ends of the priors


@pytest.mark.thorough
@pytest.mark.tables
@pytest.mark.usefixtures("data")
def test_sets_have_equal_shares_and_differ():
    size, key = Size(4, 10, 0.05), jax.random.key(4)
    names = ["tng", "nkt13+k10+w7"]
    both, one = (
        simulate_galaxies(key, n, size, with_errors=True, quiet=True)
        for n in (names, names[:1])
    )
    assert both.labels.tolist() == names * 2
    assert both.counts.all()
    differ = np.abs(both.stars.values - one.stars.values).max(axis=(1, 2))
    np.testing.assert_allclose(differ[::2], 0.0, atol=1e-5)  # of the same set
    assert (differ[1::2] > 0.05).all()
