"""Networks and galaxies that many tests share."""

import numpy as np
import numpyro.distributions as dist
import pytest

import chemsbi_jax as cs
from chemsbi_jax.priors import Prior
from helpers import linear_galaxy
from helpers.networks import untrained
from helpers.quadratic_galaxy import N_STARS, galaxy_of, model

SHARP = pytest.param(0.2, marks=pytest.mark.slow)


@pytest.fixture(scope="module", params=[1.0, SHARP], ids=["vague", "sharp"])
def problem(request):
    """A linear model with normal priors, and an untrained flow."""
    rng = np.random.default_rng(4)
    matrix = 0.5 * rng.normal(size=(6, 8))
    latent = rng.normal(size=(N_STARS, 6))
    latent[:, :2] = (0.8, -0.6)
    values = latent @ matrix + request.param * rng.normal(size=(N_STARS, 8))
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    npe = untrained(prior)
    forward = model(matrix)
    return matrix, galaxy_of(values, request.param), npe, forward, request.param


@pytest.fixture(scope="session")
def exact_npe():
    return linear_galaxy.networks().npe


@pytest.fixture(scope="session")
def npe():
    return cs.load_npe("tng")
