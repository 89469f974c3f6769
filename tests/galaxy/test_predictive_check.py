"""The predictive check, and the budget of the width."""

from pathlib import Path

import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical import posterior
from chemsbi_jax.galaxy.hierarchical.mock import draw_stars, is_population_held
from chemsbi_jax.galaxy.hierarchical.network import summarise
from chemsbi_jax.galaxy.hierarchical.population_form import draw_form
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star, make_stars
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes

EXAMPLE = Path(cs.__file__).parent / "pretrained/stars/example_galaxy.ecsv"
N_GALAXIES, N_STARS, CHECK, WIDTH = 3, 8, 2, 0.5
# of float32, in features of order 1; 1.4e-4 was seen in a slope of the mock readings,
# whose covariance is nearly singular
ROUNDING, OF_MOCKS = 1e-4, 1e-3


@pytest.mark.thorough
def test_all_mock_galaxies_at_once(key):
    trained = h.load_shared_network()
    model = Model(forward_with_slopes(load_yield_emulator()), trained.prior)
    layout = make_layout(h.SharedErrors(), SHARED_FACTORS)
    key_psi, key_values, key_mocks = jax.random.split(key, 3)
    shape = N_GALAXIES, len(layout.scale)
    psi = np.asarray(0.3 * jax.random.normal(key_psi, shape), np.float32)
    values = np.asarray(0.2 * jax.random.normal(key_values, (N_STARS, 9)), np.float32)
    ones = np.ones_like(values)
    like = Star(values, 0.0025 * ones, ones, 0.0 * ones[:, 0], 0.0 * ones)
    counts = np.array([1.0] * (N_STARS - 2) + [0.0] * 2, np.float32)

    i = np.asarray(CHECK, np.uint32)
    parts = jax.tree.map(lambda x: np.stack([x, x[::-1]]), like)
    place = model, layout, like, parts, counts, WIDTH
    own, mocks = posterior._summaries(key_mocks, i, trained.network, psi, *place)

    read = jax.jit(lambda stars, counts: summarise(trained.network, stars, counts))
    for j in range(2):
        expected = read(jax.tree.map(lambda x, j=j: x[j], parts), counts)
        np.testing.assert_allclose(own[j], expected, atol=ROUNDING)

    @jax.jit
    def draw(key, psi):
        key_form, key_stars = jax.random.split(key)
        form = draw_form(key_form, is_population_held(layout))
        return draw_stars(key_stars, model, layout, psi, like, WIDTH, form)

    key_check = jax.random.fold_in(key_mocks, CHECK)  # key reuse: the expected ones
    for j, key_galaxy in enumerate(jax.random.split(key_check, N_GALAXIES)):
        stars, born = draw(key_galaxy, psi[j])
        np.testing.assert_allclose(mocks[j], read(stars, born * counts), atol=OF_MOCKS)
    assert np.abs(np.diff(mocks, axis=0)).max() > 0.01


@pytest.mark.thorough
def test_the_order_of_the_table_does_not_matter():
    """The first 256 of sorted stars are unlike any mock galaxy; random ones count."""
    trained, n = h.load_shared_network(), 600
    forward = forward_with_slopes(load_yield_emulator())
    stars = cs.read_stars(EXAMPLE).take(slice(n))
    by_iron = np.argsort(stars.values[:, stars.abundances.index("fe_h")])
    for some in (stars, stars.take(by_iron)):
        key = jax.random.key(3)
        found = h.hierarchical_posterior(key, trained, forward, some, n_draws=1000)
        assert found.is_converged
        assert found.posterior.checks["predictive_p"] > 0.05
        assert found.posterior.checks["predictive_distance"] < 1.5


def numbered_stars(n):
    """Stars whose readings are their numbers."""
    of_each = np.broadcast_to(np.arange(n, dtype=np.float32)[:, None], (n, 9))
    return Star(of_each, of_each, of_each, of_each[:, 0], of_each)


@pytest.mark.parametrize("n", [257, 600, 2048])
def test_the_parts_have_all_stars_of_a_table(key, n):
    some = h._random_rows(key, numbered_stars(n))
    numbers = some.parts.values[..., 0]
    assert numbers.shape == (h.N_PARTS, h.MOST_STARS)
    assert len(np.unique(numbers)) == n
    for part in numbers:
        assert len(np.unique(part)) == h.MOST_STARS
    np.testing.assert_array_equal(some.stars.values[:, 0], some.rows)
    np.testing.assert_array_equal(numbers[0], some.rows)


def test_a_small_table_is_checked_whole(key):
    some = h._random_rows(key, numbered_stars(200))
    assert some.parts is None
    np.testing.assert_array_equal(some.rows, np.arange(200))


def test_the_median_part_counts():
    draw = np.random.default_rng(0)
    mocks = draw.normal(size=(512, 20))
    near, far = np.zeros((5, 20)), np.full((5, 20), 5.0)
    few = posterior._compare(np.concatenate([near, far[:4]]), mocks)
    most = posterior._compare(np.concatenate([near[:4], far]), mocks)
    assert few.p > 0.5
    assert most.p < 0.01


def test_the_budget_does_not_depend_on_the_random_numbers():
    trained, settings = h.load_shared_network(), h.SharedErrors()
    layout = make_layout(settings, SHARED_FACTORS)
    stars = make_stars(cs.read_catalog(EXAMPLE).stars, settings, trained.prior)
    ratio = np.ones(len(layout.scale), np.float32)
    galaxy = posterior.padded(jax.tree.map(lambda x: x[:64], stars), layout, ratio)
    keys = jax.random.split(jax.random.key(3))
    first, second = (posterior.width_budget(k, trained.network, galaxy) for k in keys)
    assert list(first) == [*h.BLOCKS, "all"]
    assert 0.3 < first["yields"]["alpha_imf"] < first["all"]["alpha_imf"]
    for block, shares in first.items():
        assert shares == pytest.approx(second[block], abs=0.03)  # noise: 0.005
