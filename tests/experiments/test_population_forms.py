"""The script that draws populations of another form than the model's."""

import json

import jax
import numpy as np
import pytest
from common.population_forms import draw_galaxies

from helpers.paths import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("population_forms")


@pytest.fixture
def row():
    """A galaxy: the network is right, the likelihood of all stars is not."""
    good, bad = {"chi2": 1.0, "sd": [0.1, 0.2]}, {"chi2": 90.0, "sd": [0.02, 0.03]}
    return {
        "network": good,
        "likelihood of all stars": bad,
        "coarsened": good,
        "mode_distance": 0.3,
        "far_population": {},
    }


def test_the_report_counts_the_truths_inside(script, row):
    bad = row["likelihood of all stars"]
    other = row | {"coarsened": bad, "far_population": {"mean_log10_sfe": 3.2}}
    text = script.report([row, other])
    assert "| likelihood of all stars | 0 % | 0 % | 90.0 | 0.020, 0.030 |" in text
    assert "| coarsened | 50 % | 50 % | 45.5 | 0.060, 0.115 |" in text
    assert "interval from its middle in 0 of 2 galaxies; in 1, its" in text


@pytest.mark.thorough
def test_stars_of_each_galaxy():
    galaxies = draw_galaxies(jax.random.key(1), 2, 60, 0.05)
    assert len(galaxies) == 2
    for galaxy in galaxies:
        assert galaxy.truth.shape == (2,)
        assert 20 < len(galaxy.stars.values) <= 60
        assert np.isfinite(galaxy.stars.values).all()
    assert not np.allclose(galaxies[0].truth, galaxies[1].truth)


@pytest.mark.slow
def test_compares_all_posteriors(script, tmp_path):
    config = script.Config(out=tmp_path, n_galaxies=4, n_stars=30, quiet=True)
    content = script.main(config)
    written = json.loads((tmp_path / "population_forms.json").read_text())
    assert len(written["rows"]) == len(content["rows"]) == 4
    for row in written["rows"]:
        widths = np.array([row[way]["sd"] for way in script.WAYS])
        assert np.all((widths > 0.0) & (widths < 0.4))
        assert np.all(widths[1] > 0.9 * widths[2])  # fewer stars count
    assert "| coarsened |" in (tmp_path / "population_forms.md").read_text()
