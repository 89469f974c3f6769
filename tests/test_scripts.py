"""What scripts share, and the mock maker with wrong and right input."""

from pathlib import Path

import jax
import numpy as np
import pytest
from test_infer import load_script

import chemsbi_jax as cs
from chemsbi_jax import priors, scripts

TOY = str(Path(__file__).parent / "toy_yields.json")


@pytest.mark.parametrize("bad", [{"n": 0}, {"sigma": -1.0}, {"sigma": float("nan")}])
def test_mock_refuses_what_makes_no_galaxy(tmp_path, bad):
    mock = load_script("make_mock")
    config = mock.Config(tmp_path / "mock.ecsv", yields=TOY, quiet=True, **bad)
    with pytest.raises(ValueError, match="Expected --n of at least 1 and --sigma"):
        mock.main(config)
    assert not config.out.exists()


def test_mock_is_read_back(tmp_path):
    mock = load_script("make_mock")
    config = mock.Config(tmp_path / "mock.ecsv", n=40, yields=TOY, quiet=True)
    made, read = mock.main(config), cs.read_stars(config.out)
    np.testing.assert_allclose(read.values, made.values)
    assert np.all(read.errors == config.sigma)


def test_simulations_in_blocks_are_those_of_one_call(monkeypatch):
    yields = cs.load_yields(TOY)
    theta = priors.sample(jax.random.key(3), cs.paper_prior(), 50)
    monkeypatch.setattr(scripts, "SIMULATE_BLOCK", 16)
    found = scripts.simulate_blocks(theta, yields, cs.CLEAN, quiet=True)
    # float32, and other batch shapes: rounding of sums
    np.testing.assert_allclose(found, cs.simulate(theta, yields), atol=1e-5)
    traced = scripts._on_all_devices.cache_info()
    scripts.simulate_blocks(theta, yields, cs.CLEAN, quiet=True)
    assert scripts._on_all_devices.cache_info().hits == traced.hits + 1


def test_no_simulations_are_refused():
    with pytest.raises(ValueError, match="at least 1 star"):
        scripts.simulate_blocks(
            np.zeros((0, 6)), cs.load_yields(TOY), cs.CLEAN, quiet=True
        )


def test_mock_of_the_networks_in_fits(tmp_path):
    mock = load_script("make_mock")
    config = mock.Config(tmp_path / "mock.fits", n=300, emulator="tng", quiet=True)
    made, read = mock.main(config), cs.read_stars(config.out)
    np.testing.assert_allclose(read.values, made.values, atol=1e-6)  # float32
    np.testing.assert_allclose(read.errors, config.sigma, rtol=1e-6)
    assert len(made.values) > 250
