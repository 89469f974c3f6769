"""The reproduction script: the reference's formulas, its files, missing data."""

import importlib
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import npe as networks
from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.galaxy.amortised.gaussian import combine_gaussians
from chemsbi_jax.storage.files import sha256
from helpers.paths import ROOT

EXPERIMENTS = ROOT / "experiments"

# data/README.md: N -> alpha_imf, its sd, log10_n_ia, its sd
WRONG_SIGN = {
    1: (-2.2833, 0.0791, -2.8925, 0.1196),
    10: (-2.3083, 0.0231, -2.8811, 0.0328),
    100: (-2.3071, 0.0072, -2.8933, 0.0103),
    200: (-2.2946, 0.0051, -2.8826, 0.0072),
}
MARGINAL = {
    1: (-2.2833, 0.0791, -2.8925, 0.1196),
    10: (-2.3136, 0.0249, -2.8871, 0.0359),
    100: (-2.3093, 0.0078, -2.8933, 0.0114),
    200: (-2.2956, 0.0056, -2.8809, 0.0080),
}
RIGHT = {
    1: (-2.2833, 0.0791, -2.8925, 0.1196),
    10: (-2.3079, 0.0268, -2.8799, 0.0388),
    100: (-2.3089, 0.0084, -2.8958, 0.0123),
    200: (-2.2924, 0.0060, -2.8792, 0.0086),
}
FORMULAS = {"wrong sign": WRONG_SIGN, "marginal product": MARGINAL, "right": RIGHT}
FIGURES = ("convergence_tng.png", "posterior_tng.png", "recovery.png")


