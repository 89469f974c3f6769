"""`infer`: what a user gets, shown with a galaxy whose posterior is known."""

import json
import subprocess
import sys

import arviz as az
import jax
import linear_galaxy
import numpy as np
import pytest
from astropy.table import Table
from matplotlib.figure import Figure
from scripts_of_tests import EXAMPLE, ROOT

import chemsbi_jax as cs
from chemsbi_jax.catalog import write_stars
from chemsbi_jax.cli.flags import InferFlags
from chemsbi_jax.cli.infer import exit_code
from chemsbi_jax.cli.infer import main as run_command
from chemsbi_jax.galaxy.checks import compare
from chemsbi_jax.results.warnings import list_warnings, of_place

N_STARS = 60
FILES = {"posterior.png", "convergence.png", "first_star.png", "predictive.png",
         "posterior.nc", "posterior.ecsv", "summary.json", "report.html"}  # fmt: skip


@pytest.fixture(scope="module")
def networks():
    return linear_galaxy.networks()


@pytest.fixture(scope="module")
def stars():
    return linear_galaxy.make_stars(N_STARS)


@pytest.fixture(scope="module")
def result(networks, stars):
    return cs.infer(stars, networks=networks, seed=3, quiet=True)


@pytest.fixture(scope="module")
def saved(result, tmp_path_factory):
    out = tmp_path_factory.mktemp("infer") / "out"
    return out, result.save(out, truth=(-2.1, -2.6))


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
    mean, covariance = linear_galaxy.closed_form(stars.take(slice(10)))
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


def test_a_second_interval_is_shown(result):
    import dataclasses

    wide = result.posterior._replace(covariance=4.0 * result.posterior.covariance)
    both = dataclasses.replace(result, shared_errors=wide)
    summary = both.summary()["shared_errors"]
    assert summary["alpha_imf"]["sd"] == pytest.approx(2.0 * result.posterior.sd[0])
    for text in (repr(both), both._repr_html_()):
        assert f"{2.0 * result.posterior.sd[0]:.4f}" in text
        assert "shared" in text or "share" in text
    assert "shared_errors" not in result.summary()


@pytest.mark.parametrize(
    "name", ["posterior", "convergence", "predictive", "first_star"]
)
def test_figures_are_matplotlib_figures(result, name):
    assert isinstance(getattr(result, f"plot_{name}")(), Figure)


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
            "figures and files"} == set(on_disk["seconds"])  # fmt: skip
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


def test_it_is_silent_when_quiet(networks, stars, capsys):
    cs.infer(stars, networks=networks, method="gaussian", quiet=True)
    assert capsys.readouterr() == ("", "")
    cs.infer(stars, networks=networks, method="gaussian")
    assert "inference ..." in capsys.readouterr().err


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
    assert f"1 ({stars.ids[4]})" in found.warnings[0]
    assert not found.checks.model_fit.flagged
    assert found.checks.methods_agree.agree
    assert len(found.stars.values) == N_STARS - 1


@pytest.mark.parametrize(
    ("shift", "width", "n_weak", "agrees"),
    [
        (0.5, 1.1, 0, True),
        (0.5, 1.5, 0, False),  # wider
        (2.5, 1.0, 0, False),  # elsewhere
        (2.5, 1.5, 3, True),  # has fewer stars, so it may be both
        (3.5, 1.5, 3, False),
        (0.5, 0.7, 3, False),  # but not narrower
    ],
)
def test_methods_are_compared_by_their_information(shift, width, n_weak, agrees):
    sd = np.array([0.01, 0.02])
    draws = np.zeros((1, 2))
    mean = np.array([-2.3, -2.9])
    exact = cs.GalaxyPosterior("exact", draws, mean, np.diag(sd**2), {})
    flow = cs.GalaxyPosterior(
        "flow",
        draws,
        mean + shift * sd,
        np.diag((width * sd) ** 2),
        {"weak_stars": n_weak},
    )
    found = compare(exact, flow)
    assert found.agree == agrees
    assert found.width_ratio == pytest.approx([width, width])


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        ({"prior_widths": 1.0}, []),
        ({"prior_widths": 1.0, "weak_stars": 3}, ["3 stars"]),
        (
            {"prior_widths": 0.0, "weak_stars": 3, "is_prior": True},
            ["3 stars are excluded", "this is the prior"],
        ),
        ({"prior_widths": 4.5}, ["4.5 prior widths"]),
        ({"prior_widths": np.nan}, ["nan prior widths"]),
    ],
)
def test_warnings_of_where_a_result_lies(checks, says):
    found = of_place(checks)
    assert len(found) == len(says)
    for warning, words in zip(found, says, strict=True):
        assert words in warning


def test_each_failed_check_has_a_warning(result):
    passed = result.checks.as_dict()
    assert list_warnings(passed) == []
    failures = {
        "at_rest": False,
        "halves": {"stable": False, "distance": 5.0},
        "mass_at_edge": 0.1,
        "no_exact": "It failed.",
        "left_out": ["HIP 1"],
        "model_fit": {"flagged": True, "text": "It does not fit."},
        "model_error_dex": {"o_fe": 0.1, "c_fe": 0.2},
    }
    for name, value in failures.items():
        assert len(list_warnings(passed | {name: value})) == 1, name


