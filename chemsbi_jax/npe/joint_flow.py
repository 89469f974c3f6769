"""A flow of many latents at once, given a context: flowjax's masked autoregressive."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import MaskedAutoregressive, RationalQuadraticSpline
from flowjax.distributions import Normal, Transformed
from flowjax.flows import masked_autoregressive_flow
from flowjax.utils import get_ravelled_pytree_constructor
from jaxtyping import Array, Key, PyTree

INTERVAL = 4.0  # standard deviations within which the splines bend


def new_joint_flow(
    key: Key[Array, ""],
    n_latents: int,
    n_context: int,
    n_layers: int,
    width: int,
    knots: int,
) -> Transformed:
    """A flow before its training (Papamakarios+ 2017; splines of Durkan+ 2019).

    Args:
        key: determines the first weights.
        n_latents: of the flow; their prior is about a standard normal.
        n_context: what they are given.
        n_layers: of the flow.
        width: of each layer's network.
        knots: of each spline.
    """
    return masked_autoregressive_flow(
        key,
        base_dist=Normal(jnp.zeros(n_latents)),
        transformer=RationalQuadraticSpline(knots=knots, interval=INTERVAL),
        cond_dim=n_context,
        flow_layers=n_layers,
        nn_width=width,
    )


def with_spline(tree: PyTree, knots: int) -> PyTree:
    """`tree` whose autoregressive layers make their splines from concrete arrays.

    flowjax keeps the first parameters of the spline in the closure of a layer. A flow
    that was made inside `jit` or `eval_shape` holds a tracer there.

    Args:
        tree: holds flows of `new_joint_flow`.
        knots: of each spline.
    """
    constructor, _ = get_ravelled_pytree_constructor(
        RationalQuadraticSpline(knots=knots, interval=INTERVAL),
        filter_spec=eqx.is_inexact_array,
    )

    def is_layer(node: Any) -> bool:
        return isinstance(node, MaskedAutoregressive)

    def replace(node: Any) -> Any:
        if not is_layer(node):
            return node
        return eqx.tree_at(lambda x: x.transformer_constructor, node, constructor)

    return jax.tree.map(replace, tree, is_leaf=is_layer)
