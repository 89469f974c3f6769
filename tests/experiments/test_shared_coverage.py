"""Coverage and width of the second interval: its tests can fail, files are there."""

import json

import jax
import numpy as np
import pytest
from common import coverage_tables
from common.shared_galaxies import Galaxies, born_stars

from chemsbi_jax.errors import InputError
from helpers.paths import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("shared_coverage")


@pytest.fixture(scope="module")
def calibrated(script):
    """Truths and draws of posteriors that are right by construction."""
    rng = np.random.default_rng(0)
    n, n_draws, n_psi = 200, 499, len(script.NAMES)
    centre = rng.normal(size=(n, 1, n_psi))
    draws = centre + 0.5 * rng.normal(size=(n, n_draws, n_psi))
    truth = centre[:, 0] + 0.5 * rng.normal(size=(n, n_psi))
    return truth, draws


def test_right_posteriors_pass_and_narrow_ones_fail(script, calibrated):
    truth, draws = calibrated
    found = script.tests(jax.random.key(0), truth, draws)
    assert found["joint"] > 0.001
    assert found["tarp"] > 0.001
    assert found["least_of_all"] > 0.01 / len(script.NAMES)
    assert found["share_inside"] > 0.9
    narrow = found["too_narrow"]
    assert narrow["joint"] < 0.01
    assert narrow["least_of_all"] < 1e-4


def test_shares_and_widths(script, calibrated):
    content = script.count(*calibrated)
    assert content["n"] == 200
    assert content["inside"]["0.68"]["joint"] == pytest.approx(0.68, abs=0.12)
    assert content["inside"]["0.95"]["alpha_imf"] == pytest.approx(0.95, abs=0.06)
    assert content["sd"]["sn2_o"] == pytest.approx(0.5, abs=0.02)
    assert content["median_chi2"] == pytest.approx(1.39, abs=0.5)


@pytest.mark.thorough
@pytest.mark.parametrize("study", ["prior", "forms"])
def test_a_run_with_few_galaxies(script, tmp_path, study):
    config = script.Config(tmp_path, study, n_galaxies=10, n_stars=20, quiet=True)
    script.main(config)
    written = json.loads((tmp_path / f"shared_coverage_{study}_20.json").read_text())
    assert 0.1 < written["sd"]["alpha_imf"] < 1.2
    assert set(written["tests"]) >= {"joint", "tarp", "factors", "too_narrow"}


@pytest.mark.thorough
def test_power_has_a_width_for_each_case(script, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "STUDY_SIZES", (10, 100))
    drawn, draw = [], script.draw_galaxies
    monkeypatch.setattr(
        script, "draw_galaxies", lambda *a: drawn.append(draw(*a)) or drawn[-1]
    )
    config = script.Config(
        out=tmp_path, study="power", n_galaxies=10, n_draws=100, quiet=True
    )
    widths = script.main(config)["sd_over_prior"]
    assert set(widths) == set(script.READINGS)
    assert (tmp_path / "shared_coverage_power.png").exists()
    each = [w["alpha_imf"] for rows in widths.values() for w in rows.values()]
    assert 0.1 < min(each) < max(each) < 1.2
    assert len(drawn) == len(script.READINGS)
    assert all((galaxies.truth == drawn[0].truth).all() for galaxies in drawn)


def test_nuts_is_for_other_sets_alone(script):
    with pytest.raises(InputError, match="--study sets with --by nuts"):
        script.main(script.Config(study="power", by="nuts", quiet=True))


def test_stars_that_the_model_does_not_have_are_left_out(script):
    stars = script.like_stars(script.empty_stars(6, 0.05))
    stars = stars._replace(values=np.arange(6.0)[:, None] + np.zeros(9))
    counts = np.array([[1.0, 1.0, 0.0, 1.0, 0.0, 1.0]], np.float32)
    every = jax.tree.map(lambda x: x[None], stars)
    galaxies = Galaxies(np.zeros((1, 2)), every, counts, np.array(["tng"]))
    found = born_stars(galaxies, 0)
    np.testing.assert_array_equal(found.values[:, 0], [0.0, 1.0, 3.0, 5.0])
    assert all(len(x) == 4 for x in jax.tree.leaves(found))


def test_a_resumed_study_keeps_whole_lines(tmp_path):
    """A row behind a line that was cut off would be lost with it."""
    read_rows, path = load_script("shared_errors").read_rows, tmp_path / "rows.jsonl"
    assert read_rows(path) == []
    path.write_text('{"name": 1}\n{"na{"name": 2}\n{"name": 3}')
    assert read_rows(path) == [{"name": 1}, {"name": 3}]
    assert path.read_text() == '{"name": 1}\n{"name": 3}\n'


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "<1e-10"), (1e-10, "1e-10"), (0.0123, "0.012")]
)
def test_p_values_of_rounding_have_no_digits(value, text):
    assert coverage_tables._p(value) == text
