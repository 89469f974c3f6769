"""Columns of limits and detections, errors that are none, units, other formats."""

import numpy as np
import pytest
from astropy.table import Table

from helpers.field_checks import I, refusal
from helpers.field_tables import N, read, renamed, star_table, write

MARKED = np.arange(N) % 4 == 0


@pytest.mark.parametrize(
    ("column", "yes", "no"),
    [
        ("mg_fe_limit", "upper limit", "none"),
        ("mg_fe_limit", "upper_limit", "detection"),
        ("mg_fe_limit_flag", "1", "0"),
    ],
)
def test_words_for_limits_are_followed(tmp_path, column, yes, no):
    table = star_table()
    table[column] = np.where(MARKED, yes, no)
    stars, report = read(write(tmp_path, table))
    np.testing.assert_array_equal(stars.observed[:, I["mg_fe"]], ~MARKED)
    assert not report.flags_not_followed
    assert not report.warnings


def test_signs_are_followed_beside_other_marks(tmp_path):
    table = star_table()
    table["l_mg_fe"] = np.where(MARKED, "<", "")
    table["l_mg_fe"][1:4] = "~"
    stars, report = read(write(tmp_path, table))
    np.testing.assert_array_equal(stars.observed[:, I["mg_fe"]], ~MARKED)
    assert any("not applied: ~: 3 rows" in text for text in report.warnings)


@pytest.mark.parametrize("column", ["mg_fe_detected", "o_fe_censored", "detection"])
def test_columns_of_detections_are_flags(tmp_path, column):
    table = star_table()
    table[column] = MARKED.astype(int)
    report = read(write(tmp_path, table)).report
    assert column in report.flags_not_followed[0]
    assert not any("give the same quantities" in note for note in report.notes)


def test_a_remark_about_limits_is_told(tmp_path):
    table = star_table()
    table["remark"] = np.where(MARKED, "Upper limit", "")
    report = read(write(tmp_path, table)).report
    assert any("remark (blank: 30 rows" in text for text in report.warnings)


@pytest.mark.parametrize("cell", ["50.0", "9.99", "<0.03"])
def test_an_error_that_is_none_is_named(tmp_path, cell):
    table = star_table()
    table["e_mg_fe"] = table["e_mg_fe"].astype("U6")
    table["e_mg_fe"][3] = cell
    message = refusal(write(tmp_path, table))
    assert f"its error {cell} was taken as missing" in message
    table["e_mg_fe"][3] = "nan"
    assert "mg_fe is observed but has no error" in refusal(
        write(tmp_path, table, "b.csv")
    )


@pytest.mark.parametrize(
    ("column", "remedy"),
    [
        ("e_fe_h", "e_fe_h=e_fe_h*0.00434"),
        ("fe_h", "fe_h=log10(fe_h*0.01)"),
        ("e_age", "e_age=e_age*age*0.01"),
    ],
)
def test_the_remedy_for_percent_can_be_typed(tmp_path, column, remedy):
    table = Table(star_table("age", "e_age"))
    table[column].unit = "%"
    table[column] = np.abs(table[column]) + 1.0
    path = tmp_path / "a.ecsv"
    table.write(path, format="ascii.ecsv")
    assert f'--columns "{remedy}"' in refusal(path)
    read(path, columns=remedy)


def test_the_remedy_for_large_errors_names_their_column(tmp_path):
    table = star_table()
    table["e_mg_fe"] = np.linspace(25.0, 40.0, len(table))
    path, remedy = write(tmp_path, table), "e_mg_fe=e_mg_fe*0.00434"
    assert f'convert it with --columns "{remedy}"' in refusal(path)
    read(path, columns=remedy)


@pytest.mark.parametrize("name", ["R_birth", "r_form", "birth_radius"])
def test_a_radius_of_birth_is_no_time(tmp_path, name):
    table = renamed(star_table("age"), age=name)
    assert not read(write(tmp_path, table)).report.warnings


def test_errors_of_ages_by_two_letters_and_ranges(tmp_path):
    table = star_table("age", "e_age")
    table["age_lerr"] = table["age_uerr"] = table["e_age"]
    table.remove_column("e_age")
    stars = read(write(tmp_path, table)).stars
    np.testing.assert_allclose(stars.e_birth_time, table["age_lerr"], atol=1e-6)
    table = renamed(table, age_lerr="age_min", age_uerr="age_max")
    warnings = read(write(tmp_path, table, "b.csv")).report.warnings
    assert any("age_min and age_max may hold the errors" in text for text in warnings)


def test_a_row_of_sums_is_no_star(tmp_path):
    table = star_table()
    table["star"][-1] = "Sum:"
    assert "is a summary of the other rows" in refusal(write(tmp_path, table))


TEXT = "star,fe_h,e_fe_h\na,0.1,0.05\nb,0.2,0.05\n"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (TEXT.encode("utf-16-le"), "zero bytes"),
        (TEXT.replace("0.1", "0.1\x00").encode(), "zero bytes"),
        (TEXT.encode("utf-32"), "UTF-32"),
        (b'[\n {"fe_h": 0.1}\n]\n', "JSON"),
    ],
)
def test_the_reason_why_a_text_is_not_read(tmp_path, content, reason):
    assert reason in refusal(write(tmp_path, content))
