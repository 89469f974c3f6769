"""Further training of the networks of the stars."""

import equinox as eqx
import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy.hierarchical import (
    SharedErrors,
    load_shared_network,
    training,
    tuning,
)
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes


def steps_of(before, after, part):
    """Largest change of each array of a part of the network."""
    each = (eqx.filter(part(n), eqx.is_inexact_array) for n in (before, after))
    pairs = zip(*map(jax.tree.leaves, each), strict=True)
    return np.array([np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in pairs])


def test_the_head_and_the_flow_follow_at_a_tenth_of_the_rate():
    params = eqx.filter(load_shared_network().network, eqx.is_inexact_array)
    config = tuning.Tuning(fit=FitConfig(n_epochs=1, steps_per_epoch=1000))
    optimizer = tuning.optimizer_of(params, config)

    @jax.jit
    def train(params):
        state, gradient = (
            optimizer.init(params),
            jax.tree.map(jax.numpy.ones_like, params),
        )
        found = params
        for _ in range(5):  # of constant gradients: Adam's step is the rate
            updates, state = optimizer.update(gradient, state, found)
            found = eqx.apply_updates(found, updates)
        return found

    found = train(params)
    density = steps_of(params, found, lambda n: (n.head, n.flow))
    stars = steps_of(params, found, lambda n: (n.star, n.galaxy, n.second))
    warm_up = sum(range(5)) / 21 * config.learning_rate
    np.testing.assert_allclose(stars, warm_up, rtol=0.02)
    np.testing.assert_allclose(density, 0.1 * warm_up, rtol=0.02)


@pytest.fixture(scope="module")
def task():
    settings = SharedErrors()
    model = Model(forward_with_slopes(load_yield_emulator()), cs.paper_prior())
    return model, make_layout(settings, SHARED_FACTORS), settings.outlier_width


KEYS = jax.random.split(jax.random.key(0))
SHORT = {"groups": ((8, 10),), "n_held_out": 4, "fit": FitConfig(2, 15)}


@pytest.mark.slow
def test_tuning_mends_the_networks_of_the_stars(task):
    shipped = load_shared_network().network
    weights, rest = eqx.partition(shipped.second, eqx.is_inexact_array)
    spoilt = eqx.combine(jax.tree.map(lambda w: 0.8 * w, weights), rest)
    start = eqx.tree_at(lambda n: n.second, shipped, spoilt)
    config = tuning.Tuning(**SHORT)
    found, losses = tuning.tune_star_networks(*KEYS, start, *task, config, quiet=True)
    held_out = training.draw_held_out(KEYS[0], task, 4, config.groups)
    loss = eqx.filter_jit(training.batch_loss)
    assert losses.held_out_loss.shape == (2,)
    assert loss(found, held_out) < loss(start, held_out) - 0.1
    assert loss(found, held_out) == pytest.approx(losses.held_out_loss.min(), abs=1e-2)
    assert (steps_of(start, found, lambda n: (n.star, n.second)) > 0.0).all()
    for name in ("centre", "width"):
        np.testing.assert_array_equal(getattr(found, name), getattr(start, name))


@pytest.mark.slow
def test_a_start_that_is_better_comes_back(task):
    start = load_shared_network().network
    config = tuning.Tuning(learning_rate=3.0, **SHORT)
    found, _ = tuning.tune_star_networks(*KEYS, start, *task, config, quiet=True)
    assert eqx.tree_equal(found, start)
