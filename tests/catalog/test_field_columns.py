"""Tables as people have them: columns that resemble ours, and identity of stars."""

import numpy as np
import pytest
from astropy.table import vstack

from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import COLUMNS, N, read, renamed, star_table, write

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
    assert "as other columns give the same quantities: logAge" in report.text()
    table.remove_column("age")
    report = read(write(tmp_path, table, "b.csv")).report
    assert "logAge" in report.warnings[0]
    assert "age=10**logAge" in report.warnings[0]


def test_alpha_alone_is_no_abundance_of_ours(tmp_path):
    table = renamed(star_table()["star", "fe_h", "e_fe_h", "mg_fe"], mg_fe="alpha_fe")
    warnings = read(write(tmp_path, table)).report.warnings
    assert "alpha_fe. [alpha/Fe] is not one of the abundances" in warnings[0]
    assert "Only [Fe/H] is read" in warnings[1]


def test_no_abundance_at_all_lists_what_looks_like_one(tmp_path):
    table = star_table()["star", "fe_h", "e_fe_h"]
    path = write(tmp_path, renamed(table, fe_h="A(Fe)", e_fe_h="e_A(Fe)"))
    message = refusal(path)
    assert "A(Fe) looks like an abundance" in message
    assert "fe_h=A(Fe)-7.50" in message


# ---- who is a star


def test_ids_that_are_rounded_or_absent_drop_nobody(tmp_path):
    table = renamed(star_table(), star="source_id")
    table["source_id"] = [f"{4 + i % 5}.1{i % 3}E+18" for i in range(N)]
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    assert "rounded numbers such as" in report.text()
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


@pytest.mark.parametrize("column", ["tmass_id", "gaia_dr3_source_id", "position"])
def test_rows_of_one_star_are_found(tmp_path, column):
    stars, report = read(write(tmp_path, observed_often(column)))
    assert report.n_used == 10
    assert list(stars.ids) == [f"spectrum {i}" for i in range(0, N, 4)]
    ((reason, n),) = report.reasons.items()
    assert n == 30
    assert column in reason


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
    reason = "all abundances and errors are those of an earlier row"
    assert report.reasons == {reason: N}


def test_columns_without_a_part_in_the_result_are_named(tmp_path):
    table = star_table()
    table["Teff"], table["remark"] = 5700.0, "none"
    table["ra"], table["dec"] = np.arange(float(N)), 10.0
    table["hip"] = 1000 + np.arange(N)
    notes = read(write(tmp_path, table)).report.notes
    assert "Other columns, not read: Teff, remark." in notes
    table = renamed(star_table(), mg_fe="Magnesium", e_mg_fe="e_Magnesium")
    text = read(write(tmp_path, table, "b.csv")).report.text()
    assert "mg_fe=Magnesium" in text
    assert not any(
        "not read" in note
        for note in read(write(tmp_path, star_table(), "c.csv")).report.notes
    )
