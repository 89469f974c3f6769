"""The posterior of psi around one place, with stars that are linearised there."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import expit

from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.tangent import Tangent, tangents
from chemsbi_jax.types import AnyArray


class Place(NamedTuple):
    """The posterior of psi around one place, with linearised stars."""

    psi: Float[np.ndarray, " psi"]
    stars: Tangent
    covariance: Float[np.ndarray, "psi psi"]  # inverse of the information


def look_at(
    stars: Star,
    local: Float[AnyArray, "star 4"],
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
) -> Place:
    """Stars that are linearised at one psi, and the information of psi there.

    Args:
        stars: `make_stars`.
        local: first guesses of the modes of the local latents.
        model: forward model and prior.
        layout: of psi.
        psi: latents of the shared parameters.
    """
    found = tangents(stars, local, model, layout, psi)
    log_outliers = float(unpack(jnp.asarray(psi), layout).log_outliers)
    # sums over stars in float64
    inlier = np.asarray(found.log_likelihood, float) + np.log1p(-np.exp(log_outliers))
    outlier = log_outliers + np.asarray(stars.log_broad, float)
    weight = expit(inlier - outlier)  # probability that a star is no outlier
    information = np.tensordot(weight, np.asarray(found.information, float), 1)
    covariance = np.linalg.inv(information + np.eye(len(psi)))
    return Place(psi, found, covariance)
