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
    pairs = zip(
        jax.tree.leaves(part(before)), jax.tree.leaves(part(after)), strict=True
    )
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
    stars = steps_of(params, found, lambda n: (n.star, n.second))
    warm_up = sum(range(5)) / 21 * config.learning_rate
    np.testing.assert_allclose(stars, warm_up, rtol=0.02)
    np.testing.assert_allclose(density, 0.1 * warm_up, rtol=0.02)


@pytest.mark.slow
def test_tuning_lowers_the_loss_or_gives_the_start_back(monkeypatch):
    monkeypatch.setattr(training, "GROUPS", ((4, 10),))
    settings = SharedErrors()
    model = Model(forward_with_slopes(load_yield_emulator()), cs.paper_prior())
    layout = make_layout(settings, SHARED_FACTORS)
    task = model, layout, settings.outlier_width
    start = load_shared_network().network
    keys = jax.random.split(jax.random.key(0))
    config = tuning.Tuning(n_held_out=2, fit=FitConfig(2, 3))
    found, losses = tuning.tune_star_networks(*keys, start, *task, config, quiet=True)
    held_out = training.draw_held_out(keys[0], task, 2)
    loss = jax.jit(training.batch_loss)
    assert losses.held_out_loss.shape == (2,)
    assert loss(found, held_out) <= loss(start, held_out) + 1e-4
    for name in ("centre", "width"):
        np.testing.assert_array_equal(getattr(found, name), getattr(start, name))
