"""experiments/simulate.py with tiny flags and made-up yields, and its figure."""

import importlib.util
import json

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.cli import simulate
from chemsbi_jax.constants import ABUNDANCES, PARAMETERS, T_END
from chemsbi_jax.plots.simulations import plot_simulations
from chemsbi_jax.plots.style import label
from helpers.paths import ROOT, TOY


@pytest.fixture(scope="module")
def script():
    path = ROOT / "experiments/simulate.py"
    spec = importlib.util.spec_from_file_location("simulate_script", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_stars_asked_for(script, tmp_path):
    with pytest.raises(ValueError, match="--n from 1 to .*; got 0"):
        script.main(script.Config(n=0, out=tmp_path))


@pytest.mark.parametrize(
    "prior",
    [
        pytest.param("paper", marks=pytest.mark.thorough),
        pytest.param("wide", marks=pytest.mark.slow),
        pytest.param("mixed", marks=pytest.mark.slow),
    ],
)
def test_script(prior, script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(simulate, "SIMULATE_BLOCK", 40)  # 100 are not a multiple
    flags = {"n": 100, "prior": prior, "yields": str(TOY), "seed": 3, "quiet": True}
    folders = {"out": tmp_path / "a", "plots": tmp_path / "b"}
    metrics = script.main(script.Config(**flags, **folders))
    assert capsys.readouterr() == ("", "")
    with np.load(tmp_path / "a/simulations.npz", allow_pickle=False) as file:
        assert tuple(file["parameter_names"]) == PARAMETERS
        assert tuple(file["abundance_names"]) == ABUNDANCES
        theta, abundances = file["theta"], file["abundances"]
    assert theta.shape == (100, 6)
    assert abundances.shape == (100, 8)
    assert (theta[:, -1] <= T_END).all()
    born = np.isfinite(abundances).all(axis=1)
    assert metrics["n_born"] == born.sum() > 90
    reasons = ("nan_share_star_formation_over", "nan_share_element_used_up")
    assert metrics["nan_share"] == pytest.approx(sum(metrics[r] for r in reasons))
    expected = cs.simulate(theta[60:100], cs.load_yields(TOY))
    np.testing.assert_allclose(abundances[60:100], expected, atol=1e-5)
    recorded = json.loads((tmp_path / "a/simulate.config.json").read_text())
    assert recorded["prior"] == prior
    assert json.loads((tmp_path / "a/simulate.metrics.json").read_text()) == metrics
    assert (tmp_path / "b/simulations.png").stat().st_size > 10_000


@pytest.fixture
def stars():
    rng = np.random.default_rng(0)
    return rng.uniform(0.0, 12.0, (500, 6)), rng.normal(0.0, 0.3, (500, 8))


def test_figure_shows_every_abundance_without_the_failures(stars):
    theta, abundances = stars
    abundances[:100] = np.nan
    theta[:100, -1] = 1e6  # would be in the range of the colours
    fig = plot_simulations(theta, abundances)
    axes = fig.axes[:8]
    shown = {ax.get_ylabel() for ax in axes}
    assert shown == {label(name) for name in ABUNDANCES}
    assert axes[0].collections[0].get_array().sum() <= 400
    assert axes[0].collections[0].get_array().sum() > 350  # 99 % in each direction
    assert axes[3].collections[0].get_clim()[1] <= 12.0
    fig.canvas.draw()


def test_figure_of_a_single_star(stars):
    plot_simulations(stars[0][:1], stars[1][:1]).canvas.draw()


@pytest.mark.usefixtures("unchecked")
def test_figure_refuses_what_it_cannot_show(stars):
    theta, abundances = stars
    with pytest.raises(ValueError, match=r"got \(500, 6\) and \(499, 8\)"):
        plot_simulations(theta, abundances[1:])
    with pytest.raises(ValueError, match="at least one star"):
        plot_simulations(theta, np.full_like(abundances, np.nan))
