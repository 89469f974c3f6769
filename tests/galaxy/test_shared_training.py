"""The loss of the network of shared errors, and the galaxies of the studies."""

import jax
import numpy as np
import pytest
from scipy.stats import norm

import chemsbi_jax as cs
from chemsbi_jax.constants import N_GLOBAL, SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy.hierarchical import (
    SharedErrors,
    load_shared_network,
    mock,
    network,
)
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.training import GALAXY_WEIGHT, batch_loss
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes


@pytest.fixture(scope="module")
def shipped():
    return load_shared_network().network


@pytest.fixture(scope="module")
def galaxies():
    model = Model(forward_with_slopes(load_yield_emulator()), cs.paper_prior())
    layout = make_layout(SharedErrors(), SHARED_FACTORS)
    width = SharedErrors().outlier_width
    keys = jax.random.split(jax.random.key(0), 3)
    draw = jax.jit(jax.vmap(lambda key: mock.draw_mock(key, model, layout, width, 16)))
    return draw(keys)


def densities(shipped, galaxies):
    find = jax.jit(jax.vmap(lambda galaxy: network.log_densities(shipped, galaxy)))
    return jax.tree.map(np.asarray, find(galaxies))


def test_density_of_the_galaxy_is_normal_with_the_first_mean_and_width(
    shipped, galaxies
):
    @jax.vmap
    def given(galaxy):
        summary = network.summarise(shipped, galaxy.stars, galaxy.counts)
        return network.condition(shipped, summary, galaxy.ratio)

    mean, log_width, _ = jax.tree.map(np.asarray, jax.jit(given)(galaxies))
    two = slice(N_GLOBAL)
    each = norm.logpdf(galaxies.psi[:, two], mean[:, two], np.exp(log_width[:, two]))
    found = densities(shipped, galaxies).galaxy
    np.testing.assert_allclose(found, each.sum(axis=1), rtol=1e-4)  # float32


def test_the_loss_has_both_densities(shipped, galaxies):
    every, galaxy = densities(shipped, galaxies)
    expected = -np.mean(every + GALAXY_WEIGHT * galaxy)
    loss = jax.jit(lambda g: batch_loss(shipped, [g]))(galaxies)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)  # float32
    assert abs(GALAXY_WEIGHT * galaxy.mean()) > 1e-2 * abs(expected)
