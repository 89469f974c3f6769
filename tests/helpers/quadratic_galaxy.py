"""Galaxies whose posterior is known, behind a useless flow."""

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

from chemsbi_jax.types import Stars

N_STARS = 40


def quadratic(theta, matrix, bend):
    """Abundances that are linear, and bent along the second global parameter."""
    return theta @ matrix + bend * theta[..., 1:2] ** 2


def model(matrix, bend=0.0):
    """A forward model; all of them share their compiled programs."""
    matrix = jnp.asarray(matrix, jnp.float32)
    return Partial(quadratic, matrix=matrix, bend=jnp.float32(bend))


def galaxy_of(values, sigma):
    unknown = np.full(len(values), np.nan)
    return Stars(
        values,
        np.full(values.shape, sigma),
        np.ones(values.shape, bool),
        unknown,
        unknown,
        np.arange(len(values)).astype(str),
    )


def closed_form(matrix, values, sigma):
    """Mean and covariance of the two global parameters, locals integrated out."""
    first, rest = matrix[:2].T, matrix[2:].T
    noise = rest @ rest.T + sigma**2 * np.eye(matrix.shape[1])
    inverse = np.linalg.inv(noise)
    covariance = np.linalg.inv(np.eye(2) + len(values) * first.T @ inverse @ first)
    return covariance @ first.T @ inverse @ values.sum(axis=0), covariance
