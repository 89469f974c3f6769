"""Results: the contract JSON, posterior.nc, and files that appear whole or not."""

import hashlib
import json
import os
import re
import sys
import warnings
from datetime import datetime

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.table import QTable, Table

from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.errors import OutputError
from chemsbi_jax.plots.style import label
from chemsbi_jax.results import (
    GalaxyPosterior,
    provenance,
    summary,
    write_posterior,
    write_summary,
    write_table,
)
from chemsbi_jax.storage.files import whole_file
from chemsbi_jax.types import Stars

MEAN = np.array([-2.31, -2.87])
COVARIANCE = np.array([[0.0084**2, 0.83 * 0.0084 * 0.0123], [0, 0.0123**2]])
COVARIANCE[1, 0] = COVARIANCE[0, 1]
CONTRACT = [
    "n_stars", "n_used", "method", "alpha_imf", "log10_n_ia", "correlation",
    "checks", "warnings", "seconds", "provenance",
]  # fmt: skip


@pytest.fixture
def posterior():
    draws = np.random.default_rng(1).multivariate_normal(MEAN, COVARIANCE, 20_000)
    checks = {"model_fit": {"flagged": False, "p_value": 0.4, "text": "fits"}}
    return GalaxyPosterior("flow", draws, MEAN, COVARIANCE, checks)


@pytest.fixture
def stars():
    values = np.random.default_rng(2).normal(0, 0.2, (3, 8))
    observed = np.ones((3, 8), bool)
    observed[1, 2] = False
    values[1, 2] = np.nan
    return Stars(
        values,
        np.where(observed, 0.05, np.nan),
        observed,
        np.array([3.0, np.nan, 9.0]),
        np.array([0.3, np.nan, 0.9]),
        np.array(["HIP 1", "β Hyi", "3"]),
    )


