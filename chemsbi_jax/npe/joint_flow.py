"""A flow of many latents at once, given a context: flowjax's masked autoregressive."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from flowjax.bijections import MaskedAutoregressive, RationalQuadraticSpline
from flowjax.distributions import Normal, Transformed
from flowjax.flows import masked_autoregressive_flow
from flowjax.utils import get_ravelled_pytree_constructor
from jax import lax
from jaxtyping import Array, Float, Key, PyTree
from paramax import unwrap

from chemsbi_jax.types import AnyArray

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


def draw_joint(
    key: Key[Array, ""], flow: Transformed, n: int, context: Float[AnyArray, " context"]
) -> Float[Array, "draw latent"]:
    """The draws of `flow.sample(key, (n,), context)`, apart from the last digits.

    flowjax evaluates the whole network of a layer, and the splines of all latents, to
    find one latent. Here each step evaluates what its latent needs, which takes a
    fiftieth of the time.

    Args:
        key: determines the draws.
        flow: of `new_joint_flow`.
        n: draws.
        context: what they are given.
    """
    noise = flow.base_dist.sample(key, (n,))
    bijection: Any = flow.bijection  # the inverse of a scan over the layers
    arrays, static = eqx.partition(bijection.bijection.bijection, eqx.is_array)

    def layer(values: Array, arrays: PyTree) -> tuple[Array, None]:
        autoregressive, permute = unwrap(eqx.combine(arrays, static)).bijections
        values = jax.vmap(permute.inverse)(values)
        return _draw_in_order(autoregressive, values, context), None

    draws, _ = lax.scan(layer, noise, arrays, reverse=True)
    return draws


def _draw_in_order(
    layer: MaskedAutoregressive, noise: Array, context: AnyArray
) -> Array:
    """Inverse of one layer, latent by latent: (draw, latent)."""
    mlp: Any = layer.masked_autoregressive_mlp
    first, last = mlp.layers
    n, n_latents = noise.shape
    from_latents, from_context = jnp.split(first.weight, [n_latents], axis=1)
    width = len(first.bias)
    steps = (
        noise.T,
        from_latents.T,
        last.weight.reshape(n_latents, -1, width),
        last.bias.reshape(n_latents, -1),
    )

    def inverse(parameters: Array, y: Array) -> Array:
        return layer.transformer_constructor(parameters).inverse(y)

    def step(hidden: Array, at: tuple) -> tuple[Array, Array]:
        y, weight_in, weight_out, bias_out = at
        x = jax.vmap(inverse)(mlp.activation(hidden) @ weight_out.T + bias_out, y)
        return hidden + x[:, None] * weight_in, x

    start = jnp.broadcast_to(from_context @ context + first.bias, (n, width))
    _, draws = lax.scan(step, start, steps)
    return draws.T


def with_spline(tree: PyTree, knots: int) -> PyTree:
    """`tree` whose autoregressive layers make their splines from concrete arrays.

    flowjax keeps the first parameters of the spline in the closure of a layer. A flow
    that was made inside `jit` or `eval_shape` holds a tracer there.

    Args:
        tree: holds flows of `new_joint_flow`.
        knots: of each spline.
    """
    # one program in place of one for each operation
    spline = eqx.filter_jit(RationalQuadraticSpline)(knots=knots, interval=INTERVAL)
    constructor, _ = get_ravelled_pytree_constructor(
        spline, filter_spec=eqx.is_inexact_array
    )

    def is_layer(node: Any) -> bool:
        return isinstance(node, MaskedAutoregressive)

    def replace(node: Any) -> Any:
        if not is_layer(node):
            return node
        return eqx.tree_at(lambda x: x.transformer_constructor, node, constructor)

    return jax.tree.map(replace, tree, is_leaf=is_layer)
