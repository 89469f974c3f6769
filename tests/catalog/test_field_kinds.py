"""Further tables of the kinds that people have: read rightly, refused or told."""

import bz2
import lzma

import numpy as np
import pytest

from chemsbi_jax.catalog.zero_point import doubt_zero_point
from helpers.field_checks import I, assert_same, refusal, text
from helpers.field_tables import COLUMNS, N, read, renamed, star_table, write


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


@pytest.mark.parametrize(
    ("name", "median", "is_told"),
    [("ne_fe", 0.99, False), ("ne_fe", 1.3, True), ("o_fe", 0.99, True)],
)
def test_galaxies_with_a_flat_imf_have_much_neon(name, median, is_told):
    """0.99 dex: the model's median [Ne/Fe] with a slope of -1.4 and few SNe Ia."""
    found = doubt_zero_point(name, name, np.full(10, median))
    assert bool(found) == is_told


def test_a_lookback_time_is_an_age(tmp_path):
    table = renamed(star_table("age", "e_age"), age="t_lookback", e_age="e_t_lookback")
    path = write(tmp_path, table)
    (warning,) = read(path).report.warnings
    assert "--columns age=t_lookback,e_age=e_t_lookback" in warning
    message = refusal(path, columns="birth_time=t_lookback")
    assert "by its name it is an age" in message


@pytest.mark.parametrize("column", ["use", "member", "binary", "QC", "mg_fe_type"])
def test_judgements_of_stars_are_named(tmp_path, column):
    table = star_table()
    table[column] = np.where(np.arange(N) % 4, "a", "c")
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert f"{column} (a: 30 rows, c: 10 rows)" in warning


@pytest.mark.parametrize("column", ["gaia_dr2_id", "TARGETID", "TYC"])
def test_ids_of_further_catalogues_name_the_star(tmp_path, column):
    assert read(write(tmp_path, observed_often(column))).report.n_used == 10


def test_one_or_two_lines_are_no_abundance(tmp_path):
    table = star_table()
    table["n_fe"] = 1 + np.arange(N) % 2
    message = refusal(write(tmp_path, table), default_error=0.1)
    assert "whole numbers up to 2" in message


FORMATS = {
    "bzip2": ("a.csv.bz2", lambda: bz2.compress(text())),
    "xz": ("a.csv.xz", lambda: lzma.compress(text())),
    "a title": ("a.csv", lambda: text(start="Table 3: stars of a dwarf\n")),
    "comments by %": ("a.csv", lambda: text(start="% made up, of a dwarf\n% again\n")),
    "en dashes": ("a.csv", lambda: text().decode().replace(",-", ",\u2013").encode()),
}


@pytest.mark.parametrize(("name", "content"), FORMATS.values(), ids=FORMATS)
def test_further_text_formats(tmp_path, name, content):
    stars, report = read(write(tmp_path, content(), name))
    assert_same(stars)
    assert report.warnings == ()


def test_json_and_a_line_of_units_are_called_by_their_names(tmp_path):
    path = write(tmp_path, b'[{"fe_h": 0.1, "e_fe_h": 0.05}]')
    assert "JSON" in refusal(path)
    units = b",".join([b"x"] + [b"dex"] * 8)
    path = write(tmp_path, text().replace(b"\n", b"\n" + units + b"\n", 1), "b.csv")
    assert "a line of units under the header" in refusal(path)


LONG = {
    "quantity": ["[Fe/H]", "[Mg/Fe]", "[O/Fe]", "[Si/Fe]"],
    "what": ["Fe", "Mg", "O", "Si"],
    "Z": [26, 12, 8, 14],
}


@pytest.mark.parametrize(("column", "words"), LONG.items(), ids=LONG)
def test_a_long_table_is_known_by_its_content(tmp_path, column, words):
    table = star_table()
    table[column] = np.tile(words, N // 4)
    assert "names elements" in refusal(write(tmp_path, table))


def test_letters_are_no_elements(tmp_path):
    table = star_table()
    table["grade"] = np.tile(["Y", "N", "C", "O"], N // 4)
    assert_same(read(write(tmp_path, table)).stars)
