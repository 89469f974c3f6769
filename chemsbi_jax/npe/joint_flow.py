"""A flow of many latents at once, given a context: flowjax's masked autoregressive."""

import jax.numpy as jnp
from flowjax.bijections import RationalQuadraticSpline
from flowjax.distributions import Normal, Transformed
from flowjax.flows import masked_autoregressive_flow
from jaxtyping import Array, Key

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
