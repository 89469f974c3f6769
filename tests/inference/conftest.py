"""A galaxy whose posterior is known, and its result; sets of 4 and 15 abundances."""

import pytest

import chemsbi_jax as cs
from chemsbi_jax.cli import mock as mock_command
from chemsbi_jax.cli.flags import MockFlags
from chemsbi_jax.galaxy.any_yields import train_on_demand
from chemsbi_jax.yields.elements import SIXTEEN
from helpers import linear_galaxy
from helpers.element_sets import FOUR, SMALL, TRUTH, N, write_set

N_STARS = 60


@pytest.fixture(scope="session")
def networks():
    return linear_galaxy.networks()


@pytest.fixture(scope="session")
def stars():
    return linear_galaxy.make_stars(N_STARS)


@pytest.fixture(scope="session")
def result(networks, stars):
    return cs.infer(stars, networks=networks, seed=3, shared_errors=False, quiet=True)


@pytest.fixture(scope="session")
def saved(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("infer") / "out"
    return out, result.save(out, truth=(-2.1, -2.6))


@pytest.fixture(scope="session")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return {
        4: write_set(folder / "four.json", FOUR),
        15: write_set(folder / "fifteen.json", SIXTEEN),
    }


@pytest.fixture(scope="session")
def tables(sets):
    """The table of a mock galaxy of each set, made when it is first needed."""

    class Tables(dict):
        def __missing__(self, n):
            path = sets[n].with_suffix(".ecsv")
            flags = MockFlags(path, TRUTH, N, yields=str(sets[n]), quiet=True)
            mock_command.main(flags)
            return self.setdefault(n, path)

    return Tables()


@pytest.fixture(scope="session")
def emulators(sets):
    """A small emulator of each set, and its errors."""
    return {
        n: train_on_demand(cs.load_yields(path), cs.CLEAN, SMALL, True)
        for n, path in sets.items()
    }
