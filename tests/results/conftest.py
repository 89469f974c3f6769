"""A posterior and its stars."""

import numpy as np
import pytest

from chemsbi_jax.results import (
    GalaxyPosterior,
)
from chemsbi_jax.types import Stars
from helpers.correlated import COVARIANCE, MEAN


@pytest.fixture
def posterior():
    draws = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, 20_000)
    checks = {"model_fit": {"flagged": False, "p_value": 0.4, "text": "fits"}}
    return GalaxyPosterior("flow", draws, MEAN, COVARIANCE, checks)


@pytest.fixture
def stars():
    values = np.random.default_rng(2).normal(0, 0.2, (3, 8))
    observed = np.ones((3, 8), bool)
    observed[1, 2] = False
    values[1, 2] = np.nan
    return Stars(
        values,
        np.where(observed, 0.05, np.nan),
        observed,
        np.array([3.0, np.nan, 9.0]),
        np.array([0.3, np.nan, 0.9]),
        np.array(["HIP 1", "β Hyi", "3"]),
    )
