"""`infer`: what a user gets, shown with a galaxy whose posterior is known."""

import dataclasses
import json
from concurrent.futures import Future
from importlib import import_module

import arviz as az
import jax
import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure

import chemsbi_jax as cs
from chemsbi_jax.catalog import write_stars
from chemsbi_jax.galaxy.hierarchical import HierarchicalPosterior
from chemsbi_jax.galaxy.hierarchical.shared import psi_names
from chemsbi_jax.inference.second import SecondInterval
from chemsbi_jax.inference.shared import SharedAnswer
from helpers import linear_galaxy

module = import_module("chemsbi_jax.inference.infer")  # not the function

N_STARS = 60
FILES = {"posterior.png", "convergence.png", "first_star.png", "predictive.png",
         "posterior.nc", "posterior.ecsv", "summary.json", "report.html"}  # fmt: skip


def test_the_interval_is_the_closed_form(result, stars):
    mean, covariance = linear_galaxy.closed_form(stars)
    sd = np.sqrt(np.diag(covariance))
    assert result.posterior.method == "exact"
    # importance sampling of locals of which the stars say nothing, and a polynomial
    np.testing.assert_allclose((result.posterior.mean - mean) / sd, 0.0, atol=0.05)
    np.testing.assert_allclose(result.posterior.sd / sd, 1.0, atol=0.03)


def test_checks_pass_for_stars_of_the_model(result):
    checks = result.checks
    assert not checks.model_fit.flagged
    assert checks.methods_agree.other == "flow"
    assert checks.methods_agree.agree
    assert checks.halves.stable
    assert checks.leave_out is None  # only after an alarm
    assert checks.subset is None
    assert set(result.others) == {"flow"}
    assert (result.n_stars, result.n_used) == (N_STARS, N_STARS)
    assert result.warnings == []
    assert result.verdict.level == "green"
    assert result.summary()["verdict"] == result.verdict._asdict()


def test_halves_differ_as_independent_halves_do(result, stars):
    one, two = (
        linear_galaxy.closed_form(stars.take(slice(i, None, 2))) for i in (0, 1)
    )
    shift, covariance = one[0] - two[0], one[1] + two[1]
    distance = np.sqrt(shift @ np.linalg.solve(covariance, shift))
    # the flow's grid is 1 % wide of it, and its mean score has noise
    assert result.checks.halves.distance == pytest.approx(distance, abs=0.1)


def test_prefixes_end_at_the_result(result, stars):
    n, means, sds = result.prefixes
    np.testing.assert_array_equal(n, [1, 2, 5, 10, 20, 50, 60])
    np.testing.assert_array_equal(means[-1], result.posterior.mean)
    _, key_order, *_ = jax.random.split(result._keys.prefixes, 4)
    draw = np.random.default_rng(np.asarray(jax.random.key_data(key_order)))
    first = draw.permutation(len(stars.values))[:10]  # a table may be sorted
    mean, covariance = linear_galaxy.closed_form(stars.take(first))
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((means[3] - mean) / sd, 0.0, atol=0.05)
    np.testing.assert_allclose(sds[3] / sd, 1.0, atol=0.03)


def test_text_and_html_have_interval_and_verdict(result):
    mean, sd = result.posterior.mean, result.posterior.sd
    for text in (repr(result), result._repr_html_()):
        for number in (*mean, *sd):
            assert f"{number:.4f}" in text
        assert "Good (green)" in text
        assert "The model explains the stars" in text
    assert "<script" not in result._repr_html_()


def second(is_converged):
    """Draws of all shared parameters from their prior, with a wide galaxy."""
    names = psi_names(cs.constants.SHARED_FACTORS)
    draws = np.random.default_rng(0).normal(size=(200, len(names)))
    mean, covariance = draws[:, :2].mean(axis=0), np.cov(draws[:, :2].T)
    checks = {"converged": is_converged}
    galaxy = cs.GalaxyPosterior("hierarchical", draws[:, :2], mean, covariance, checks)
    budget = {"yields": dict.fromkeys(cs.PARAMETERS[:2], 0.5)}
    scales = np.full(len(names), 0.1)
    return HierarchicalPosterior(galaxy, names, draws, draws, scales, budget)


