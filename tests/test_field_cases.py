"""Tables as people have them: the right numbers, or a message that names the remedy."""

import bz2
import gzip
import io
import lzma

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table, vstack
from field_tables import COLUMNS, N, lines, read, renamed, star_table, write

from chemsbi_jax.catalog import read_stars, write_stars
from chemsbi_jax.constants import ABUNDANCES, SOLAR, T_END
from chemsbi_jax.errors import CatalogError, CatalogWarning
from chemsbi_jax.inference.rows import add_rows

I = {name: i for i, name in enumerate(ABUNDANCES)}  # noqa: E741
SUN = {"fe": 7.50, "mg": 7.60, "o": 8.69, "si": 7.51}


def refusal(path, **options):
    with pytest.raises(CatalogError) as info:
        read(path, **options)
    assert str(path) in str(info.value) or "--columns" in str(info.value)
    return str(info.value)


def assert_same(stars, table=None, atol=1e-6, names=COLUMNS):
    """The stars are those of the table, all of them, and nothing else is observed."""
    table = star_table() if table is None else table
    assert len(stars.ids) == len(table) == len(set(stars.ids))
    for name in names:
        np.testing.assert_allclose(stars.values[:, I[name]], table[name], atol=atol)
        np.testing.assert_allclose(
            stars.errors[:, I[name]], table[f"e_{name}"], atol=1e-6
        )
    assert set(np.flatnonzero(stars.observed.any(axis=0))) == {I[x] for x in names}


# ---- columns that resemble ours

COMPETITORS = {
    "NLTE beside plain": ({}, {"fe_h_nlte": "fe_h"}),
    "LTE and NLTE": ({"mg_fe": "mg_fe_lte"}, {"mg_fe_nlte": "mg_fe_lte"}),
    "a join of TOPCAT": (
        {"fe_h": "fe_h_1", "e_fe_h": "e_fe_h_1"},
        {"fe_h_2": "fe_h_1"},
    ),
    "a join of pandas": ({"fe_h": "fe_h_x"}, {"fe_h_y": "fe_h_x"}),
    "two ions": ({"fe_h": "[Fe I/H]"}, {"[Fe II/H]": "[Fe I/H]"}),
    "raw": ({"fe_h": "FE_H"}, {"FE_H_RAW": "FE_H"}),
    "3D and NLTE": ({"o_fe": "[O/Fe]"}, {"[O/Fe]_3DNLTE": "[O/Fe]"}),
    "two spellings": ({"fe_h": "fe_h"}, {"FEH": "fe_h"}),
    "two surveys": ({"o_fe": "OFE_APOGEE"}, {"OFE_GALAH": "OFE_APOGEE"}),
}


@pytest.mark.parametrize(("names", "copies"), COMPETITORS.values(), ids=COMPETITORS)
def test_competing_columns_are_refused_until_one_is_chosen(tmp_path, names, copies):
    table = renamed(star_table(), **names)
    ((copy, original),) = copies.items()
    table[copy] = table[original] + 0.1
    path = write(tmp_path, table)
    message = refusal(path)
    key = next(k for k in COLUMNS if (names or {"fe_h": ""}).get(k) is not None)
    for part in (repr(original), repr(copy), "--columns", f"{key}=", "--without"):
        assert part in message
    error = names.get(f"e_{key}", f"e_{key}")
    stars = read(path, columns=f"{key}={copy},e_{key}={error}").stars
    np.testing.assert_allclose(stars.values[:, I[key]], table[copy])
    stars = read(path, without=key).stars
    assert not stars.observed[:, I[key]].any()


LIKE = {
    "m_h": ("No [Fe/H] was found", "fe_h=m_h"),
    "Fe_H_cannon": ("No [Fe/H] was found", "fe_h=Fe_H_cannon"),
    "A(Fe)": ("No [Fe/H] was found", "fe_h=A(Fe)-7.50"),
    "metallicity": ("No [Fe/H] was found", "fe_h=metallicity"),
}


@pytest.mark.parametrize(("column", "parts"), LIKE.items(), ids=LIKE)
def test_no_iron_lists_what_looks_like_it(tmp_path, column, parts):
    path = write(tmp_path, renamed(star_table(), fe_h=column))
    (warning,) = read(path).report.warnings
    for part in (*parts, column):
        assert part in warning


UNREAD = {
    "Gaia-ESO": ("MG1", "mg_h=MG1-7.60"),
    "one ion": ("[Mg I/Fe]", "mg_fe=[Mg I/Fe]"),
    "Gaia": ("mgfe_gspspec", "mg_fe=mgfe_gspspec"),
    "log eps": ("logeps_Mg", "mg_h=logeps_Mg-7.60"),
}


@pytest.mark.parametrize(("column", "flag"), UNREAD.values(), ids=UNREAD)
def test_unread_columns_are_named_with_the_flag_that_reads_them(tmp_path, column, flag):
    path = write(tmp_path, renamed(star_table(), mg_fe=column))
    (warning,) = read(path).report.warnings
    assert column in warning
    assert flag in warning


def test_ages_that_are_not_read_or_not_used_are_told(tmp_path):
    table = star_table("age")
    table["logAge"] = np.log10(table["age"] * 1e9)
    report = read(write(tmp_path, table)).report
    assert "40 values of age have no error, and are not used" in report.text()
    assert (
        "Not read, as other columns give the same quantities: logAge" in report.text()
    )
    table.remove_column("age")
    report = read(write(tmp_path, table, "b.csv")).report
    assert "logAge" in report.warnings[0]
    assert "age=10**logAge" in report.warnings[0]


OTHER_RATIOS = {
    "[O/Mg]": '--columns "o_fe=[O/Mg]+mg_fe"',
    "si_mg": "--columns si_fe=si_mg+mg_fe",
    "fe_o": "--columns o_fe=0-fe_o",
}


@pytest.mark.parametrize(("column", "flag"), OTHER_RATIOS.items())
def test_ratios_of_other_elements_are_named_with_a_conversion(tmp_path, column, flag):
    table = star_table()
    table[column] = 0.1
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert f"Not read: {column}" in warning
    assert flag in warning