@pytest.fixture
def read_only(tmp_path):
    """A folder that this process may not write to, whoever runs the tests."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:  # root may write anywhere
        os.seteuid(65534)
    yield folder
    os.seteuid(user)


def test_summary_is_the_contract(posterior):
    content = summary(
        posterior,
        n_stars=10,
        n_used=9,
        warnings=["mind"],
        seconds={"draw": 0.1},
        provenance={"seed": 0},
    )
    assert list(content) == CONTRACT
    assert (content["n_stars"], content["n_used"], content["method"]) == (10, 9, "flow")
    assert list(content["alpha_imf"]) == "mean sd q05 q16 q50 q84 q95".split()
    assert content["checks"] == posterior.checks
    assert content["warnings"] == ["mind"]
    assert content["seconds"] == {"draw": 0.1}
    assert content["provenance"] == {"seed": 0}


def test_summary_numbers_are_those_of_the_gaussian(posterior):
    content = summary(posterior, n_stars=10, n_used=10)
    for i, name in enumerate(("alpha_imf", "log10_n_ia")):
        sd = np.sqrt(COVARIANCE[i, i])
        part = content[name]
        assert part["mean"] == pytest.approx(MEAN[i])
        assert part["sd"] == pytest.approx(sd)
        sigmas = {"q05": -1.645, "q16": -0.9945, "q50": 0, "q84": 0.9945, "q95": 1.645}
        for key, n_sigma in sigmas.items():  # 20,000 draws: 0.02 sigma of noise
            assert part[key] == pytest.approx(MEAN[i] + n_sigma * sd, abs=0.06 * sd)
    assert content["correlation"] == pytest.approx(0.83)


def test_summary_takes_jax_arrays(posterior):
    on_device = posterior._replace(
        draws=jnp.asarray(posterior.draws),
        mean=jnp.asarray(MEAN),
        covariance=jnp.asarray(COVARIANCE),
        checks={"ess": jnp.float32(7), "flagged": np.bool_(True), "sd": jnp.ones(2)},
    )
    content = summary(on_device, n_stars=np.int64(3), n_used=3)
    assert content["checks"] == {"ess": 7.0, "flagged": True, "sd": [1.0, 1.0]}
    assert content["checks"]["flagged"] is True
    assert type(content["n_stars"]) is int
    json.dumps(content, allow_nan=False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": np.zeros((5, 3))},
        {"draws": np.zeros((0, 2))},
        {"mean": np.zeros(3)},
        {"covariance": np.zeros(2)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_shapes_say_what_came(posterior, wrong):
    shape = next(iter(wrong.values())).shape
    with pytest.raises(ValueError, match="Expected draws") as error:
        summary(posterior._replace(**wrong), n_stars=1, n_used=1)
    assert str(shape) in str(error.value)


def test_json_has_null_for_what_is_not_finite(posterior, tmp_path):
    odd = posterior._replace(
        covariance=np.zeros((2, 2)),
        checks={"a": np.nan, "b": [float("inf"), 1], "c": np.array([-np.inf, 2.0])},
    )
    path = tmp_path / "summary.json"
    write_summary(path, summary(odd, n_stars=1, n_used=1))

    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content["checks"] == {"a": None, "b": [None, 1], "c": [None, 2.0]}
    assert content["correlation"] is None
    assert content["alpha_imf"]["sd"] == 0.0


def test_json_round_trip(posterior, tmp_path):
    path = tmp_path / "new" / "folder" / "summary.json"
    content = summary(posterior, n_stars=2, n_used=2, warnings=["[Fe/H] ± 0.05"])
    write_summary(path, content)
    assert json.loads(path.read_text(encoding="utf-8")) == content
    assert [file.name for file in path.parent.iterdir()] == ["summary.json"]


def test_provenance_names_weights_and_stars(tmp_path):
    table = tmp_path / "stars.csv"
    table.write_bytes(b"star_id,fe_h\n1,0.1\n")
    found = provenance(seed=3, emulator="tng", npe="tng-legacy", stars=table)
    assert list(found) == ["version", "seed", "emulator", "npe", "stars"]
    assert (found["seed"], found["emulator"], found["npe"]) == (3, "tng", "tng-legacy")
    digest = hashlib.sha256(b"star_id,fe_h\n1,0.1\n").hexdigest()
    assert found["stars"] == f"sha256 {digest}"
    assert found["version"]


@pytest.fixture
def arviz():
    """ArviZ 0.2x or 1.x, whichever is installed; the tests hold for both."""
    with warnings.catch_warnings():  # 0.2x announces 1.0
        warnings.simplefilter("ignore", FutureWarning)
        return pytest.importorskip("arviz", minversion="0.20")


@pytest.fixture
def opened(arviz, posterior, stars, tmp_path):
    star_draws = np.random.default_rng(3).normal(size=(3, 50, 6))
    write_posterior(tmp_path / "posterior.nc", posterior, stars, star_draws)
    return arviz.from_netcdf(tmp_path / "posterior.nc"), star_draws


def test_arviz_opens_the_posterior(opened, posterior):
    data, star_draws = opened
    for group in ("posterior", "observed_data", "sample_stats"):
        attrs = data[group].attrs
        assert attrs["creation_library"] == attrs["inference_library"] == "chemsbi_jax"
        assert datetime.fromisoformat(attrs["created_at"]).tzinfo
    assert set(data["posterior"].data_vars) == {"alpha_imf", "log10_n_ia"}
    assert data["posterior"]["alpha_imf"].dims == ("chain", "draw")
    np.testing.assert_array_equal(
        data["posterior"]["log10_n_ia"].values[0], posterior.draws[:, 1]
    )
    theta = data["single_star"]["theta"]
    assert theta.dims == ("chain", "draw", "star", "parameter")
    np.testing.assert_array_equal(
        theta.sel(star="β Hyi", parameter="birth_time").values[0], star_draws[1, :, 5]
    )


def test_arviz_summarises_the_posterior(arviz, opened, posterior):
    data, _ = opened
    table = arviz.summary(data, kind="stats", round_to="none")
    np.testing.assert_allclose(table["mean"], posterior.draws.mean(axis=0))
    np.testing.assert_allclose(table["sd"], posterior.draws.std(axis=0), rtol=1e-3)
    interval = arviz.hdi(data)
    for i, name in enumerate(PARAMETERS[:2]):
        low, high = interval[name].values
        mass = np.mean((posterior.draws[:, i] >= low) & (posterior.draws[:, i] <= high))
        assert 0.88 < mass < 0.95  # 94 % in ArviZ 0.2x, 89 % in 1.x
    assert float(arviz.ess(data)["alpha_imf"]) == pytest.approx(20_000, rel=0.1)


def test_table_round_trip(posterior, tmp_path):
    path = tmp_path / "posterior.ecsv"
    odd = posterior._replace(checks={"fit": {"p": np.float32(0.5), "size": np.nan}})
    write_table(path, odd, {"seed": 3, "npe": "tng"})
    table = Table.read(path)
    assert table.colnames == list(PARAMETERS[:2])
    np.testing.assert_array_equal(table["alpha_imf"], posterior.draws[:, 0])
    np.testing.assert_array_equal(table["log10_n_ia"], posterior.draws[:, 1])
    assert all(column.description for column in table.columns.values())
    assert table["alpha_imf"].unit == u.dimensionless_unscaled
    assert table["log10_n_ia"].unit == u.dex(1 / u.Msun)
    assert table.meta["method"] == "flow"
    np.testing.assert_array_equal(table.meta["mean"], MEAN)
    np.testing.assert_array_equal(table.meta["covariance"], COVARIANCE)
    assert table.meta["checks"] == {"fit": {"p": 0.5, "size": None}}
    assert table.meta["provenance"].pop("version")
    assert table.meta["provenance"] == {"seed": 3, "npe": "tng"}
    per_mass = QTable.read(path)["log10_n_ia"].physical.to_value(1 / u.Msun)
    np.testing.assert_allclose(per_mass, 10.0 ** posterior.draws[:, 1])


@pytest.mark.usefixtures("unchecked")
def test_table_refuses_wrong_shapes(posterior):
    with pytest.raises(ValueError, match=r"Expected draws .*; got \(5, 3\)"):
        posterior._replace(draws=np.zeros((5, 3))).to_table()


@pytest.mark.parametrize("method", ["flow", "nuts"])
def test_getdist_has_the_draws(posterior, method):
    pytest.importorskip("getdist")
    samples = posterior._replace(method=method).to_getdist()
    assert samples.getParamNames().list() == list(PARAMETERS[:2])
    assert (samples.label, samples.sampler) == (
        method,
        "mcmc" if method == "nuts" else "uncorrelated",
    )
    np.testing.assert_array_equal(samples.samples, posterior.draws)
    np.testing.assert_allclose(samples.cov(), np.cov(posterior.draws.T), rtol=1e-3)
    for name in PARAMETERS[:2]:
        assert f"${samples.parLabel(name)}$" == label(name)
    text = samples.getInlineLatex("alpha_imf")
    assert re.fullmatch(r"\\alpha_{\\rm IMF} = -2\.3\d+\\pm 0\.008\d", text)


def test_without_getdist_the_error_says_how_to_get_it(posterior, monkeypatch):
    monkeypatch.setitem(sys.modules, "getdist", None)  # as if it were not installed
    with pytest.raises(ImportError, match="pip install getdist"):
        posterior.to_getdist()


def test_posterior_keeps_the_stars(posterior, stars, tmp_path):
    path = tmp_path / "posterior.nc"
    write_posterior(path, posterior, stars)
    with xr.open_datatree(path, engine="h5netcdf") as tree:
        seen = tree["observed_data"].to_dataset()
        assert seen["abundances"].dims == ("star", "abundance")
        assert list(seen["abundance"].values) == list(ABUNDANCES)
        assert list(seen["star"].values) == list(stars.ids)
        np.testing.assert_array_equal(seen["abundances"], stars.values)
        np.testing.assert_array_equal(seen["errors"], stars.errors)
        np.testing.assert_array_equal(seen["observed"], stars.observed)
        np.testing.assert_array_equal(seen["birth_time"], stars.birth_time)
        np.testing.assert_array_equal(seen["e_birth_time"], stars.e_birth_time)
        statistics = tree["sample_stats"].to_dataset()
        assert list(statistics["parameter"].values) == list(PARAMETERS[:2])
        np.testing.assert_array_equal(statistics["covariance"], COVARIANCE)
        # chi-square of 2 degrees of freedom
        assert float(statistics["mahalanobis2"].mean()) == pytest.approx(2, abs=0.05)
        assert json.loads(statistics.attrs["checks"]) == posterior.checks
        assert "single_star" not in tree.children


@pytest.mark.usefixtures("unchecked")
def test_star_draws_of_other_stars_are_refused(posterior, stars, tmp_path):
    with pytest.raises(ValueError, match=r"\(3, draw, 6\); got \(2, 50, 6\)"):
        write_posterior(tmp_path / "p.nc", posterior, stars, np.zeros((2, 50, 6)))
    assert not list(tmp_path.iterdir())


def test_failed_write_leaves_the_older_file(tmp_path):
    path = tmp_path / "summary.json"
    write_summary(path, {"n_stars": 1})

    def interrupted():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads(path.read_text()) == {"n_stars": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_new_files_have_the_users_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    write_summary(tmp_path / "summary.json", {})
    assert (tmp_path / "summary.json").stat().st_mode == plain.stat().st_mode


def test_read_only_folder(posterior, stars, read_only):
    with pytest.raises(OutputError, match="choose a folder that you may write") as info:
        write_summary(read_only / "summary.json", {})
    assert str(read_only) in str(info.value)
    with pytest.raises(OutputError, match="choose a folder that you may write") as info:
        write_posterior(read_only / "posterior.nc", posterior, stars)
    assert "posterior.nc" in str(info.value)


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file: choose"):
        write_summary(tmp_path / "out" / "summary.json", {})
    with pytest.raises(OutputError, match="is a file: choose"):
        write_summary(tmp_path / "out" / "deep" / "summary.json", {})
    assert (tmp_path / "out").read_text() == "mine"


def test_target_that_is_a_folder(tmp_path):
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(OutputError, match="folder of this name is in the way"):
        write_summary(tmp_path / "summary.json", {})


def test_full_disk(posterior, stars, tmp_path, full_disk):
    write_summary(tmp_path / "summary.json", {"n_stars": 1})
    with full_disk(), pytest.raises(OutputError, match="choose another folder") as info:
        write_summary(tmp_path / "summary.json", {"text": "x" * 5000})
    assert str(tmp_path) in str(info.value)
    with full_disk(), pytest.raises(OutputError, match="choose another folder"):
        write_posterior(tmp_path / "posterior.nc", posterior, stars)
    with full_disk(), pytest.raises(OutputError, match="choose another folder"):
        write_table(tmp_path / "posterior.ecsv", posterior)
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]
    assert json.loads((tmp_path / "summary.json").read_text()) == {"n_stars": 1}
