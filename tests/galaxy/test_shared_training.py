"""The loss of the network of shared errors, and the galaxies of the studies."""

import jax
import numpy as np
import pytest
from scipy.stats import norm

import chemsbi_jax as cs
from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL, SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy.hierarchical import (
    SharedErrors,
    load_shared_network,
    mock,
    network,
)
from chemsbi_jax.galaxy.hierarchical.settings import BLOCKS
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.training import (
    GALAXY_WEIGHT,
    GROUPS,
    batch_loss,
)
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


def test_training_has_few_abundances_and_many_gaps():
    draw = jax.jit(jax.vmap(lambda key: mock.draw_errors(key, 30).seen[:, :-1]))
    seen = np.asarray(draw(jax.random.split(jax.random.key(1), 2000))) > 0.0
    given = seen.any(axis=1)
    number = given.sum(axis=1)
    assert number.min() == 1
    assert all(0.02 < np.mean(number == n) for n in range(1, len(ABUNDANCES) + 1))
    few = number <= 3
    has_oxygen = given[few][:, ABUNDANCES.index("o_fe")]
    assert 0.5 < np.mean(~has_oxygen) < 0.95
    gaps = [1.0 - s[:, g].mean() for s, g in zip(seen, given, strict=True)]
    assert np.max(gaps) > 0.7
    assert np.mean(np.array(gaps) == 0.0) > 0.3  # tables without gaps


def test_training_has_held_blocks_beside_the_default_priors():
    layout = make_layout(SharedErrors(), SHARED_FACTORS)
    draw = jax.jit(jax.vmap(lambda key: mock.draw_ratios(key, layout)))
    ratio = np.asarray(draw(jax.random.split(jax.random.key(2), 2000)))
    at = layout.slices()
    free = [b for b in BLOCKS if np.asarray(layout.scale)[at[b]].any()]
    is_held = np.array([(ratio[:, at[b]] == 0.0).all(axis=1) for b in free])
    is_default = np.array([(ratio[:, at[b]] == 1.0).all(axis=1) for b in free])
    assert 0.4 < is_default.all(axis=0).mean() < 0.6
    assert is_held.all(axis=0).mean() > 0.02
    for i, block in enumerate(free):  # as `hold=(block,)` of `SharedErrors`
        others = np.delete(is_default, i, axis=0).all(axis=0)
        assert np.mean(is_held[i] & others) > 0.01, block
    # what is always held has the ratio of `prior_ratio`
    assert (ratio[:, np.asarray(layout.scale) == 0.0] == 1.0).all()


@pytest.mark.thorough
def test_stars_without_an_abundance_do_not_count():
    model = Model(forward_with_slopes(load_yield_emulator()), cs.paper_prior())
    layout = make_layout(SharedErrors(), SHARED_FACTORS)
    like = mock.draw_errors(jax.random.key(3), 16)
    seen = np.asarray(like.seen).copy()
    seen[:5, :-1], seen[:5, -1] = 0.0, 1.0  # birth times alone
    seen[5:] = 1.0
    psi = np.zeros(len(layout.scale))
    width = SharedErrors().outlier_width
    draw = jax.jit(mock.draw_stars)
    _, counts = draw(
        jax.random.key(4), model, layout, psi, like._replace(seen=seen), width
    )
    assert not np.asarray(counts)[:5].any()
    assert np.asarray(counts)[5:].all()


@pytest.mark.parametrize(("n", "times", "same"), [(100, 2, False), (1000, 3, True)])
def test_number_of_stars_ends_with_that_of_the_training(shipped, n, times, same):
    few = mock.draw_errors(jax.random.key(5), n)
    values = np.random.default_rng(2).normal(scale=0.2, size=few.seen.shape)
    few = few._replace(values=values * np.asarray(few.seen))
    many = jax.tree.map(lambda x: np.concatenate([np.asarray(x)] * times), few)
    summarise = jax.jit(lambda *stars: network.summarise(shipped, *stars))
    one, other = (np.asarray(summarise(x, np.ones(len(x.seen)))) for x in (few, many))
    # the means are the same; the number of stars is the last input
    assert (one[-1] == other[-1]) == same
    assert np.allclose(one, other, atol=1e-4) == same  # float32
    assert max(n for _, n in GROUPS) == network.LARGEST_NUMBER
