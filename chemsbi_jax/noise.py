"""Measurement noise: part of the training model, added once and nowhere else."""

import jax
from jaxtyping import Array, Float, Key

SIGMA = 0.05  # dex, of every abundance (Buck+ 2025)


def add_noise(
    key: Key[Array, ""],
    abundances: Float[Array, "*batch element"],
    sigma: Float[Array, "..."] | float = SIGMA,
) -> Float[Array, "*batch element"]:
    """Independent Gaussian noise of `sigma` dex; never for stars that have noise."""
    return abundances + sigma * jax.random.normal(
        key, abundances.shape, abundances.dtype
    )
