"""Exports of a posterior: ArviZ, ECSV, GetDist."""

import json
import re
import sys
import warnings
from datetime import datetime

import numpy as np
import pytest
import xarray as xr
from astropy import units as u
from astropy.table import QTable, Table

from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.plots.style import label
from chemsbi_jax.results import (
    write_posterior,
    write_table,
)
from helpers.correlated import COVARIANCE, MEAN


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