def test_a_second_interval_is_shown(result, tmp_path):
    import xarray as xr

    both = dataclasses.replace(result, shared_errors=second(True))
    block = both.summary()["shared_errors"]
    shared = both.shared_errors.posterior
    assert block["alpha_imf"]["sd"] == pytest.approx(shared.sd[0])
    assert set(block) >= {"correlation", "budget", "yields", "zero_points"}
    for text in (repr(both), both._repr_html_()):
        assert f"{shared.sd[0]:.4f}" in text
    assert "shared_errors" not in result.summary()
    both.save(tmp_path)
    for name in ("shared_errors", "yield_factors", "width_budget"):
        assert (tmp_path / f"{name}.png").exists()
    group = xr.open_dataset(tmp_path / "posterior.nc", group="shared_errors")
    np.testing.assert_allclose(
        group["sn2_o"].std(), block["yields"]["sn2_o"]["sd"], rtol=0.01
    )
    report = (tmp_path / "report.html").read_text()
    assert "Shared errors" in report
    assert both.call in report.replace("&#x27;", "'")
    table = Table.read(tmp_path / "posterior_shared.ecsv")
    assert table.meta["provenance"] == both.summary()["provenance"]
    assert "with errors that all stars share" in table.meta["description"]
    assert table["alpha_imf"].std() == pytest.approx(shared.sd[0], rel=0.01)
    assert str(table["sn2_o"].unit) == "dex"
    result.save(tmp_path, drawn={})  # as of --fast: the figures above are not its own
    assert not list(tmp_path.glob("*.png"))
    assert not (tmp_path / "posterior_shared.ecsv").exists()
    assert "Shared errors" not in (tmp_path / "report.html").read_text()


@pytest.mark.thorough
def test_a_second_interval_that_did_not_converge_is_not_shown(result, tmp_path):
    note = "The interval with shared errors did not converge: largest r-hat 2.00."
    failed = dataclasses.replace(result, shared_errors=second(False), shared_note=note)
    summary = failed.save(tmp_path)
    assert summary["shared_errors"]["converged"] is False
    assert "alpha_imf" not in summary["shared_errors"]
    assert note in summary["warnings"]
    assert note in repr(failed)
    assert not (tmp_path / "shared_errors.png").exists()


@pytest.mark.parametrize(
    "name", ["posterior", "convergence", "predictive", "first_star"]
)
def test_figures_are_matplotlib_figures(result, name):
    assert isinstance(getattr(result, f"plot_{name}")(), Figure)


def test_figures_name_the_interval_and_the_methods(result):
    heading = result.plot_posterior().get_suptitle()
    assert heading == "First interval (without shared errors)"
    legend = result.plot_convergence().axes[0].get_legend()
    (label, *_) = (text.get_text() for text in legend.get_texts())
    assert label == "flow (last point: exact)"


def test_the_same_key_gives_the_same_bits(result, networks, stars):
    again = cs.infer(stars, networks=networks, key=jax.random.key(3), quiet=True)
    np.testing.assert_array_equal(again.posterior.draws, result.posterior.draws)
    assert again.checks.as_dict() == result.checks.as_dict()
    assert again.provenance["seed"] is None
    assert result.provenance["seed"] == 3


def test_writes_the_contract(saved, result):
    out, summary = saved
    on_disk = json.loads((out / "summary.json").read_text())
    assert on_disk == json.loads(json.dumps(summary))
    assert on_disk["n_stars"] == on_disk["n_used"] == N_STARS
    for name in cs.PARAMETERS[:2]:
        p = on_disk[name]
        assert p["q05"] < p["q16"] < p["q50"] < p["q84"] < p["q95"]
        assert abs(p["mean"] - p["q50"]) < p["sd"]
    assert {"model_fit", "methods_agree", "halves", "at_rest", "prior_widths",
            "is_prior", "left_out"} <= set(on_disk["checks"])  # fmt: skip
    assert {"read", "inference", "checks", "other method", "other checks",
            "figures", "files"} == set(on_disk["seconds"])  # fmt: skip
    assert {p.name for p in out.iterdir()} == FILES