BAD = {
    "no abundances": ("a,b\n1,2\n", "no column holds an abundance"),
    "not a file": (None, "bad.csv"),
}


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD)
def test_refuses_with_exit_code_2(tmp_path, content, says):
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_text(content)
    done = subprocess.run(
        [sys.executable, "experiments/infer.py", path, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "bad.csv" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "summary.json").exists()


def test_strict_turns_a_warning_into_exit_code_3(tmp_path):
    config = InferFlags(EXAMPLE, tmp_path, strict=True)
    assert exit_code({"warnings": ["misfit"]}, config) == 3
    assert exit_code({"warnings": []}, config) == 0


def test_unknown_weights_name_the_known_ones(tmp_path, few_stars):
    with pytest.raises(ValueError, match="tng-legacy"):
        run_command(InferFlags(few_stars, tmp_path, weights="galah", quiet=True))


# --- the shipped networks


@pytest.fixture(scope="module")
def few_stars(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "few.csv"
    Table.read(EXAMPLE, format="ascii.ecsv")[:30].write(path, format="ascii.csv")
    return path


@pytest.mark.slow
def test_the_command_on_stars_of_the_model(few_stars, tmp_path):
    summary = run_command(InferFlags(few_stars, tmp_path / "out", seed=3, quiet=True))
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    assert summary["provenance"]["npe"] == "tng"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "chemsbi infer" in page
    assert "--seed 3" in page
    assert summary["method"] == "exact"
    # 30 stars: 4 sigma in each parameter would be a fault, not noise
    for name, truth in zip(cs.PARAMETERS[:2], (-2.1, -2.6), strict=True):
        assert abs(summary[name]["mean"] - truth) < 4 * summary[name]["sd"]
    checks = summary["checks"]
    assert checks["at_rest"]
    assert checks["halves"]["stable"]
    # stars of the model: the network is right to a fraction of its width
    assert np.abs(checks["methods_agree"]["shift_sigma"]).max() < 0.5


@pytest.fixture(scope="module")
def misfit_result():
    """Thirty stars with too much magnesium: no parameters of the model make them."""
    stars = cs.read_stars(EXAMPLE).take(slice(30))
    odd = stars._replace(values=stars.values + 0.2 * np.eye(8)[3])
    return cs.infer(odd, seed=3, quiet=True, limits=cs.Limits(n_robust=10))


@pytest.mark.slow
def test_alarm_names_the_culprit(misfit_result):
    assert misfit_result.checks.model_fit.flagged
    assert misfit_result.posterior.method == "exact"
    assert misfit_result.posterior.checks["at_rest"]
    assert "mg_fe" in misfit_result.checks.model_fit.text
    assert misfit_result.warnings
    assert "robust, 10 stars" in misfit_result.others


@pytest.mark.slow
def test_leaving_out_the_culprit_moves_the_result(misfit_result):
    shifts = misfit_result.checks.leave_out.shift_sigma
    assert set(shifts) == set(cs.ABUNDANCES)
    assert np.abs(shifts["mg_fe"]).max() > 2.0
    # silicon and iron agree with the others, and hardly move it
    assert np.abs(shifts["si_fe"]).max() < 2.0


@pytest.fixture(scope="module")
def neon():
    """Thirty stars with next to no information."""
    stars = cs.read_stars(EXAMPLE).take(slice(30))
    is_neon = np.eye(8, dtype=bool)[5]
    # as noisy as the errors say, or the alarm fires
    noise = np.random.default_rng(0).normal(0.0, 0.3, (30, 1))
    return stars._replace(
        values=np.where(is_neon, stars.values + noise, np.nan),
        errors=np.where(is_neon, 0.3, np.nan * stars.values),
        observed=np.broadcast_to(is_neon, (30, 8)),
    )


@pytest.mark.slow
def test_a_table_of_neon_alone_gives_a_network_the_prior(neon):
    found = cs.infer(neon, method="flow", quiet=True)
    assert (found.n_stars, found.n_used) == (30, 0)
    assert any("this is the prior" in text for text in found.warnings)
    assert found.verdict.level == "red"
    # stars of the model at the prior's mean are no reference for these
    assert "not tested" in found.checks.model_fit.text
    assert found.summary()["checks"]["model_fit"]["p_value"] is None
    assert not any("does not explain" in text for text in found.warnings)
    assert found.posterior.sd[0] == pytest.approx(0.3, rel=0.05)


@pytest.mark.slow
def test_the_exact_method_uses_the_information_of_neon(neon):
    found = cs.infer(neon, quiet=True)
    assert (found.posterior.method, found.n_used) == ("exact", 30)
    # wide posteriors converge, too, and are no narrower than thirty such stars allow
    assert found.posterior.checks["at_rest"]
    assert 0.15 < found.posterior.sd[0] < 0.3
    # the stars' own galaxy, at (-2.1, -2.6), is not left behind
    assert abs(found.posterior.mean[0] + 2.1) < 2.5 * found.posterior.sd[0]
