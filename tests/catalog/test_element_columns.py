"""Columns of elements beyond the eight, in tables and in `Stars`."""

import jax
import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.catalog import read_catalog, read_stars, write_stars
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.errors import CatalogError, InputError


def test_columns_by_other_names_and_from_over_h(tmp_path):
    """Spellings, [X/H], absolute abundances and the solar scales have all elements."""
    random = np.random.default_rng(0)
    n, iron = 12, random.normal(-0.2, 0.2, 12)
    table = {"star": np.arange(n), "[Fe/H]": iron, "e_[Fe/H]": np.full(n, 0.05)}
    for x, a in (("Na", 6.24), ("Ni", 6.22)):
        table[f"A({x})"] = iron + a + random.normal(0.1, 0.05, n)
        table[f"e_A({x})"] = np.full(n, 0.06)
    table["[Ti/H]"] = iron + random.normal(0.2, 0.05, n)
    table["e_[Ti/H]"] = np.full(n, 0.06)
    path = tmp_path / "stars.csv"
    Table(table).write(path)
    options = cs.CatalogOptions(columns="na_h=A(Na),ni_h=A(Ni)")
    stars = read_catalog(path, options, ALL_ABUNDANCES).stars
    np.testing.assert_allclose(
        stars.select(("na_fe",)).values[:, 0], table["A(Na)"] - 6.24 - iron
    )
    np.testing.assert_allclose(
        stars.select(("ti_fe",)).values[:, 0], table["[Ti/H]"] - iron
    )
    options = cs.CatalogOptions(solar_from="grevesse2007", columns="fe_h=[Fe/H]")
    moved = read_catalog(path, options, ("fe_h", "ti_fe")).stars
    np.testing.assert_allclose(  # A(Ti) 4.90 and A(Fe) 7.45 there, 4.95 and 7.50 here
        moved.values, stars.select(("fe_h", "ti_fe")).values + [-0.05, 0.0]
    )
    with pytest.raises(CatalogError, match="Expected --columns like"):
        read_catalog(path, cs.CatalogOptions(columns="na_h=A(Na)"))


def test_survey_flags_hide_values_of_further_elements(tmp_path):
    n = 6
    table = {"sobject_id": np.arange(n), "flag_sp": np.zeros(n, int),
             "snr_c3_iraf": np.full(n, 50.0)}  # fmt: skip
    for name in ("fe_h", "na_fe", "ni_fe", "n_fe"):
        table[name] = np.linspace(-0.1, 0.1, n) + 0.01
        table[f"e_{name}"] = np.full(n, 0.05)
        table[f"flag_{name}"] = np.zeros(n, int)
    table["flag_na_fe"][2] = 1
    path = tmp_path / "galah.fits"
    Table(table).write(path)
    catalog = read_catalog(path, abundances=ALL_ABUNDANCES)
    seen = dict(zip(ALL_ABUNDANCES, catalog.stars.observed.T, strict=True))
    assert seen["na_fe"].tolist() == [True, True, False, True, True, True]
    assert seen["ni_fe"].all()
    assert not seen["ti_fe"].any()
    # nickel is no nitrogen: beside n_fe it is no second column of [N/Fe]
    plain = tmp_path / "plain.csv"
    Table({k: v for k, v in table.items() if "_fe" in k or k.endswith("fe_h")}).write(
        plain
    )
    options = cs.CatalogOptions(survey="none")
    assert read_catalog(plain, options).stars.select(("n_fe",)).observed.all()


def test_presets_of_apogee_and_sdss5_have_further_elements(tmp_path):
    n = 5
    iron = np.linspace(-0.3, 0.1, n)
    apogee = {"APOGEE_ID": [f"2M{i}" for i in range(n)]}
    apogee |= {"ASPCAPFLAG": np.zeros(n, int), "EXTRATARG": np.zeros(n, int)}
    sdss5 = {"sdss_id": np.arange(n) + 7, "flag_bad": np.zeros(n, bool)}
    for x, shift in (("fe", 0.0), ("mg", 0.2), ("mn", -0.1), ("s", 0.1)):
        ratio = iron + shift if x == "fe" else np.full(n, shift)
        over = "h" if x == "fe" else "fe"
        name = f"{x}_{over}".upper()
        apogee |= {name: ratio, f"{name}_ERR": np.full(n, 0.03),
                   f"{name}_FLAG": np.zeros(n, int)}  # fmt: skip
        sdss5 |= {f"{x}_h": iron + shift, f"e_{x}_h": np.full(n, 0.03),
                  f"{x}_h_flags": np.zeros(n, int)}  # fmt: skip
    apogee["MN_FE_FLAG"][1] = 1 << 3
    sdss5["mn_h_flags"][1] = 1 << 8
    for name, table in (("apogee", apogee), ("sdss5", sdss5)):
        path = tmp_path / f"{name}.csv"
        Table(table).write(path)
        catalog = read_catalog(path, abundances=ALL_ABUNDANCES)
        assert any("by the rules of" in note for note in catalog.report.notes)
        some = catalog.stars.select(("mn_fe", "s_fe", "fe_h"))
        assert some.observed[:, 0].tolist() == [True, False, True, True, True]
        np.testing.assert_allclose(some.values[0], [-0.1, 0.1, -0.3], atol=1e-12)
        eight = read_catalog(path).stars
        assert eight.abundances == cs.ABUNDANCES


def test_stars_select_take_and_write(tmp_path):
    values = np.arange(6.0).reshape(2, 3) / 10.0
    stars = cs.Stars.complete(values, 0.05, ("fe_h", "na_fe", "o_fe"))
    assert stars.take([1]).abundances == stars.abundances
    some = stars.select(("o_fe", "mg_fe"))
    assert some.observed.tolist() == [[True, False]] * 2
    assert some.values[:, 0].tolist() == values[:, 2].tolist()
    assert np.isnan(some.errors[:, 1]).all()
    write_stars(tmp_path / "stars.ecsv", stars)
    again = read_stars(tmp_path / "stars.ecsv", abundances=stars.abundances)
    np.testing.assert_array_equal(again.values, values)
    leaves = jax.tree.leaves(stars)
    assert all(np.shape(leaf)[0] == 2 for leaf in leaves)  # the names are static


def test_columns_must_be_named_once_each(unchecked):
    stars = cs.Stars.complete(np.zeros((2, 2)), 0.05, ("fe_h", "fe_h"))
    with pytest.raises(InputError, match="each abundance once"):
        cs.infer(stars, quiet=True)
    stars = cs.Stars.complete(np.zeros((2, 3)), 0.05, ("fe_h", "o_fe"))
    with pytest.raises(InputError, match=r"\(star, 2\).*fe_h, o_fe.*shape \(2, 3\)"):
        cs.infer(stars, quiet=True)
