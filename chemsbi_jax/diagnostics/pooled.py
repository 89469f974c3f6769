"""Rank of a truth among its draws, by any measure that treats them alike.

A right posterior makes the truth one more draw, so its rank is uniform on 0..m. That
stays exact for measures that use a center and a scale if these come from the draws
and the truth together.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from chemsbi_jax.types import AnyArray


def check_draws(truths: AnyArray, draws: AnyArray) -> tuple[Array, Array]:
    """Both as JAX arrays, refused unless shaped (n, p) and (n, m, p)."""
    truths, draws = jnp.asarray(truths), jnp.asarray(draws)
    if truths.ndim != 2 or 0 in truths.shape:
        raise ValueError(f"Expected truths of shape (n, p); got {truths.shape}.")
    n, p = truths.shape
    if draws.ndim != 3 or draws.shape[::2] != (n, p) or draws.shape[1] == 0:
        raise ValueError(f"Expected draws of shape ({n}, m, {p}); got {draws.shape}.")
    return truths, draws


def count_below(
    truth: Float[AnyArray, "n *region"], draws: Float[AnyArray, "n draw *region"]
) -> Int[AnyArray, "n *region"]:
    """Number of draws below the truth, 0..m; -1 where a value is not finite."""
    finite = jnp.isfinite(truth) & jnp.isfinite(draws).all(1)
    return jnp.where(finite, (draws < truth[:, None]).sum(1), -1)


def standardize(
    truths: Float[AnyArray, "n p"], draws: Float[AnyArray, "n draw p"]
) -> tuple[
    Float[AnyArray, "n 1+draw p"], Float[AnyArray, "n 1 p"], Float[AnyArray, "n 1 p"]
]:
    """Truth and draws in units of their common mean and scatter, truth first."""
    both = jnp.concatenate([truths[:, None], draws], axis=1)
    center, scale = both.mean(1, keepdims=True), both.std(1, keepdims=True)
    return (both - center) / scale, center, scale
