"""A network of shared errors that is read equals the one that was written."""

import equinox as eqx
import jax
import numpy as np
import pytest

from chemsbi_jax.errors import WeightsError
from chemsbi_jax.galaxy.hierarchical import mock
from chemsbi_jax.galaxy.hierarchical.network import NetworkSize, new_network
from chemsbi_jax.galaxy.hierarchical.trained import (
    Trained,
    load_shared_network,
    save_shared_network,
)
from chemsbi_jax.priors import paper_prior

SIZE = NetworkSize(
    n_features=4,
    star_width=4,
    galaxy=3,
    head_width=4,
    context=5,
    flow_layers=2,
    flow_width=6,
    knots=3,
)


def test_networks_of_two_readings_share_their_programs():
    """Else each inference in a session would compile them again."""
    first, second = (load_shared_network().network for _ in range(2))
    parts = [eqx.partition(x, eqx.is_array)[1] for x in (first, second)]
    assert jax.tree.structure(parts[0]) == jax.tree.structure(parts[1])
    assert jax.tree.leaves(parts[0]) == jax.tree.leaves(parts[1])


def test_weights_that_float16_does_not_hold_are_refused(tmp_path):
    trained = load_shared_network()
    bias = trained.network.head.layers[2].bias.at[3].set(1e5)
    network = eqx.tree_at(lambda n: n.head.layers[2].bias, trained.network, bias)
    with pytest.raises(WeightsError, match="up to 65504"):
        save_shared_network(tmp_path, trained._replace(network=network), SIZE, {})
    assert not list(tmp_path.iterdir())


def as_saved(x):
    """Weights are rounded to float16."""
    return x.astype(np.float16).astype(x.dtype) if eqx.is_inexact_array(x) else x


@pytest.mark.thorough
def test_reading_gives_the_network_that_was_made(key, tmp_path):
    """Masks, static parts and splines too, although reading draws no first weights."""
    made = new_network(
        key, 3, np.zeros(mock.N_READINGS), np.ones(mock.N_READINGS), SIZE
    )
    made = jax.tree.map(as_saved, made)
    scales = dict.fromkeys(("a", "b", "c"), 0.1)
    trained = Trained(made, paper_prior(), scales, 0.01, 0.3)
    save_shared_network(tmp_path, trained, SIZE, {})

    read = load_shared_network(tmp_path).network

    assert eqx.tree_equal(
        eqx.filter(made, eqx.is_array), eqx.filter(read, eqx.is_array)
    )
    psi, context = np.linspace(-1.0, 1.0, 3), np.linspace(-0.5, 0.5, SIZE.context)
    density = eqx.filter_jit(lambda flow: flow.log_prob(psi, context))
    np.testing.assert_array_equal(density(made.flow), density(read.flow))
