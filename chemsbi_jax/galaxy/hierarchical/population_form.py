"""Forms of the population: one normal distribution, or two with correlations.

The model has a mean and a width of each local latent. How the latents are distributed
around these is not known: a galaxy may have two populations, such as a thin and a thick
disc, and local parameters that go together. The network of shared parameters is trained
on galaxies of random forms, so that its posterior does not take one form for granted.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.types import AnyArray

P_NORMAL = 0.5  # of a galaxy: one normal distribution of each latent
SHARES = (0.2, 0.8)  # of the stars, in the first population
APART = 1.5  # scale of the difference of means, in widths of a population
SLOPE = 0.7  # scale of the slopes between latents
SPREAD = 0.4  # of the natural log of the widths


class Form(NamedTuple):
    """Two populations; together each latent has mean 0 and variance 1."""

    share: Float[AnyArray, ""]  # of the first one
    means: Float[AnyArray, "2 4"]
    roots: Float[AnyArray, "2 4 4"]  # lower triangular


class Keys(NamedTuple):
    """One key for each random step."""

    is_normal: Key[Array, ""]
    share: Key[Array, ""]
    apart: Key[Array, ""]
    slopes: Key[Array, ""]
    widths: Key[Array, ""]


def draw_form(key: Key[Array, ""], is_held: bool | Bool[AnyArray, ""] = False) -> Form:
    """A random form of the population of one galaxy.

    Args:
        key: determines it.
        is_held: whether the population is held; it is then normal.
    """
    keys = Keys(*jax.random.split(key, len(Keys._fields)))
    is_normal = (jax.random.uniform(keys.is_normal) < P_NORMAL) | is_held
    size = jnp.where(is_normal, 0.0, 1.0)
    low, high = SHARES
    share = jax.random.uniform(keys.share, minval=low, maxval=high)
    apart = size * APART * jax.random.normal(keys.apart, (N_LOCAL,))
    slopes = SLOPE * jax.random.normal(keys.slopes, (2, N_LOCAL, N_LOCAL))
    widths = jnp.exp(size * SPREAD * jax.random.normal(keys.widths, (2, N_LOCAL)))
    roots = widths[..., None] * (jnp.eye(N_LOCAL) + size * jnp.tril(slopes, -1))
    means = jnp.stack([1.0 - share, -share])[:, None] * apart
    shares = jnp.stack([share, 1.0 - share])
    # of the mixture, whose mean is 0
    each = jnp.sum(roots**2, axis=-1) + means**2
    scale = jnp.sqrt(shares @ each)
    return Form(share, means / scale, roots / scale[:, None])


def draw_deviates(key: Key[Array, ""], form: Form, n: int) -> Float[Array, "star 4"]:
    """Local latents of `n` stars in units of the population, around its mean."""
    key_member, key_normal = jax.random.split(key)
    is_first = jax.random.uniform(key_member, (n, 1)) < form.share
    normal = jax.random.normal(key_normal, (n, N_LOCAL))
    # a product of so small matrices for each galaxy would be slower
    parts = form.roots[:, None] * normal[:, None]
    each = form.means[:, None] + jnp.sum(parts, axis=-1)
    return jnp.where(is_first, each[0], each[1])