@pytest.fixture
def script(monkeypatch):
    """Imports a module of experiments/ as `python experiments/...` would."""
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Networks that know nothing: quick, and enough to run every line."""
    folder, key = tmp_path_factory.mktemp("weights"), jax.random.key(0)
    theta = priors.sample(key, cs.paper_prior(), 400)
    abundances = 0.1 * np.asarray(theta)[:, [0, 1, 2, 3, 4, 5, 0, 1]]
    fit = FitConfig(1, 2)
    emulator, _ = em.train_emulator(
        key, theta, abundances, priors.box(cs.wide_prior()),
        em.EmulatorConfig(hidden=(8,), fit=fit), quiet=True,
    )  # fmt: skip
    em.save_emulator(folder, emulator, {})
    config = networks.NpeConfig(flow=networks.SplineFlow((8, 1), (8,), 4))
    npe = networks.training.new_npe(key, cs.paper_prior(), config)
    networks.save_npe(folder, npe, config, {})
    return str(folder)


WRONG = [pytest.param(x, marks=pytest.mark.thorough) for x in FORMULAS if x != "right"]


@pytest.mark.parametrize("name", ["right", *WRONG])
def test_published_draws_combine_to_the_known_values(script, data, name):
    found = script("common.reproduction.inference").combine_published()
    for n, expected in FORMULAS[name].items():
        (a, b), (sd_a, sd_b) = found[n][name]["mean"], found[n][name]["sd"]
        np.testing.assert_allclose((a, sd_a, b, sd_b), expected, atol=1.01e-4)


def test_wrong_formulas_are_pulled_to_the_prior(script):
    formulas = script("common.reproduction.formulas")
    rng = np.random.default_rng(3)
    truth, prior_mean, prior_sd = (-2.0, -2.5), np.array([-2.3, -2.89]), [0.3, 0.3]
    noise = np.array([[0.02, 0.016], [0.016, 0.02]])
    precision = np.linalg.inv(noise) + np.diag(1 / np.square(prior_sd))
    covariance, draws = np.linalg.inv(precision), []
    for measured in rng.multivariate_normal(truth, noise, 500):
        push = np.linalg.solve(noise, measured) + prior_mean / np.square(prior_sd)
        draws.append(rng.multivariate_normal(covariance @ push, covariance, 1000))
    chi2 = script("common.reproduction.inference").chi2
    assert chi2(formulas.wrong_sign(draws, prior_mean, prior_sd), truth) > 50
    assert chi2(formulas.marginal_product(draws), truth) > 50
    means = np.mean(draws, axis=1)
    covariances = [np.cov(star, rowvar=False) for star in draws]
    right = combine_gaussians(
        means, np.array(covariances), prior_mean, np.diag(np.square(prior_sd))
    )
    assert chi2(right, truth) < 9


def run(script, out, weights, **flags):
    module = script("reproduce")
    config = module.Config(
        out=out, weights=weights, legacy_weights=weights, nuts=out / "nuts",
        n_stars=(1, 5), recovery_n_stars=(5,), recovery_draws=2, quiet=True,
    )  # fmt: skip
    return module.main(module.replace(config, **flags))


@pytest.fixture
def empty_machine(tmp_path, monkeypatch):
    """No data, and a failure where anything is downloaded."""
    monkeypatch.delenv("CHEMSBI_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("pooch.retrieve", lambda *a, **k: pytest.fail("a download"))


def test_missing_data_are_named_and_not_downloaded(script, empty_machine):
    galaxies = script("common.reproduction.galaxies").load_galaxies(
        jax.random.key(0), 5, 0
    )
    assert galaxies["tng"].missing == ""
    assert "example_galaxy.ecsv" in galaxies["tng"].note
    for name in ("chempy-alternative", "chempy-tng-200", "illustris-tng"):
        assert galaxies[name].missing == f"stars/{name.replace('-', '_')}.ecsv"
        assert galaxies[name].stars is None
    assert "yields/alternative" in galaxies["alternative"].missing
    assert script("common.reproduction.inference").combine_published() == (
        "reference/published_single_star_samples.npz"
    )
    training = script("common.reproduction.training")
    with pytest.raises(OSError, match="from-scratch needs yields/tng"):
        training.train_from_scratch(None, training.Scratch(), Path("none"), None)


@pytest.mark.slow
def test_a_run_without_data_writes_all_files(script, weights, empty_machine, tmp_path):
    content = run(script, tmp_path, weights, legacy_weights=str(tmp_path / "none"))
    for name in ("chempy_alternative", "chempy_tng_200", "illustris_tng"):
        assert f"stars/{name}.ecsv" in (tmp_path / "reproduction.md").read_text()
    assert "the emulator's" in content["recovery"]["note"]
    saved = json.loads((tmp_path / "reproduction.json").read_text())
    assert set(saved["galaxies"]["tng"]["results"]) == {"1", "5"}
    assert all((tmp_path / name).stat().st_size > 10_000 for name in FIGURES)


@pytest.mark.thorough
def test_missing_weights_are_named(script, data, weights, tmp_path):
    galaxies = script("common.reproduction.galaxies")
    assert galaxies.try_weights(weights) == ""
    assert "nowhere" in galaxies.try_weights(str(tmp_path / "nowhere"))


def test_nuts_results_count_only_for_the_same_stars(script, tmp_path):
    inference, report = (
        script("common.reproduction.inference"),
        script("common.reproduction.report"),
    )
    table = tmp_path / "tng.ecsv"
    table.write_text("stars")
    both = {"mean": -2.3, "sd": 0.01}
    good = {
        "method": "nuts", "n_used": 200, "alpha_imf": both, "log10_n_ia": both,
        "correlation": 0.8, "provenance": {"stars": f"sha256 {sha256(table)}"},
    }  # fmt: skip
    other = good | {"n_used": 10, "provenance": {"stars": "sha256 0"}}
    for name, content in {"a": good, "b": other}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "summary.json").write_text(json.dumps(content))
    found = inference.find_nuts(tmp_path, table)
    assert list(found) == [200]
    assert report.nuts_cell(found[200]).startswith("-2.300 ± 0.010")
    assert report.nuts_cell(None) == "not run"


def test_the_first_stars_of_a_seeded_order(script, data, monkeypatch):
    load = script("common.reproduction.galaxies").load_galaxies
    module = sys.modules["common.reproduction.galaxies"]
    monkeypatch.setattr(module, "missing_yields", lambda name: [name])  # quicker
    key = jax.random.key(0)
    one, same, other = (load(key, 5, seed)["illustris-tng"].stars for seed in (0, 0, 1))
    assert (one.ids == same.ids).all()
    assert (one.ids != other.ids).any()
    assert set(one.ids) == set(other.ids)
    original = cs.read_stars(data / "stars" / "illustris_tng.ecsv")
    row = list(original.ids).index(one.ids[0])
    np.testing.assert_array_equal(one.values[0], original.values[row])  # no new noise


@pytest.mark.slow
def test_everything_from_scratch(script, data, tmp_path):
    small = script("common.reproduction.training").Scratch(2000, 1, 20, 1, 5)
    content = run(
        script, tmp_path, "tng", from_scratch=True, scratch=small,
        legacy_weights=str(tmp_path / "weights"),
    )  # fmt: skip
    assert [g["missing"] for g in content["galaxies"].values()] == [""] * 5
    assert (tmp_path / "weights" / "npe.safetensors").is_file()
    assert {"simulate", "train emulator", "train npe"} < set(content["seconds"])
    names = list(content["galaxies"])
    assert all((tmp_path / "stars" / f"{name}.ecsv").is_file() for name in names)
