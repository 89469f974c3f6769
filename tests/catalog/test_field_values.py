"""Tables as people have them: nulls, limits, flags, logarithms."""

import numpy as np
import pytest

from chemsbi_jax.catalog import read_stars
from chemsbi_jax.errors import CatalogError
from chemsbi_jax.inference.rows import add_rows
from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import COLUMNS, N, read, renamed, star_table, write


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


def test_numbers_of_lines_are_no_abundance(tmp_path):
    table = star_table()
    table["n_fe"] = np.arange(N) % 15
    path = write(tmp_path, table)
    assert "whole numbers up to 14" in refusal(path, default_error=0.1)
    assert_same(read(path, without="n_fe").stars)
    table = renamed(table, n_fe="N(Fe)")
    assert_same(read(write(tmp_path, table, "b.csv"), default_error=0.1).stars)


def test_a_trend_that_only_the_other_ratio_has(tmp_path):
    table = star_table()
    table["mg_fe"] += table["fe_h"]
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert "rename it to mg_h" in warning
    table = renamed(star_table(), mg_fe="mg_h", e_mg_fe="e_mg_h")
    (warning,) = read(write(tmp_path, table, "b.csv")).report.warnings
    assert "rename it to mg_fe" in warning


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
    assert f"{column} was applied" in report.text()
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
    assert "a possible cause of the misfit" in added[0]
    assert flags[0] in added[0]
    summary["checks"]["model_fit"]["flagged"] = False
    assert add_rows(summary, report)["warnings"] == [warning]


def test_a_survey_without_its_flags(tmp_path):
    table = star_table()
    names = {"star": "APOGEE_ID"}
    names |= {x: x.upper() for x in COLUMNS}
    names |= {f"e_{x}": f"{x.upper()}_ERR" for x in COLUMNS}
    table = renamed(table, **names)
    path = write(tmp_path, table)
    stars, report = read(path, survey="apogee")
    assert_same(stars)
    cut = 'no column aspcapflag; the cut "ASPCAPFLAG has STAR_BAD (bit 23)" was not'
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
