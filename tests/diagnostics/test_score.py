"""The score of many stars: closed forms, and posteriors that it must reject."""

import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax import priors
from chemsbi_jax.diagnostics import score_test
from chemsbi_jax.errors import InputError
from helpers.networks import untrained

N = 200_000
COVARIANCE = np.array([[0.09, 0.1], [0.1, 0.16]])  # of one star's posterior


def stars_of(shift=(0.0, 0.0), scale=1.0):
    """Scores of stars at truth zero whose posteriors are shifted and scaled."""
    root = np.linalg.cholesky(COVARIANCE)
    centre = np.random.default_rng(0).normal(size=(N, 2)) @ root.T + shift
    precision = np.linalg.inv(scale**2 * COVARIANCE)
    return centre @ precision, np.broadcast_to(precision, (N, 2, 2))


def test_a_right_posterior_passes():
    found = score_test(*stars_of())
    assert np.abs(found.shift / found.error).max() < 3.0
    np.testing.assert_allclose(found.width, 1.0, atol=0.01)
    np.testing.assert_allclose(found.error, N**-0.5, rtol=0.01)


def test_a_shift_is_found_in_units_of_the_width():
    shift = np.array([0.003, -0.006])
    found = score_test(*stars_of(shift))
    expected = shift / np.sqrt(np.diag(COVARIANCE))
    np.testing.assert_allclose(found.shift, expected, atol=4.0 * N**-0.5)
    assert np.abs(found.shift / found.error).max() > 3.0


@pytest.mark.parametrize("scale", [0.8, 1.25])
def test_a_wrong_width_is_found(scale):
    np.testing.assert_allclose(
        score_test(*stars_of(scale=scale)).width, scale, rtol=0.01
    )


@pytest.mark.usefixtures("unchecked")
def test_no_maximum_is_an_error():
    slope, curvature = stars_of()
    with pytest.raises(ValueError, match="positive mean curvature"):
        score_test(slope, -curvature)
    with pytest.raises(ValueError, match="shape"):
        score_test(slope, curvature[:, 0])


def test_an_untrained_network_has_no_score():
    """Its posterior is the prior: the likelihood is flat."""
    npe = untrained(priors.paper_prior())
    inputs = jax.random.normal(jax.random.key(1), (5, 8))
    script = importlib.import_module("coherent_error")
    slope, curvature = script.slope_and_curvature(npe, jnp.array([0.5, -1.0]), inputs)
    np.testing.assert_allclose(slope, 0.0, atol=1e-3)  # rounding of the splines
    np.testing.assert_allclose(curvature, 0.0, atol=2e-2)


@pytest.mark.thorough
def test_the_shipped_network_adds_up_little(tmp_path):
    """What 1000 stars add up stays below half of the width, and 3 sigma of chance."""
    script = importlib.import_module("coherent_error")
    config = script.Config(
        tmp_path, n_truths=2, n_stars=32_768, n_simulated=0, quiet=True
    )
    row = script.main(config)
    assert row["largest"] * 1000**0.5 < 0.5 + 3.0 * row["error"] * 1000**0.5
    assert 0.95 < row["width"][0] < row["width"][2] < 1.05
    script.main(config)  # the same stars again: still one row
    (kept,) = json.loads((tmp_path / "coherent_error_tng.json").read_text())
    assert kept["stars"] == "complete"
    assert "complete" in (tmp_path / "coherent_error_tng.md").read_text()


def test_stars_that_the_network_does_not_read_are_refused(tmp_path):
    script = importlib.import_module("coherent_error")
    with pytest.raises(InputError, match="complete stars"):
        script.main(script.Config(tmp_path, stars="galah", quiet=True))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"galaxy_only": True}, "--start"),
        ({"start": "tng-any"}, "other layers"),
        ({"learning_rate": 0.0}, "--learning-rate above 0"),
    ],
)
def test_a_training_that_makes_no_sense_is_refused(flags, message, tmp_path):
    script = importlib.import_module("train_npe")
    with pytest.raises(InputError, match=message):
        script.main(script.Config(tmp_path, quiet=True, **flags))
