"""The script that combines catalogues of mock galaxies."""

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.galaxy.hierarchical.combine import Information, posterior_of
from helpers.paths import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("combined_catalogues")


def linear(rng, truth, correlation, n_catalogues=3, noise=0.3):
    """Estimates of each galaxy whose errors have this correlation."""
    shape = truth.shape
    same = np.sqrt(correlation) * rng.standard_normal(shape)
    parts = []
    for _ in range(n_catalogues):
        own = np.sqrt(1.0 - correlation) * rng.standard_normal(shape)
        data = truth + noise * (same + own)
        matrix = np.eye(shape[1]) / noise**2
        parts.append([Information(matrix @ x, matrix) for x in data])
    return parts


@pytest.mark.parametrize("correlation", [0.0, 0.4])
def test_the_correlation_of_the_errors_is_found(script, correlation):
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((500, 2))
    seen = script.Observed(truth, {}, {}, np.ones(2))
    parts = linear(rng, truth, correlation)
    assert script.best_correlation(seen, parts) == pytest.approx(correlation, abs=0.1)
    right = [posterior_of(x, correlation) for x in zip(*parts, strict=True)]
    counted = script.count(seen, right)
    assert counted["inside"]["0.68"] == pytest.approx(0.68, abs=0.07)


def test_another_galaxy_contradicts(script):
    rng = np.random.default_rng(1)
    truth = 3.0 * rng.standard_normal((100, 2))
    parts = linear(rng, truth, 0.0)
    task = parts[:-1], np.zeros(2)
    assert script.contradictions(parts, *task) < 0.05
    mixed = [*parts[:-1], parts[-1][1:] + parts[-1][:1]]
    assert script.contradictions(mixed, *task) > 0.8


@pytest.mark.slow
def test_few_galaxies(script, tmp_path):
    flags = {"n_galaxies": 20, "n_draws": 1000, "out": tmp_path, "quiet": True}
    rows = script.main(script.Config(**flags))["rows"]
    assert len(rows) == 4 + 4 * 3
    four = rows["4 catalogues, correlation 0.2"]
    single = rows["Fe, Mg, O, Si; 700 stars"]
    assert four["sd"]["alpha_imf"] < 0.85 * single["sd"]["alpha_imf"]
    assert (tmp_path / "combined_catalogues.md").read_text().count("\n|") == 17


def test_too_few_galaxies_are_refused(script, tmp_path):
    config = script.Config(out=tmp_path, n_galaxies=1, quiet=True)
    with pytest.raises(cs.InputError, match="--n-galaxies from 10"):
        script.main(config)
