"""The script that narrows the yield prior."""

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors, prior_scales
from helpers.paths import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("yield_prior")


def test_all_scales_of_the_yields_are_narrower_and_no_other(script):
    usual = prior_scales(SharedErrors(), SHARED_FACTORS)
    found = prior_scales(script.narrower(0.7), SHARED_FACTORS)
    ratio = np.divide(found.pop("yields"), usual.pop("yields"))
    np.testing.assert_allclose(ratio, 0.7)
    assert found == usual


def test_the_report_has_widths_and_shares(script):
    inside = {"0.68": {"joint": 0.61}, "0.95": {"joint": 0.905}}
    row = {
        "factor": 0.9,
        "widths": {"Bensby+": [0.17, 0.1666], "Reddy+": [0.1481, 0.19]},
        "sets": {"inside": inside},
        "sets-and-errors": {"inside": inside},
    }
    line = script.report([row]).splitlines()[2]
    assert line == "| 0.9 | 0.170, 0.167 | 0.148, 0.190 | 61, 90 | 61, 90 |"


def test_a_missing_table_names_the_remedy(script, monkeypatch):
    monkeypatch.setattr(script, "on_machine", lambda file: None)
    with pytest.raises(cs.InputError, match="CHEMSBI_DATA"):
        script.read_table("stars/real/bensby2014.csv")


@pytest.mark.slow
def test_narrower_yields_give_narrower_intervals(script, tmp_path, data, monkeypatch):
    monkeypatch.setattr(script, "PUBLISHED_SETS", ("alternative",))
    flags = {"factors": (1.0, 0.4), "n_galaxies": 30, "n_stars": 20}
    script.main(script.Config(out=tmp_path, quiet=True, **flags))
    text = (tmp_path / "yield_prior.md").read_text().splitlines()
    usual, narrow = (float(line.split("|")[2].split(",")[0]) for line in text[2:])
    assert narrow < 0.9 * usual