def test_joined_names_with_two_meanings_are_named(tmp_path):
    table = renamed(star_table(), fe_h="FeH", mg_fe="MgFe", si_fe="SiFe", o_fe="OH")
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert "OH. If they are abundances: --columns o_h=OH" in warning


def test_sigma_is_an_error(tmp_path):
    names = {
        f"e_{x}": f"\N{GREEK SMALL LETTER SIGMA}[{x[:-3]}/Fe]" for x in COLUMNS[1:]
    }
    stars, report = read(write(tmp_path, renamed(star_table(), **names)))
    assert_same(stars)
    assert report.warnings == ()


def test_over_h_without_iron_names_what_looks_like_it(tmp_path):
    table = renamed(over_h(), fe_h="m_h", e_fe_h="e_m_h")
    message = refusal(write(tmp_path, table))
    assert "--columns fe_h=m_h,e_fe_h=e_m_h" in message


def test_alpha_alone_is_no_abundance_of_ours(tmp_path):
    table = renamed(star_table()["star", "fe_h", "e_fe_h", "mg_fe"], mg_fe="alpha_fe")
    warnings = read(write(tmp_path, table)).report.warnings
    assert "alpha_fe. [alpha/Fe] is not one of the abundances" in warnings[0]
    assert "Only [Fe/H] is read" in warnings[1]


def test_no_abundance_at_all_lists_what_looks_like_one(tmp_path):
    table = star_table()["star", "fe_h", "e_fe_h"]
    path = write(tmp_path, renamed(table, fe_h="A(Fe)", e_fe_h="e_A(Fe)"))
    message = refusal(path)
    assert "A(Fe) look like abundances" in message
    assert "fe_h=A(Fe)-7.50" in message


# ---- who is a star


def test_ids_that_are_rounded_or_absent_drop_nobody(tmp_path):
    table = renamed(star_table(), star="source_id")
    table["source_id"] = [f"{4 + i % 5}.1{i % 3}E+18" for i in range(N)]
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    assert "rounded numbers as" in report.text()
    table["source_id"] = np.where(np.arange(N) < 15, -9999, np.arange(N) + 10**18)
    stars, report = read(write(tmp_path, table, "b.csv"))
    assert_same(stars)
    assert "15 rows have no id (source_id is -9999)" in report.text()


def test_numbers_within_a_cluster_are_no_ids(tmp_path):
    table = star_table()
    table["star"] = np.tile(np.arange(1, 9), 5)
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    assert "abundances differ by far more than the errors" in report.warnings[0]
    table["Cluster"] = np.repeat([f"NGC {i}" for i in range(5)], 8)
    stars, report = read(write(tmp_path, table, "b.csv"))
    assert_same(stars)
    assert "each has another Cluster" in report.warnings[0]


def observed_often(column):
    """Ten stars in four rows each, with ids of the spectra."""
    table, rng = star_table(), np.random.default_rng(2)
    table = table[np.repeat(np.arange(10), 4)]
    for name in COLUMNS:
        table[name] += np.round(rng.normal(0, table[f"e_{name}"]), 3)
    table["star"] = [f"spectrum {i}" for i in range(N)]
    if column == "position":
        table["ra"] = np.repeat(rng.uniform(10, 20, 10).round(6), 4)
        table["dec"] = np.repeat(rng.uniform(-5, 5, 10).round(6), 4)
    else:
        table[column] = np.repeat([f"2M0{i}123456+7{i}" for i in range(10)], 4)
    return table


@pytest.mark.parametrize(
    "column",
    ["tmass_id", "gaia_dr3_source_id", "gaia_dr2_id", "TARGETID", "TYC", "position"],
)
def test_rows_of_one_star_are_found(tmp_path, column):
    stars, report = read(write(tmp_path, observed_often(column)))
    assert report.n_used == 10
    assert list(stars.ids) == [f"spectrum {i}" for i in range(0, N, 4)]
    ((reason, n),) = report.reasons.items()
    assert n == 30
    assert column in reason


def sexagesimal(degrees, is_hours):
    size = np.abs(degrees) / (15.0 if is_hours else 1.0)
    d, m = size.astype(int), (size * 60.0 % 60.0).astype(int)
    cells = zip(
        np.where(degrees < 0, "-", "+"), d, m, size * 3600.0 % 60.0, strict=True
    )
    return [
        f"{sign * (not is_hours)}{a:02d}:{b:02d}:{c:05.2f}" for sign, a, b, c in cells
    ]


def test_positions_in_other_forms(tmp_path):
    table = observed_often("position")
    ra, dec = np.asarray(table["ra"]), np.asarray(table["dec"])
    text = table.copy()
    text["ra"], text["dec"] = sexagesimal(ra, True), sexagesimal(dec, False)
    assert read(write(tmp_path, text)).report.n_used == 10
    galactic = renamed(table, ra="l", dec="b")
    assert read(write(tmp_path, galactic, "b.csv")).report.n_used == 10
    parts = {"RAh": ra / 15.0, "RAm": ra * 4.0 % 60.0, "RAs": ra * 240.0 % 60.0}
    size = np.abs(dec)
    parts |= {"DEd": size, "DEm": size * 60.0 % 60.0, "DEs": size * 3600.0 % 60.0}
    for name, numbers in parts.items():
        table[name] = np.round(numbers, 3) if name[-1] == "s" else numbers.astype(int)
    table["DE-"] = np.where(dec < 0, "-", "")
    del table["ra"], table["dec"]
    assert read(write(tmp_path, table, "c.csv")).report.n_used == 10


def test_a_column_of_another_name_that_may_name_the_star_is_told(tmp_path):
    table = observed_often("OBJECT")
    report = read(write(tmp_path, table)).report
    assert report.n_used == N
    (warning,) = report.warnings
    assert "30 rows have the OBJECT of an earlier row" in warning
    assert "--columns id=OBJECT" in warning
    assert read(tmp_path / "stars.csv", columns="id=OBJECT").report.n_used == 10
    table["OBJECT"] = np.random.default_rng(0).permutation(table["OBJECT"])
    assert read(write(tmp_path, table, "b.csv")).report.warnings == ()


