"""Second part of the training of the network of shared errors."""

import equinox as eqx
import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import SharedErrors, load_shared_network
from chemsbi_jax.galaxy.hierarchical import bank as of_bank
from chemsbi_jax.galaxy.hierarchical.head import in_units, with_wide_head
from chemsbi_jax.galaxy.hierarchical.mock import draw_mock
from chemsbi_jax.galaxy.hierarchical.network import (
    condition,
    densities_of_summary,
    log_densities,
)
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes

SMALL = ((3, 0.25), (5, 0.75))


@pytest.fixture(scope="module")
def shipped():
    return load_shared_network().network


@pytest.fixture(scope="module")
def task():
    model = Model(forward_with_slopes(load_yield_emulator()), cs.paper_prior())
    layout = make_layout(SharedErrors(), SHARED_FACTORS)
    return model, layout, SharedErrors().outlier_width


@pytest.fixture(scope="module")
def bank(shipped, task):
    patch = pytest.MonkeyPatch()
    patch.setattr(of_bank, "SIZES", SMALL)
    patch.setattr(of_bank, "STARS_AT_ONCE", 200)
    found = of_bank.draw_bank(jax.random.key(0), shipped, *task, 400, quiet=True)
    patch.undo()
    return found


def conditions(network, bank):
    find = jax.jit(jax.vmap(lambda s, r: condition(network, s, r)))
    return find(bank.summary[:50], bank.ratio[:50])


def mean_density(network, bank):
    find = jax.jit(jax.vmap(lambda *row: densities_of_summary(network, *row).all))
    return float(np.mean(find(*bank)))


def test_the_bank_has_galaxies_of_all_sizes_in_random_order(bank):
    assert [len(x) for x in bank] == [400, 400, 400]
    number = bank.summary[:, -1]  # log of the number of stars that count
    assert len(np.unique(bank.psi[:, 0])) == 400
    is_small = number < number.max() - 0.1
    # five standard errors of the difference; 0.5 if the sizes came one after another
    first, second = np.mean(is_small[:200]), np.mean(is_small[200:])
    assert first == pytest.approx(second, abs=0.22)
    assert 0.2 < np.mean(is_small) < 0.9
    for x in bank:
        assert np.isfinite(x).all()


def test_densities_of_a_summary_are_those_of_its_galaxy(shipped, task):
    model, layout, width = task

    @jax.jit
    def both(key):
        galaxy = draw_mock(key, model, layout, width, 8)
        bank = of_bank.summary_of(key, shipped, *task, 8)
        of_summary = densities_of_summary(shipped, *bank)
        return log_densities(shipped, galaxy), of_summary

    expected, found = both(jax.random.key(1))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("old", [112, 384])
def test_a_wider_head_gives_the_same_density_before_its_training(shipped, bank, old):
    n_in, n_out = (shipped.head.layers[i].weight.shape[1 - i // 2] for i in (0, 2))
    head = eqx.nn.MLP(n_in, n_out, old, 2, jax.nn.gelu, key=jax.random.key(4))
    narrow = eqx.tree_at(lambda n: n.head, shipped, head)
    wide = with_wide_head(jax.random.key(2), narrow, 384)
    assert wide.head.layers[1].weight.shape == (384, 384)
    for found, expected in zip(
        conditions(wide, bank), conditions(narrow, bank), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_narrower_head_is_refused(shipped):
    with pytest.raises(InputError, match="at least 384 units"):
        with_wide_head(jax.random.key(2), shipped, 300)


def test_units_of_the_summary_leave_the_density(shipped, bank):
    units = of_bank.units_of(bank)
    inside = in_units(shipped, units)
    scaled = bank._replace(summary=(bank.summary - units.mean) / units.spread)
    for found, expected in zip(
        conditions(inside, scaled), conditions(shipped, bank), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.thorough
def test_the_training_mends_the_head_and_leaves_the_networks_of_the_stars(
    shipped, bank
):
    bias = shipped.head.layers[2].bias
    worse = eqx.tree_at(lambda n: n.head.layers[2].bias, shipped, bias + 0.3)
    config = of_bank.HeadTraining(
        batch=64, held_out=0.25, learning_rate=1e-4, fit=FitConfig(3, 20)
    )
    key = jax.random.key(3)
    found, _ = of_bank.train_head(key, worse, bank, config, quiet=True)
    kept = [
        eqx.filter((n.star, n.galaxy, n.second, n.centre, n.width), eqx.is_array)
        for n in (found, shipped)
    ]
    assert eqx.tree_equal(*kept)
    assert not eqx.tree_equal(found.flow, shipped.flow)
    held_out = jax.tree.map(lambda x: x[:100], bank)
    before, after = (mean_density(n, held_out) for n in (worse, found))
    assert after > before + 0.5  # nat; the shift of 0.3 costs far more
