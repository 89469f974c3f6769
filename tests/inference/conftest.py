"""A galaxy whose posterior is known, and its result."""

import pytest

import chemsbi_jax as cs
from helpers import linear_galaxy

N_STARS = 60


@pytest.fixture(scope="session")
def networks():
    return linear_galaxy.networks()


@pytest.fixture(scope="session")
def stars():
    return linear_galaxy.make_stars(N_STARS)


@pytest.fixture(scope="session")
def result(networks, stars):
    return cs.infer(stars, networks=networks, seed=3, quiet=True)


@pytest.fixture(scope="session")
def saved(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("infer") / "out"
    return out, result.save(out, truth=(-2.1, -2.6))