def test_an_id_of_the_field_or_cut_by_a_spreadsheet_drops_nobody(tmp_path):
    table = renamed(star_table(), star="object_id")
    table["object_id"] = np.repeat([10023, 10024], N // 2)
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    assert "differ by far more than the errors" in report.warnings[0]
    table["object_id"] = 4472832130942000000 + np.arange(N) // 4 * 1000
    stars, report = read(write(tmp_path, table, "b.csv"))
    assert_same(stars)
    assert "rounded numbers" in report.warnings[0]


def test_different_stars_at_one_place_stay(tmp_path):
    table = star_table()
    table["ra"], table["dec"] = 10.123456, 41.234567
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    assert "one position" in report.warnings[0]
    table["ra"] = 10.0 + 0.5 * (np.arange(N) // 2) + 0.00012
    stars, report = read(write(tmp_path, table, "b.csv"))
    assert_same(stars)
    assert "count as different stars" in report.warnings[0]


def test_a_table_that_was_joined_to_itself(tmp_path):
    table = vstack([star_table(), star_table()])
    table["star"] = [f"row {i}" for i in range(2 * N)]
    stars, report = read(write(tmp_path, table))
    assert report.n_used == N
    assert report.reasons == {"the same star as in an earlier row, by its numbers": N}


# ---- names and ranges


def absolute():
    table = star_table()
    for name in COLUMNS:
        x = name.split("_")[0]
        iron = 0.0 if x == "fe" else star_table()["fe_h"]
        table[name] = table[name] + iron + SUN[x]
    return table


def test_the_sun_is_that_of_the_model():
    elements = ("c", "fe", "h", "he", "mg", "n", "ne", "o", "si")
    assert {x: dict(zip(elements, SOLAR, strict=True))[x] for x in SUN} == SUN


def test_absolute_abundances_lose_the_sun(tmp_path):
    names = {x: f"A({x.split('_')[0].capitalize()})" for x in COLUMNS}
    names |= {f"e_{x}": f"e_{name}" for x, name in names.items()}
    path = write(tmp_path, renamed(absolute(), **names))
    keys = {x: f"{x.split('_')[0]}_h" for x in COLUMNS}
    columns = ",".join(f"{keys[x]}={names[x]}" for x in COLUMNS)
    converted = ",".join(
        f"{keys[x]}={names[x]}-{SUN[x.split('_')[0]]:.2f}" for x in COLUMNS
    )
    for text in (columns, converted):
        stars, report = read(path, columns=text)
        for x in COLUMNS:
            np.testing.assert_allclose(
                stars.values[:, I[x]], star_table()[x], atol=1e-9
            )
        assert stars.fe_covariance == pytest.approx(star_table()["e_fe_h"] ** 2)
    assert "A(Fe)" in report.text()
    assert "leave out --solar-from" in refusal(
        path, columns=columns, solar_from="lodders2003"
    )


def test_absolute_abundances_without_the_name_are_refused(tmp_path):
    table = star_table()
    table["fe_h"] += 7.5
    message = refusal(write(tmp_path, table))
    assert "looks like A(Fe)" in message
    assert "--columns fe_h=fe_h-7.50" in message


WRONG_NAMES = {
    "[X/H] for [X/Fe]": ("mg_h", "mg_fe=mg_h", "mg_h=mg_h"),
    "A(X) for [X/Fe]": ("A(Mg)", "mg_fe=A(Mg)", "mg_h=A(Mg)-7.60"),
    "another element": ("[Ti/Fe]2", "mg_fe=si_fe", "is [Si/Fe]"),
    "lines": ("N(Fe)", "n_fe=N(Fe)", "number of lines"),
    "log age": ("logAge", "age=logAge", "age=10**logAge"),
    "scale factor": (
        "GFM_StellarFormationTime",
        "birth_time=GFM_StellarFormationTime",
        "birth_time=cosmic_time(GFM_StellarFormationTime)",
    ),
}


@pytest.mark.parametrize(
    ("column", "columns", "says"), WRONG_NAMES.values(), ids=WRONG_NAMES
)
def test_a_name_that_contradicts_the_flag_is_refused(tmp_path, column, columns, says):
    table = star_table()
    table[column] = table["mg_fe"]
    message = refusal(write(tmp_path, table), columns=columns)
    assert says in message
    assert repr(columns.split("=")[1]) in message


def test_log_ages_and_scale_factors_are_converted(tmp_path):
    table = star_table("age", "e_age")
    table["logAge"] = np.log10(table["age"] * 1e9)
    table["e_logAge"] = 0.04
    del table["age"], table["e_age"]
    path = write(tmp_path, table)
    for columns in ("age=10**logAge", "age=10**logAge,e_age=e_logAge"):
        stars, report = read(path, columns=columns)
        age = star_table("age")["age"]
        np.testing.assert_allclose(T_END - stars.birth_time, age, rtol=1e-5)
        # half the change over +-1 sigma, so not quite the derivative
        expected = age * 0.04 * np.log(10.0)
        np.testing.assert_allclose(stars.e_birth_time, expected, rtol=0.01)
        assert "was taken in yr" in report.text()
    table["a"] = 0.5
    stars = read(write(tmp_path, table, "b.csv"), columns="birth_time=cosmic_time(a)")
    # Planck 2015: the Universe was 5.86 Gyr old at redshift 1
    np.testing.assert_allclose(stars.stars.birth_time, 5.86, atol=0.01)


@pytest.mark.parametrize("n", [5, N])
def test_ages_in_myr(tmp_path, n):
    table = star_table("age", "e_age")[:n]
    table["age"], table["e_age"] = table["age"] * 1e3, table["e_age"] * 1e3
    path = write(tmp_path, table)
    message = refusal(path)
    assert "'age'" in message
    assert "--age-unit Myr" in message
    stars = read(path, age_unit="Myr").stars
    np.testing.assert_allclose(T_END - stars.birth_time, table["age"] / 1e3)
    np.testing.assert_allclose(stars.e_birth_time, table["e_age"] / 1e3)


def test_doubtful_times_get_a_warning_and_impossible_ones_are_refused(tmp_path):
    table = star_table("age", "e_age")
    table["age"] = np.log10(table["age"] * 1e9)
    assert "If they are log10 of years" in read(write(tmp_path, table)).report.text()
    table = renamed(star_table("age", "e_age"), age="birth_time", e_age="e_birth_time")
    table["birth_time"] = table["birth_time"] / 13.0
    message = refusal(write(tmp_path, table, "b.csv"))
    assert "looks like a scale factor" in message


BAD_ERRORS = {
    "percent": (lambda e: e * 230.0, "looks like percent"),
    "variance by name": (lambda e: e**2, "sqrt(var_fe_h)"),
}


@pytest.mark.parametrize(("change", "says"), BAD_ERRORS.values(), ids=BAD_ERRORS)
def test_errors_in_another_form_are_refused(tmp_path, change, says):
    table = star_table()
    table["e_fe_h"] = change(table["e_fe_h"])
    if "var" in says:
        table = renamed(table, e_fe_h="var_fe_h")
    path = write(tmp_path, table)
    assert says in refusal(path)
    text = "e_fe_h=sqrt(var_fe_h)" if "var" in says else "e_fe_h=e_fe_h/230"
    assert_same(read(path, columns=text).stars)


def test_very_small_errors_get_a_warning(tmp_path):
    table = star_table()
    table["e_fe_h"] = table["e_fe_h"] ** 2
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert '"e_fe_h=sqrt(e_fe_h)"' in warning


@pytest.mark.parametrize("null", [9.99, -9.99, 9.9, -5.0, 99.0, -9999.0])
def test_nulls_are_gaps(tmp_path, null):
    table = star_table()
    rows = np.arange(N) % 4 == 0
    table["mg_fe"][rows] = null
    for path in (write(tmp_path, table), write(tmp_path, table, "b.fits")):
        stars, report = read(path)
        np.testing.assert_array_equal(stars.observed[:, I["mg_fe"]], ~rows)
    if abs(null) < 20.0:
        assert f"mg_fe ({rows.sum()})" in report.text()


@pytest.mark.parametrize("null", [5.0, 3.0, -4.0])
def test_one_value_far_from_all_others_is_a_gap(tmp_path, null):
    table = star_table()
    rows = np.arange(N) % 10 == 0
    table["mg_fe"][rows] = null
    stars, report = read(write(tmp_path, table))
    np.testing.assert_array_equal(stars.observed[:, I["mg_fe"]], ~rows)
    assert "far from all others, taken as not observed: mg_fe (4)" in report.text()
    table["mg_fe"][rows] = null + 0.1 * np.arange(4)  # four values are no mark
    assert read(write(tmp_path, table, "b.csv")).stars.observed[:, I["mg_fe"]].all()


def test_few_rows_with_one_value_apart_are_told(tmp_path):
    table = star_table()
    table["mg_fe"][::10] = -1.0
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert "mg_fe is -1 in 4 of 40 rows" in warning


@pytest.mark.parametrize("null", [0.0, -1.0])
def test_a_value_that_may_be_a_null_is_told(tmp_path, null):
    table = star_table()
    table["mg_fe"][::3] = null
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert f"mg_fe is {null:g} in 14 of 40 rows" in warning


def test_one_impossible_value_is_refused(tmp_path):
    table = star_table()
    table["mg_fe"][3] = 7.3
    message = refusal(write(tmp_path, table))
    for part in ("row 4 (id 'S0003')", "'mg_fe'", "7.3 dex is no [Mg/Fe]"):
        assert part in message


LINEAR = {
    "mass fraction": (lambda x: 0.0142 * 10**x, "fe_h=log10(fe_h/0.0142)"),
    "number ratio": (lambda x: 10**x, "fe_h=log10(fe_h)"),
}


@pytest.mark.parametrize(("change", "flag"), LINEAR.values(), ids=LINEAR)
def test_iron_without_the_logarithm(tmp_path, change, flag):
    table = star_table()
    iron = table["fe_h"].copy()
    table["fe_h"] = change(table["fe_h"])
    path = write(tmp_path, table)
    try:
        said = read(path).report.text()
    except CatalogError as error:
        said = str(error)
    assert flag in said
    stars = read(path, columns=f"{flag},e_fe_h=e_fe_h*1").stars
    np.testing.assert_allclose(stars.values[:, I["fe_h"]], iron, atol=1e-6)


ZERO_POINTS = {
    "log10 of a number ratio to H": ("fe_h", lambda x: x - 4.5, "fe_h=fe_h+4.50"),
    "log10 of a number ratio to Fe": ("o_fe", lambda x: x + 1.19, "o_fe=o_fe-1.19"),
    "no logarithm": ("mg_fe", lambda x: 10**x, "mg_fe=log10(mg_fe)"),
}


@pytest.mark.parametrize(
    ("name", "change", "flag"), ZERO_POINTS.values(), ids=ZERO_POINTS
)
def test_a_median_that_no_galaxy_has_gets_a_warning(tmp_path, name, change, flag):
    table = star_table()
    table[name] = change(table[name])
    path = write(tmp_path, table)
    (warning,) = read(path).report.warnings
    assert flag in warning
    stars = read(path, columns=f"{flag},e_{name}=e_{name}*1").stars
    np.testing.assert_allclose(stars.values[:, I[name]], star_table()[name], atol=1e-6)


def test_a_lookback_time_is_an_age(tmp_path):
    table = renamed(star_table("age", "e_age"), age="t_lookback", e_age="e_t_lookback")
    path = write(tmp_path, table)
    (warning,) = read(path).report.warnings
    assert "--columns age=t_lookback,e_age=e_t_lookback" in warning
    message = refusal(path, columns="birth_time=t_lookback")
    assert "by its name it is an age" in message


def test_numbers_of_lines_are_no_abundance(tmp_path):
    table = star_table()
    table["n_fe"] = np.arange(N) % 15
    path = write(tmp_path, table)
    assert "whole numbers up to 14" in refusal(path, default_error=0.1)
    few = star_table()
    few["n_fe"] = 1 + np.arange(N) % 2
    few = write(tmp_path, few, "few.csv")
    assert "whole numbers up to 2" in refusal(few, default_error=0.1)
    assert_same(read(path, without="n_fe").stars)
    table = renamed(table, n_fe="N(Fe)")
    assert_same(read(write(tmp_path, table, "b.csv"), default_error=0.1).stars)


def test_a_trend_that_only_the_other_ratio_has(tmp_path):
    table = star_table()
    table["mg_fe"] += table["fe_h"]
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert "--columns mg_h=..." in warning
    table = renamed(star_table(), mg_fe="mg_h", e_mg_fe="e_mg_h")
    (warning,) = read(write(tmp_path, table, "b.csv")).report.warnings
    assert "--columns mg_fe=..." in warning


# ---- flags and limits

LIMITS = {
    "VizieR": ("l_mg_fe", "<", ""),
    "numbers": ("ul_mg_fe", 1, 0),
    "words": ("mg_fe_limit", "upper", ""),
    "truth": ("UPPER_COMBINED_MG_FE", True, False),
}


@pytest.mark.parametrize(("column", "yes", "no"), LIMITS.values(), ids=LIMITS)
def test_limits_are_gaps_and_are_counted(tmp_path, column, yes, no):
    table = star_table()
    rows = np.arange(N) % 5 == 0
    table[column] = np.where(rows, yes, no)
    stars, report = read(write(tmp_path, table))
    np.testing.assert_array_equal(stars.observed[:, I["mg_fe"]], ~rows)
    assert f"{column} was followed" in report.text()
    assert "taken as not observed: mg_fe (8)" in report.text()
    assert report.flags_not_followed == ()


def test_limits_within_the_cells(tmp_path):
    table = star_table()
    cells = [f"<{x}" if i % 5 == 0 else str(x) for i, x in enumerate(table["mg_fe"])]
    table["mg_fe"] = cells
    path = write(tmp_path, table)
    stars, report = read(path)
    assert stars.observed[:, I["mg_fe"]].sum() == 32
    assert "taken as not observed: mg_fe (8)" in report.text()
    with pytest.raises(CatalogError, match="is not a number"):
        read_stars(path)  # there is no report that could tell it


def test_marks_of_limits_that_are_not_understood_are_named(tmp_path):
    table = star_table()
    table["l_mg_fe"] = np.where(np.arange(N) % 5 == 0, "b", "")
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    assert report.flags_not_followed == ("l_mg_fe (blank: 32 rows, b: 8 rows)",)


def test_flags_without_known_meaning_are_named(tmp_path):
    table = star_table()
    table["MG_FE_FLAG"] = (np.arange(N) % 4 > 0).astype(int)
    table["quality"] = np.where(np.arange(N) % 2, "A", "C")
    table["flag_o_fe"] = 0  # tells nothing
    table["snr"] = np.linspace(10, 90, N)
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    flags = ("MG_FE_FLAG (0: 10 rows, 1: 30 rows)", "quality (a: 20 rows, c: 20 rows)")
    assert report.flags_not_followed == (*flags, "snr")
    (warning,) = report.warnings
    assert all(flag in warning for flag in flags)
    summary = {"warnings": [], "checks": {"model_fit": {"flagged": True}}}
    added = add_rows(summary, report)["warnings"]
    assert "possible cause of the misfit" in added[0]
    assert flags[0] in added[0]
    summary["checks"]["model_fit"]["flagged"] = False
    assert add_rows(summary, report)["warnings"] == [warning]


@pytest.mark.parametrize("column", ["use", "member", "binary", "QC", "mg_fe_type"])
def test_judgements_of_stars_are_named(tmp_path, column):
    table = star_table()
    table[column] = np.where(np.arange(N) % 4, "a", "c")
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert f"{column} (a: 30 rows, c: 10 rows)" in warning


def test_a_survey_without_its_flags(tmp_path):
    table = star_table()
    names = {"star": "APOGEE_ID"}
    names |= {x: x.upper() for x in COLUMNS}
    names |= {f"e_{x}": f"{x.upper()}_ERR" for x in COLUMNS}
    table = renamed(table, **names)
    path = write(tmp_path, table)
    stars, report = read(path, survey="apogee")
    assert_same(stars)
    cut = "no column aspcapflag; that cut was not made"
    for part in (cut, "without a quality flag"):
        assert part in report.text()
    assert "--survey apogee" in read(path).report.text()
    table["MG_FE_FLAG"] = np.where(np.arange(N) < 5, 1, 0)
    stars, report = read(write(tmp_path, table, "b.csv"))
    assert "Read by the rules of APOGEE" in report.text()
    assert stars.observed[:, I["mg_fe"]].sum() == N - 5


def test_galah_dr2_and_a_subset_of_galah(tmp_path):
    table = renamed(star_table(), star="sobject_id")
    table["sobject_id"] = 140209002701000 + np.arange(N)
    table["flag_mg_fe"] = (np.arange(N) < 6).astype(int)
    stars, report = read(write(tmp_path, table))  # without flag_sp and flag_cannon
    assert "Read by the rules of GALAH" in report.text()
    assert stars.observed[:, I["mg_fe"]].sum() == N - 6
    table["flag_cannon"] = (np.arange(N) % 10 == 9).astype(int)
    stars, report = read(write(tmp_path, table, "b.csv"))
    assert "GALAH DR2" in report.text()
    assert report.reasons == {"flag_cannon is not 0": 4}


# ---- formats


def text(sep=",", decimal=".", start="", end="", encoding="utf-8", newline="\n"):
    header, *rows = lines(None, sep, decimal)
    return (start + newline.join([header, *(r + end for r in rows)])).encode(encoding)


def written(form):
    stream = io.StringIO()
    star_table().write(stream, format=form)
    return stream.getvalue().encode()


def vizier():
    header, *rows = lines(None, "\t")
    n = header.count("\t")
    units = "\t".join([" ", *["[Sun]"] * n])
    return "\n".join(["#RESOURCE", header, units, "\t".join(["---"] * (n + 1)), *rows])


FORMATS = {
    "tabs": ("a.tsv", lambda: text("\t")),
    "spaces": ("a.dat", lambda: text("  ")),
    "pipes": ("a.csv", lambda: text("|")),
    "semicolons and decimal commas": ("a.csv", lambda: text(";", ",")),
    "tabs and decimal commas": ("a.txt", lambda: text("\t", ",")),
    "byte-order mark and sep=": (
        "a.csv",
        lambda: b"\xef\xbb\xbfsep=;\n" + text(";", ","),
    ),
    "UTF-16": ("a.txt", lambda: text("\t", encoding="utf-16")),
    "ends of lines": ("a.csv", lambda: text(newline="\r\n")),
    "trailing delimiter": ("a.csv", lambda: text(end=",")),
    "gzip": ("a.csv.gz", lambda: gzip.compress(text())),
    "bzip2": ("a.csv.bz2", lambda: bz2.compress(text())),
    "xz": ("a.csv.xz", lambda: lzma.compress(text())),
    "a title": ("a.csv", lambda: text(start="Table 3: stars of a dwarf\n")),
    "comments by %": ("a.csv", lambda: text(start="% made up, of a dwarf\n% again\n")),
    "en dashes": ("a.csv", lambda: text().decode().replace(",-", ",\u2013").encode()),
    "savetxt": ("a.csv", lambda: text(start="# ")),
    "remarks and header in a comment": (
        "a.dat",
        lambda: text(" ", start="# made up\n# "),
    ),
    "MRT": ("a.mrt", lambda: written("ascii.mrt")),
    "MRT named txt": ("a.txt", lambda: written("ascii.mrt")),
    "IPAC": ("a.tbl", lambda: written("ascii.ipac")),
    "fixed width": ("a.txt", lambda: written("ascii.fixed_width")),
    "drawn": ("a.txt", lambda: written("ascii.rst")),
    "VizieR": ("a.tsv", lambda: vizier().encode()),
    "pandas with its index": (
        "a.csv",
        lambda: "\n".join(
            f"{i - 1 if i else ''},{x}" for i, x in enumerate(lines())
        ).encode(),
    ),
}


@pytest.mark.parametrize(("name", "content"), FORMATS.values(), ids=FORMATS)
def test_text_formats(tmp_path, name, content):
    stars, report = read(write(tmp_path, content(), name))
    assert_same(stars)
    assert report.warnings == ()


NOT_READ = {
    "decimal commas": (lambda: text(",", ","), "if the numbers have decimal commas"),
    "no header": (lambda: text().split(b"\n", 1)[1], "no line of column names"),
    "Latin-1": (lambda: text().replace(b"S0003", b"S\xe9"), "line 5 has a character"),
    "cut short": (lambda: text()[:-8], "the file is cut short"),
    "workbook": (lambda: b"PK\x03\x04" + bytes(99), "save the sheet as CSV"),
    "HDF5": (lambda: b"\x89HDF\r\n" + bytes(99), "an HDF5 file"),
    "array": (lambda: b"\x93NUMPY" + bytes(99), "numpy.load"),
    "JSON": (lambda: b'[{"fe_h": 0.1, "e_fe_h": 0.05}]', "JSON"),
    "a line of units": (
        lambda: text().replace(
            b"\n", b"\n" + b",".join([b"x"] + [b"dex"] * 8) + b"\n", 1
        ),
        "a line of units under the header",
    ),
    "LaTeX": (lambda: b"\\begin{tabular}{ll}\na & b\n", "LaTeX"),
    "HTML": (lambda: written("ascii.html"), "HTML"),
}


@pytest.mark.parametrize(("content", "says"), NOT_READ.values(), ids=NOT_READ)
def test_what_is_not_read_is_called_by_its_name(tmp_path, content, says):
    assert says in refusal(write(tmp_path, content()))


@pytest.mark.parametrize("unit", ["log(Sun)", "[Sun]", "[-]", "---", "dex"])
def test_votable_with_units_of_vizier_and_a_second_table(tmp_path, unit):
    fields = "".join(
        f'<FIELD name="{name}" datatype="float" unit="{unit}"/>'
        for name in star_table().colnames[1:]
    )
    rows = "".join(
        f"<TR>{''.join(f'<TD>{x}</TD>' for x in row)}</TR>" for row in star_table()
    )
    refs = (
        '<TABLE><FIELD name="Ref" datatype="int"/><DATA><TABLEDATA><TR><TD>1</TD></TR>'
    )
    refs += "</TABLEDATA></DATA></TABLE>"
    content = (
        '<?xml version="1.0"?><VOTABLE version="1.4" '
        'xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>'
        f'{refs}<TABLE><FIELD name="Name" datatype="char" arraysize="8"/>{fields}'
        f"<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    path = write(tmp_path, content, "a.vot")
    stars, report = read(path)
    assert_same(stars)
    assert "Table 2 was read" in report.notes[0]
    assert "there is no table 3" in refusal(path, hdu=3)
    assert "no column holds an abundance" in refusal(path, hdu=1)


def test_ids_that_begin_with_a_hash(tmp_path):
    content = text().decode().replace("S000", "#")  # ten stars of forty
    stars, report = read(write(tmp_path, content))
    assert_same(stars)
    assert stars.ids[3] == "#3"
    assert "10 rows begin with '#'" in report.text()
    content = text().decode().replace("S000", "#S000")  # rows that somebody took out
    stars, report = read(write(tmp_path, content, "b.csv"))
    assert len(stars.ids) == N - 10
    assert "10 lines that begin with '#'" in report.warnings[0]


PAIRS = {
    "VizieR": ("E_fe_h", "e_fe_h", False),
    "words": ("fe_h_err_up", "fe_h_err_low", False),
    "percentiles": ("fe_h_upper", "fe_h_lower", True),
    "numbers": ("fe_h_84", "fe_h_16", True),
}


@pytest.mark.parametrize(("up", "low", "is_value"), PAIRS.values(), ids=PAIRS)
def test_pairs_of_errors(tmp_path, up, low, is_value):
    table = star_table()
    e, value = table["e_fe_h"].copy(), table["fe_h"] if is_value else 0.0
    del table["e_fe_h"]
    table[up] = value + 1.2 * e
    table[low] = value - 0.8 * e if is_value else 0.8 * e
    stars, report = read(write(tmp_path, table))
    assert_same(stars)  # the mean is e
    assert up in report.text()
    assert low in report.text()


# ---- vectors and long tables


def test_apogee_vectors_are_split_by_their_symbols(tmp_path):
    table = star_table()
    symbols = ["C", "CI", "O", "MG", "SI", "FE"]
    values = np.full((N, 6), np.nan, np.float32)
    for i, x in enumerate(symbols[2:], 2):
        name = "fe_h" if x == "FE" else f"{x.lower()}_fe"
        values[:, i] = table[name] + (0.0 if x == "FE" else table["fe_h"])
    flags = np.zeros((N, 6), np.int32)
    flags[:4, 3] = 1
    first = Table({"APOGEE_ID": table["star"], "ASPCAPFLAG": np.zeros(N, int)})
    first["X_H"], first["X_H_ERR"] = values, np.full((N, 6), 0.05, np.float32)
    first["ELEMFLAG"] = flags
    parts = [fits.PrimaryHDU(), fits.table_to_hdu(first)]
    second = fits.table_to_hdu(Table({"ELEM_SYMBOL": [symbols]}))
    path = tmp_path / "allStar.fits"
    fits.HDUList([*parts, second]).writeto(path)
    stars, report = read(path)
    for name in COLUMNS:
        seen = stars.observed[:, I[name]]
        assert seen.sum() == (N - 4 if name == "mg_fe" else N)
        np.testing.assert_allclose(
            stars.values[seen, I[name]], table[name][seen], atol=1e-6
        )
    np.testing.assert_allclose(stars.fe_covariance, 0.05**2, rtol=1e-6)
    assert "X_H was split" in report.text()
    fits.HDUList(parts).writeto(tmp_path / "alone.fits")
    message = refusal(tmp_path / "alone.fits")
    assert "X_H holds 6 numbers in each row" in message
    assert "t['X_H'][:, i]" in message


def test_a_long_table_is_told_how_to_pivot(tmp_path):
    table = star_table()
    table["species"] = np.tile(["Fe I", "Mg I", "O I", "Si I"], N // 4)
    message = refusal(write(tmp_path, table))
    for part in ("'species' names elements", "Mg I", "pivot"):
        assert part in message
    for name, words in (
        ("quantity", ["[Fe/H]", "[Mg/Fe]", "[O/Fe]", "[Si/Fe]"]),
        ("what", ["Fe", "Mg", "O", "Si"]),
        ("Z", [26, 12, 8, 14]),
    ):
        long = star_table()
        long[name] = np.tile(words, N // 4)
        assert "names elements" in refusal(write(tmp_path, long, f"{name}.csv"))
    other = star_table()
    other["grade"] = np.tile(["Y", "N", "C", "O"], N // 4)  # letters, no elements
    assert_same(read(write(tmp_path, other, "other.csv")).stars)
    table["species"] = np.tile([26.0, 26.1, 12.0, 8.0], N // 4)
    assert "'species' names elements" in refusal(write(tmp_path, table, "b.csv"))


# ---- errors that [X/Fe] share


def over_h():
    table = star_table()
    for name in COLUMNS[1:]:
        table[name] = np.round(table[name] + table["fe_h"], 6)
    names = {x: x.replace("_fe", "_h") for x in COLUMNS[1:]}
    return renamed(table, **names, **{f"e_{x}": f"e_{y}" for x, y in names.items()})


def test_errors_of_ratios_share_that_of_iron(tmp_path):
    table = over_h()
    stars, report = read(write(tmp_path, table))
    np.testing.assert_allclose(stars.fe_covariance, table["e_fe_h"] ** 2)
    expected = np.hypot(table["e_mg_h"], table["e_fe_h"])
    np.testing.assert_allclose(stars.errors[:, I["mg_fe"]], expected)
    assert "share that of [Fe/H]" in report.text()
    write_stars(tmp_path / "again.ecsv", stars)
    again = read_stars(tmp_path / "again.ecsv")
    np.testing.assert_allclose(again.fe_covariance, stars.fe_covariance)
    part = again.take([2, 0])
    np.testing.assert_allclose(part.fe_covariance, stars.fe_covariance[[2, 0]])
    assert read(tmp_path / "stars.csv", without="fe_h").stars.fe_covariance is None


def mixed():
    """[O/H] and [Si/H] beside [Mg/Fe]."""
    table = over_h()
    table["mg_h"] = star_table()["mg_fe"]
    return renamed(table, mg_h="MG_FE", e_mg_h="MG_FE_ERR")


def test_a_table_that_mixes_both_ratios_carries_each_error(tmp_path):
    """Only [X/Fe] that was made from [X/H] shares the error of [Fe/H]."""
    table = mixed()
    stars, report = read(write(tmp_path, table))
    e_iron = np.asarray(table["e_fe_h"])
    for name in COLUMNS:
        np.testing.assert_allclose(
            stars.values[:, I[name]], star_table()[name], atol=1e-6
        )
    made = ["o_fe", "si_fe"]
    for name in ABUNDANCES:
        expected = e_iron**2 if name in made else np.zeros(N)
        np.testing.assert_allclose(stars.fe_covariance[:, I[name]], expected)
    for name in made:
        e_over_h = table[f"e_{name.replace('_fe', '_h')}"]
        np.testing.assert_allclose(stars.errors[:, I[name]], np.hypot(e_over_h, e_iron))
    np.testing.assert_allclose(stars.errors[:, I["mg_fe"]], table["MG_FE_ERR"])
    text = report.text()
    assert "[X/H] - [Fe/H] for o_h, si_h" in text
    assert "gives [X/Fe] itself for mg_fe" in text
    write_stars(tmp_path / "again.ecsv", stars)
    again = read_stars(tmp_path / "again.ecsv")
    np.testing.assert_allclose(again.fe_covariance, stars.fe_covariance)
    part = again.take([2, 0])
    np.testing.assert_allclose(part.fe_covariance, stars.fe_covariance[[2, 0]])


def both():
    """[O/H] beside [O/Fe]."""
    table = star_table()
    table["O_H"] = np.round(table["o_fe"] + table["fe_h"], 2)
    table["E_O_H"] = 0.05
    return renamed(table, o_fe="O_FE", e_o_fe="E_O_FE")


def test_both_ratios_of_one_element_that_agree(tmp_path):
    table = both()
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    assert "Not read, as O_FE holds the same: O_H." in report.text()
    assert report.warnings == ()
    table["O_FE"] = np.where(np.arange(N) < 7, np.nan, table["O_FE"])
    (warning,) = read(write(tmp_path, table, "b.csv")).report.warnings
    assert "7 rows have O_H and no O_FE" in warning
    assert "--columns o_h=O_H" in warning


def test_both_ratios_of_one_element_that_differ_are_refused(tmp_path):
    table = both()
    table["O_H"] += 0.1
    table["O_H"][0] = 9.99  # missing, and not the largest difference
    path = write(tmp_path, table)
    message = refusal(path)
    for part in ("'O_FE' and 'O_H'", "39 rows", "o_fe=O_FE", "o_h=O_H", "--without"):
        assert part in message
    assert_same(read(path, columns="o_fe=O_FE").stars)
    table["O_H"][0] = table["O_H"][1]
    path = write(tmp_path, table, "b.csv")
    stars = read(path, columns="o_h=O_H,e_o_h=E_O_H").stars
    np.testing.assert_allclose(stars.values[:, I["o_fe"]], table["O_H"] - table["fe_h"])
    assert not read(path, without="o_fe").stars.observed[:, I["o_fe"]].any()


def test_read_stars_warns_of_doubtful_columns(tmp_path):
    table = star_table()
    table["e_fe_h"] = table["e_fe_h"] ** 2
    with pytest.warns(CatalogWarning, match="very small for an error"):
        read_stars(write(tmp_path, table))


# ---- the field cases that were collected

A = "fe_h=A(Fe),e_fe_h=e_A(Fe),mg_h=A(Mg),e_mg_h=e_A(Mg),o_h=A(O),e_o_h=e_A(O)"
FOUR = ("fe_h", "mg_fe", "o_fe", "si_fe")
RIGHT = {  # file and flags -> abundances that are those of base80.csv
    "case-01.csv": ({"columns": A}, FOUR[:3]),
    "case-02.fits": ({"columns": "mg_h=MG1,o_h=O1,si_h=SI1"}, FOUR),
    "case-06.csv": ({}, (*FOUR, "c_fe", "n_fe")),
    "case-06b.csv": ({}, (*FOUR, "c_fe", "n_fe")),
    "case-10.csv": ({}, FOUR),
    "case-11.vot": ({}, FOUR[:3]),
    "case-11b.vot": ({}, FOUR[:3]),
    "case-12.vot": ({}, FOUR[:3]),
    "case-13.mrt": ({}, FOUR[:3]),
    "case-14.csv": ({}, FOUR[:3]),
    "case-15.csv": ({}, FOUR[:3]),
    "case-16.csv": ({}, FOUR[:3]),
    "case-17.fits": ({}, FOUR),
    "case-22.csv": ({"default_error": 0.1}, FOUR[:3]),
    "case-23.csv": ({}, (*FOUR, "c_fe", "n_fe")),
    "case-31.csv": ({}, FOUR[:3]),
    "case-34.csv": ({}, FOUR),
}


@pytest.mark.tables
@pytest.mark.parametrize("name", RIGHT)
def test_collected_case_is_read_rightly(data, name):
    options, names = RIGHT[name]
    base = Table.read(data / "field" / "base80.csv")
    stars = read(data / "field" / name, **options).stars
    assert len(stars.ids) == 80
    for x in names:
        # rounded to 0.001 twice, where it is a difference
        np.testing.assert_allclose(stars.values[:, I[x]], base[x], atol=0.0015)


TOLD = {  # file -> flags, and what the report or the refusal says
    "case-02.fits": ({}, "mg_h=MG1-7.60,si_h=SI1-7.51"),
    "case-03.csv": ({"columns": "age=logAge,e_age=e_logAge"}, "age=10**logAge"),
    "case-04.csv": (
        {"columns": "birth_time=GFM_StellarFormationTime"},
        "scale factor",
    ),
    "case-07.csv": ({}, "flag_cannon is not 0"),
    "case-07b.csv": ({}, "mg_fe (39)"),
    "case-08.csv": ({}, "taken as not observed: c_fe (33)"),
    "case-09.csv": ({}, "mg_fe (20)"),
    "case-09-noerr.csv": ({"default_error": 0.06}, "mg_fe (20)"),
    "case-19.csv": ({}, "'fe_h_1', 'fe_h_2'"),
    "case-20.csv": ({}, "looks like percent"),
    "case-20b.csv": ({}, "If these are variances"),
    "case-24.csv": ({}, "[alpha/Fe] is not one of the abundances"),
    "case-25.csv": (
        {"columns": "fe_h=mh_gspspec,mg_fe=mgfe_gspspec"},
        "fe_h=mh_gspspec+fem_gspspec",
    ),
    "case-26.csv": ({}, "pivot"),
    "case-27.csv": ({}, "MG_FE_FLAG (0: 22 rows, 1: 58 rows)"),
    "case-28.csv": ({}, "Only [O/Fe] is read"),
    "case-30.csv": ({}, "--age-unit Myr"),
    "case-31.csv": ({"columns": "mg_fe=MG_H"}, "mg_h=MG_H"),
    "case-32.csv": ({}, "'[Fe I/H]', '[Fe II/H]'"),
    "case-33.csv": ({}, "fe_h=m_h,e_fe_h=e_m_h"),
}


@pytest.mark.tables
@pytest.mark.parametrize("name", TOLD)
def test_collected_case_is_told(data, name):
    options, says = TOLD[name]
    try:
        said = read(data / "field" / name, **options).report.text()
    except CatalogError as error:
        said = str(error)
    assert says in said
