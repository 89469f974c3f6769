"""The head of the network of shared parameters: more units, and units of its inputs."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical.network import SharedNetwork


class Units(NamedTuple):
    """Middle and scale of each feature of a summary."""

    mean: Float[np.ndarray, " feature"]
    spread: Float[np.ndarray, " feature"]


def in_units(network: SharedNetwork, units: Units) -> SharedNetwork:
    """The same network for summaries in these units: (summary - mean) / spread."""
    first = network.head.layers[0]
    weight, n = first.weight, len(units.mean)
    bias = jnp.asarray(first.bias) + weight[:, :n] @ units.mean
    weight = weight.at[:, :n].multiply(units.spread)
    return eqx.tree_at(
        lambda x: (x.head.layers[0].weight, x.head.layers[0].bias),
        network,
        (weight, bias),
    )


def require_width(network: SharedNetwork, width: int) -> None:
    """Refuse fewer units than the layers of the head have.

    Raises:
        InputError: there are fewer.
    """
    old = network.head.width_size
    if width < old:
        raise InputError(
            f"Expected a head of at least {old} units, as the network has; got {width}."
        )


def with_wide_head(
    key: Key[Array, ""], network: SharedNetwork, width: int
) -> SharedNetwork:
    """The same density, with further units in the two layers of the head.

    The output of the new units has weight 0 before the training.

    Raises:
        InputError: the head has more units already.
    """
    require_width(network, width)
    first, second, last = network.head.layers
    n_in, n_out = len(first.weight[0]), len(last.weight)
    old = network.head.width_size
    new = eqx.nn.MLP(n_in, n_out, width, 2, jax.nn.gelu, key=key)
    layers = new.layers
    weights = (
        layers[0].weight.at[:old].set(first.weight),
        layers[1].weight.at[:old].set(0.0).at[:old, :old].set(second.weight),
        jnp.zeros_like(layers[2].weight).at[:, :old].set(last.weight),
    )
    biases = (
        jnp.asarray(layers[0].bias).at[:old].set(first.bias),
        jnp.asarray(layers[1].bias).at[:old].set(second.bias),
        last.bias,
    )
    new = eqx.tree_at(lambda m: [x.weight for x in m.layers], new, list(weights))
    new = eqx.tree_at(lambda m: [x.bias for x in m.layers], new, list(biases))
    return eqx.tree_at(lambda n: n.head, network, new)