def test_the_report_has_every_figure(saved):
    page = (saved[0] / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "Good" in page


def test_posterior_file_opens_in_arviz(saved):
    data = az.from_netcdf(saved[0] / "posterior.nc")
    draws = data.posterior["alpha_imf"].values
    assert np.isclose(draws.mean(), saved[1]["alpha_imf"]["mean"], atol=1e-3)
    assert data.observed_data.abundances.sizes["star"] == N_STARS


def test_table_of_the_draws_has_the_provenance(saved):
    table = Table.read(saved[0] / "posterior.ecsv")
    assert table.colnames == list(cs.PARAMETERS[:2])
    assert table.meta["provenance"] == saved[1]["provenance"]
    assert table.meta["method"] == saved[1]["method"]
    draws = az.from_netcdf(saved[0] / "posterior.nc").posterior["log10_n_ia"]
    np.testing.assert_array_equal(table["log10_n_ia"], draws.values[0])


def test_figures_have_different_content(saved):
    sizes = {p.stat().st_size for p in saved[0].glob("*.png")}
    assert len(sizes) == 4
    assert min(sizes) > 10_000


@pytest.mark.thorough
def test_a_path_and_a_catalogue_give_the_same(networks, stars, result, tmp_path):
    write_stars(tmp_path / "stars.ecsv", stars)
    options = {"networks": networks, "seed": 3, "quiet": True}
    by_path = cs.infer(tmp_path / "stars.ecsv", **options)
    by_catalog = cs.infer(cs.read_catalog(tmp_path / "stars.ecsv"), **options)
    for found in (by_path, by_catalog):
        np.testing.assert_array_equal(found.posterior.mean, result.posterior.mean)
        assert found.summary()["catalogue"]["n_used"] == N_STARS
    assert by_path.provenance["stars"].startswith("sha256 ")
    assert by_catalog.provenance["stars"] == ""


@pytest.mark.thorough
def test_it_is_silent_when_quiet(networks, stars, capsys):
    cs.infer(stars, networks=networks, method="gaussian", quiet=True)
    assert capsys.readouterr() == ("", "")
    cs.infer(stars, networks=networks, method="gaussian")
    assert "inference ..." in capsys.readouterr().err


@pytest.mark.thorough
def test_stars_that_no_parameters_explain_leave_the_flow(networks, stars):
    # a large offset in an abundance on which no parameter acts
    values = stars.values + 3.0 * np.eye(8)[2]
    odd = stars._replace(values=values)
    found = cs.infer(odd, networks=networks, quiet=True)
    assert found.posterior.method == "flow"
    assert found.checks.model_fit.flagged
    assert found.checks.no_exact
    assert found.warnings[0].startswith("The exact method failed; this is")
    assert "--method exact" not in " ".join(found.warnings)
    assert found.verdict.level == "red"


def test_a_star_that_nothing_explains_is_named(networks, stars):
    values = stars.values.copy()
    values[4, 2] += 3.0
    found = cs.infer(stars._replace(values=values), networks=networks, quiet=True)
    assert found.checks.left_out == [str(stars.ids[4])]
    assert (found.n_stars, found.n_used) == (N_STARS, N_STARS - 1)
    assert f"1 star, which is not used: id {stars.ids[4]}." in found.warnings[0]
    assert not found.checks.model_fit.flagged
    assert found.checks.methods_agree.agree
    assert len(found.stars.values) == N_STARS - 1


def test_figures_that_are_at_hand_are_not_drawn_again(result, saved, tmp_path):
    out, _ = saved
    drawn = result.draw_figures(truth=(-2.1, -2.6))
    assert {f"{name}.png" for name in drawn} == {f for f in FILES if ".png" in f}
    for name, content in drawn.items():
        assert (out / f"{name}.png").read_bytes() == content
    another = drawn["predictive"]
    result.save(tmp_path, drawn=drawn | {"posterior": another})
    assert (tmp_path / "posterior.png").read_bytes() == another


def test_work_beside_the_second_interval(networks, stars, monkeypatch):
    """It gets the first interval, but only while the second one is made."""
    begun, firsts = Future(), []

    def running(key, run, stars, wanted, *, early):
        return SecondInterval(None, stars, begun)

    def work(first):
        firsts.append(first)
        begun.set_result(SharedAnswer(None, "made beside the first"))

    task = {"networks": networks, "seed": 3, "quiet": True}
    cs.infer(stars, **task, shared_errors=False, meanwhile=work)
    assert not firsts
    monkeypatch.setattr(module, "second_interval", running)
    found = cs.infer(stars, **task, meanwhile=work)
    assert len(firsts) == 1
    assert firsts[0].shared_note == ""
    np.testing.assert_array_equal(firsts[0].posterior.mean, found.posterior.mean)
    assert found.shared_note == "made beside the first"
