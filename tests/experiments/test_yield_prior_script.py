"""The script that narrows the yield prior."""

import numpy as np
import pytest
from common.shared_galaxies import NAMES, Galaxies

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
    study = {"inside": [0.61, 0.9], "least_of_a_set": [0.5, 0.83]}
    row = {
        "factor": 0.9,
        "tables": {
            "Bensby+": {"sd": [0.17, 0.1666], "converged": True},
            "Reddy+": {"sd": [0.14, 0.19], "converged": False},
        },
        "sets": study,
        "sets-and-errors": study,
    }
    line = script.report([row]).splitlines()[2]
    shares = "61.0, 90.0 (50.0, 83.0)"
    assert line == f"| 0.9 | 0.170, 0.167 | no interval | {shares} | {shares} |"


def test_shares_of_all_galaxies_and_of_the_worst_set(script):
    """Half of the galaxies have posteriors that are far from their truths."""
    rng, n = np.random.default_rng(0), 40
    truth = rng.normal(size=(n, len(NAMES)))
    # a truth in the middle of its draws is inside every region
    draws = truth[:, None] + rng.normal(size=(n, 400, len(NAMES)))
    draws[::2] += 10.0
    labels = np.array(["far", "near"] * (n // 2))
    found = script.coverage(Galaxies(truth, None, None, labels), draws)
    assert found == {"n": n, "inside": [0.5, 0.5], "least_of_a_set": [0.0, 0.0]}


@pytest.mark.parametrize("factor", [0.0, -0.5, 1.1])
def test_a_factor_outside_the_training_is_refused(script, tmp_path, factor):
    config = script.Config(out=tmp_path, factors=(1.0, factor), quiet=True)
    with pytest.raises(cs.InputError, match="Expected --factors above 0"):
        script.main(config)


def test_a_missing_table_names_the_remedy(script, monkeypatch, tmp_path):
    monkeypatch.delenv("CHEMSBI_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(cs.InputError, match="set CHEMSBI_DATA"):
        script.main(script.Config(out=tmp_path, quiet=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.tables
def test_narrower_yields_give_narrower_intervals(script, tmp_path, data, monkeypatch):
    monkeypatch.setattr(script, "PUBLISHED_SETS", ("alternative",))
    flags = {"factors": (1.0, 0.4), "n_galaxies": 30, "n_stars": 20}
    rows = script.main(script.Config(out=tmp_path, quiet=True, **flags))["rows"]
    usual, narrow = (row["tables"]["Reddy+"]["sd"][0] for row in rows)
    assert narrow < 0.9 * usual  # 0.88 with 0.6 in plots/yield_prior.md
