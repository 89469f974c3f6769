"""The main script, as a user runs it."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import arviz as az
import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "chemsbi_jax" / "pretrained" / "stars" / "example_galaxy.ecsv"


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"experiments/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def few_stars(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "few.csv"
    Table.read(EXAMPLE, format="ascii.ecsv")[:30].write(path, format="ascii.csv")
    return path


@pytest.fixture(scope="module")
def result(tmp_path_factory, few_stars):
    infer = load_script("infer")
    out = tmp_path_factory.mktemp("infer") / "out"
    summary = infer.main(infer.Config(few_stars, out, seed=3, quiet=True))
    return out, summary


def test_writes_the_contract(result):
    out, summary = result
    on_disk = json.loads((out / "summary.json").read_text())
    assert on_disk["n_stars"] == on_disk["n_used"] == 30
    assert on_disk["alpha_imf"]["mean"] == pytest.approx(summary["alpha_imf"]["mean"])
    for name in cs.PARAMETERS[:2]:
        p = on_disk[name]
        assert p["q05"] < p["q16"] < p["q50"] < p["q84"] < p["q95"]
        assert abs(p["mean"] - p["q50"]) < p["sd"]
    assert {"model_fit", "methods_agree"} <= set(on_disk["checks"])
    assert on_disk["provenance"]["seed"] == 3
    assert {p.name for p in out.glob("*.png")} == {
        "posterior.png",
        "convergence.png",
        "first_star.png",
        "predictive.png",
    }


def test_the_report_has_every_figure_and_the_command(result):
    page = (result[0] / "report.html").read_text(encoding="utf-8")
    assert page.count("data:image/png;base64,") == 4
    assert "python experiments/infer.py" in page
    assert "--seed 3" in page


def test_result_lies_near_the_truth_of_the_mock(result):
    # 30 stars: 4 sigma in each parameter would be a fault, not noise
    for name, truth in zip(cs.PARAMETERS[:2], (-2.1, -2.6), strict=True):
        p = result[1][name]
        assert abs(p["mean"] - truth) < 4 * p["sd"]


def test_stars_that_no_parameters_explain_leave_the_flow(few_stars, tmp_path):
    table = Table.read(few_stars)[:5]
    table["mg_fe"] += 3.0
    table.write(tmp_path / "odd.csv", format="ascii.csv")
    infer = load_script("infer")
    infer.N_ROBUST = 5
    config = infer.Config(tmp_path / "odd.csv", tmp_path / "out", quiet=True)
    summary = infer.main(config)
    assert summary["method"] == "flow"
    assert summary["checks"]["model_fit"]["flagged"]
    assert "no parameters come near" in summary["checks"]["no_exact"]
    assert summary["warnings"][0].startswith("The exact method failed, so this is")
    assert "--method exact" not in " ".join(summary["warnings"])


def test_a_star_that_nothing_explains_is_named_and_blames_no_other(few_stars, tmp_path):
    table = Table.read(few_stars)[:12]
    table["mg_fe"][4] += 3.0
    table.write(tmp_path / "odd.csv", format="ascii.csv")
    infer = load_script("infer")
    config = infer.Config(tmp_path / "odd.csv", tmp_path / "out", quiet=True)
    summary = infer.main(config)
    (name,) = summary["checks"]["left_out"]
    assert name == str(cs.read_stars(tmp_path / "odd.csv").ids[4])
    assert (summary["n_stars"], summary["n_used"]) == (12, 11)
    assert f"do not count: 1 ({name})" in summary["warnings"][0]
    assert not summary["checks"]["model_fit"]["flagged"]
    assert summary["checks"]["methods_agree"]["agree"]
    data = az.from_netcdf(tmp_path / "out" / "posterior.nc")
    assert data.observed_data.abundances.sizes["star"] == 11


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
def test_methods_are_compared_by_what_they_know(shift, width, n_weak, agrees):
    compare = load_script("infer_checks").compare
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
    assert found["agree"] == agrees
    assert found["width_ratio"] == pytest.approx([width, width])


def test_posterior_file_opens_in_arviz(result):
    data = az.from_netcdf(result[0] / "posterior.nc")
    draws = data.posterior["alpha_imf"].values
    assert np.isclose(draws.mean(), result[1]["alpha_imf"]["mean"], atol=1e-3)


def test_table_of_the_draws_knows_where_it_came_from(result):
    table = Table.read(result[0] / "posterior.ecsv")
    assert table.colnames == list(cs.PARAMETERS[:2])
    assert table.meta["provenance"] == result[1]["provenance"]
    assert table.meta["method"] == result[1]["method"]
    draws = az.from_netcdf(result[0] / "posterior.nc").posterior["log10_n_ia"]
    np.testing.assert_array_equal(table["log10_n_ia"], draws.values[0])


def test_figures_have_different_content(result):
    sizes = {p.stat().st_size for p in result[0].glob("*.png")}
    assert len(sizes) == 4
    assert min(sizes) > 10_000


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
    infer = load_script("infer")
    config = infer.Config(EXAMPLE, tmp_path, strict=True)
    assert infer.exit_code({"warnings": ["misfit"]}, config) == 3
    assert infer.exit_code({"warnings": []}, config) == 0


def test_unknown_weights_name_the_known_ones(tmp_path, few_stars):
    infer = load_script("infer")
    with pytest.raises(ValueError, match="tng-legacy"):
        infer.main(infer.Config(few_stars, tmp_path, weights="galah", quiet=True))


@pytest.fixture(scope="module")
def misfit_result(tmp_path_factory):
    """Thirty stars with too much magnesium: no parameters of the model make them."""
    folder = tmp_path_factory.mktemp("misfit")
    table = Table.read(EXAMPLE, format="ascii.ecsv")[:30]
    table["mg_fe"] += 0.2
    table.write(folder / "odd.csv", format="ascii.csv")
    infer = load_script("infer")
    infer.N_ROBUST = 10
    config = infer.Config(folder / "odd.csv", folder / "out", seed=3, quiet=True)
    return infer.main(config)


@pytest.mark.slow
def test_alarm_names_the_culprit(misfit_result):
    assert misfit_result["checks"]["model_fit"]["flagged"]
    assert misfit_result["method"] == "exact"
    assert misfit_result["checks"]["at_rest"]
    assert "mg_fe" in misfit_result["checks"]["model_fit"]["text"]
    assert misfit_result["warnings"]


@pytest.mark.slow
def test_leaving_out_the_culprit_moves_the_result(misfit_result):
    shifts = misfit_result["checks"]["leave_out"]["shift_sigma"]
    assert set(shifts) == set(cs.ABUNDANCES)
    assert np.abs(shifts["mg_fe"]).max() > 2.0
    # silicon and iron agree with the others, and hardly move it
    assert np.abs(shifts["si_fe"]).max() < 2.0


def test_few_stars_get_the_exact_method_and_the_flow_beside(result):
    assert result[1]["method"] == "exact"
    checks = result[1]["checks"]
    assert checks["at_rest"]
    assert checks["halves"]["stable"]
    assert checks["methods_agree"]["other"] == "flow"
    # stars of the model: the network is right to a fraction of its width
    assert np.abs(checks["methods_agree"]["shift_sigma"]).max() < 0.5
    assert "leave_out" not in checks  # nothing fired


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        ({"prior_widths": 1.0}, []),
        ({"prior_widths": 1.0, "weak_stars": 3}, ["3 stars do not count"]),
        (
            {"prior_widths": 0.0, "weak_stars": 3, "is_prior": True},
            ["3 stars do not count", "No star counts: this is the prior"],
        ),
        ({"prior_widths": 4.5}, ["4.5 prior widths"]),
        ({"prior_widths": np.nan}, ["nan prior widths"]),
    ],
)
def test_warnings_of_where_a_result_lies(checks, says):
    found = load_script("infer_checks").warn_of_place(checks)
    assert len(found) == len(says)
    for warning, words in zip(found, says, strict=True):
        assert words in warning


@pytest.fixture
def neon(tmp_path):
    """Thirty stars that tell next to nothing."""
    table = Table.read(EXAMPLE, format="ascii.ecsv")[:30][["ne_fe"]]
    # as noisy as the errors say, or the alarm fires
    table["ne_fe"] = table["ne_fe"] + np.random.default_rng(0).normal(0.0, 0.3, 30)
    table["e_ne_fe"] = 0.3
    table.write(tmp_path / "neon.csv", format="ascii.csv")
    return tmp_path / "neon.csv"


def test_a_table_of_neon_alone_gives_a_network_the_prior(neon, tmp_path):
    infer = load_script("infer")
    config = infer.Config(neon, tmp_path / "out", method="flow", quiet=True)
    summary = infer.main(config)
    assert (summary["n_stars"], summary["n_used"]) == (30, 0)
    assert any("No star counts: this is the prior" in w for w in summary["warnings"])
    assert summary["alpha_imf"]["sd"] == pytest.approx(0.3, rel=0.05)


def test_the_exact_method_uses_what_neon_tells(neon, tmp_path):
    infer = load_script("infer")
    summary = infer.main(infer.Config(neon, tmp_path / "out", quiet=True))
    assert (summary["method"], summary["n_used"]) == ("exact", 30)
    # wide posteriors come to rest, too, and say no more than thirty such stars can
    assert summary["checks"]["at_rest"]
    assert 0.15 < summary["alpha_imf"]["sd"] < 0.3
    # the stars' own galaxy, at (-2.1, -2.6), is not left behind
    assert abs(summary["alpha_imf"]["mean"] + 2.1) < 2.5 * summary["alpha_imf"]["sd"]
