"""Motion of a star's map with the two global latents.

The local parameters that explain a star change with those of its galaxy. Proposals that
stay where they were fitted lose draws away from that place, and the slope of the log
likelihood is then noise and bias: the log of a mean of n weights is low by
var(weights) / (2 n mean(weights)^2), which changes with the global latents. Here the
proposals move with the mode of the linearised star, so that the weights hardly change.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.small import solve_positive
from chemsbi_jax.npe.model import N_LOCAL
from chemsbi_jax.types import AnyArray


class Shear(NamedTuple):
    """A shift of the flow's noise, linear in the global latents; its volume is 1."""

    origin: Float[AnyArray, "*star 2"]  # global latents without a shift
    slope: Float[AnyArray, "*star 4 2"]  # of the noise with the global latents


def no_shear(n_stars: int) -> Shear:
    """For each star, noise that does not depend on the global latents."""
    return Shear(
        np.zeros((n_stars, N_GLOBAL), np.float32),
        np.zeros((n_stars, N_LOCAL, N_GLOBAL), np.float32),
    )


def shift(shear: Shear, points: Float[Array, "2 point"]) -> Float[Array, "4 point"]:
    """Shift of one star's noise at some global latents."""
    return jnp.asarray(shear.slope) @ (points - jnp.asarray(shear.origin)[:, None])


def moves(shear: Shear) -> Bool[np.ndarray, " star"]:
    """Stars with a map that moves."""
    return np.abs(np.asarray(shear.slope)).max(axis=(1, 2)) > 0.0


def fit_shear(
    residuals: Callable[[Array, Array], Array],
    origin: Float[Array, " 2"],
    noise: Float[Array, "4 draw"],
    weight: Float[Array, " draw"],
) -> Shear:
    """How the mode of one star's noise moves, by its mean Gauss-Newton matrix.

    For residuals r that are linear in global latents g and noise z, the mode moves by
    -(r_z' r_z)^-1 r_z' r_g.

    Args:
        residuals: (global latents, noise) -> residuals, in standard deviations, of the
            readings and of the prior of the local parameters.
        origin: global latents.
        noise: draws at these latents.
        weight: of the draws; they sum to 1.
    """
    slopes = jax.jacfwd(residuals, (0, 1))
    by_galaxy, by_noise = jax.vmap(slopes, (None, 1))(origin, noise)
    matrix = jnp.einsum("d,dri,drj->ij", weight, by_noise, by_noise)
    change = jnp.einsum("d,dri,drj->ij", weight, by_noise, by_galaxy)
    slope = -solve_positive(matrix, change.T).T
    # NaN of a star without a proposal: its map stays where it is
    return Shear(origin, jnp.nan_to_num(slope, posinf=0.0, neginf=0.0))
