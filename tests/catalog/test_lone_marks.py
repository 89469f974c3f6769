"""Single numbers that a reader could take for "missing", limits in errors, log(O/H)."""

import numpy as np
import pytest

from chemsbi_jax.errors import counted
from helpers.field_checks import I, refusal
from helpers.field_tables import N, read, star_table, write


def with_cells(column, cells, *more):
    """The table with other cells in some rows (from 0) of a column."""
    table = star_table(*more)
    values = [str(x) for x in table[column]]
    for row, cell in cells.items():
        values[row] = cell
    table[column] = values
    return table


LONE = {
    "[Fe/H]": ("fe_h", {3: "-35.0"}),
    "[Mg/Fe]": ("mg_fe", {5: "-25"}),
    "two different": ("fe_h", {3: "-35.0", 5: "-41"}),
    "age": ("age", {2: "-25"}),
}


@pytest.mark.parametrize(("column", "cells"), LONE.values(), ids=LONE)
def test_a_lone_negative_number_is_refused(tmp_path, column, cells):
    more = ("age", "e_age") if column == "age" else ()
    message = refusal(write(tmp_path, with_cells(column, cells, *more)))
    row = next(iter(cells))
    assert f"row {row + 1} " in message
    assert f"{float(cells[row]):g} is too far below 0 for a" in message


@pytest.mark.parametrize("mark", ["-9999", "-99.99", "-32768", "-2147483648", "-999.0"])
@pytest.mark.parametrize("column", ["fe_h", "age"])
def test_a_lone_mark_is_a_gap(tmp_path, column, mark):
    more = ("age", "e_age") if column == "age" else ()
    path = write(tmp_path, with_cells(column, {3: mark}, *more))
    stars, report = read(path)
    values = stars.birth_time if more else stars.values[:, I["fe_h"]]
    assert np.flatnonzero(~np.isfinite(values)).tolist() == [3]
    assert "beyond 20" not in report.text()


@pytest.mark.parametrize(("column", "says"), [
    ("mg_fe", "Numbers beyond 20 dex that repeat, taken as not observed: mg_fe (2)."),
    ("age", "age: 2 values beyond 20 Gyr taken as not known."),
])  # fmt: skip
def test_repeated_negative_numbers_are_counted(tmp_path, column, says):
    more = ("age", "e_age") if column == "age" else ()
    path = write(tmp_path, with_cells(column, {3: "-500", 7: "-500"}, *more))
    assert says in read(path)[1].notes


@pytest.mark.parametrize("mark", ["<", ">", "\N{LESS-THAN OR EQUAL TO}", "UL", "<="])
@pytest.mark.parametrize("default", [None, 0.1])
def test_a_mark_in_the_error_makes_the_value_a_limit(tmp_path, mark, default):
    path = write(tmp_path, with_cells("e_mg_fe", {3: mark, 7: mark}))
    stars, report = read(path, default_error=default)
    absent = np.flatnonzero(~np.isfinite(stars.values[:, I["mg_fe"]]))
    assert absent.tolist() == [3, 7]
    assert "Limits (<, >), taken as not observed: mg_fe (2)." in report.notes


def test_a_mark_in_one_of_two_errors_makes_the_value_a_limit(tmp_path):
    table = with_cells("e_mg_fe", {3: "<"})
    table["mg_fe_err_up"] = table["e_mg_fe"]
    table.rename_column("e_mg_fe", "mg_fe_err_low")
    stars, _ = read(write(tmp_path, table), default_error=0.1)
    assert np.flatnonzero(~np.isfinite(stars.values[:, I["mg_fe"]])).tolist() == [3]


def test_an_error_that_is_a_limit_is_told(tmp_path):
    path = write(tmp_path, with_cells("e_mg_fe", {3: "<0.05"}))
    stars, report = read(path, default_error=0.1)
    assert stars.errors[3, I["mg_fe"]] == pytest.approx(0.1)
    (text,) = [note for note in report.notes if "Errors that are limits" in note]
    assert text.endswith("replaced by the default error: mg_fe (1).")


@pytest.mark.parametrize("mark", ["9.9", "9.99", "9.999", "-9.99"])
@pytest.mark.parametrize("rows", [(3,), (3, 8)])
@pytest.mark.parametrize("columns", ["o_h=A_O,e_o_h=e_A_O", "o_h=A_O-8.69"])
def test_nines_are_no_absolute_abundance(tmp_path, columns, rows, mark):
    table = star_table()
    table["o_fe"] = np.round(table["o_fe"] + table["fe_h"] + 8.69, 2)
    values = [mark if i in rows else str(x) for i, x in enumerate(table["o_fe"])]
    table["o_fe"] = values
    table.rename_columns(["o_fe", "e_o_fe"], ["A_O", "e_A_O"])
    stars, report = read(write(tmp_path, table), columns=columns)
    absent = np.flatnonzero(~np.isfinite(stars.values[:, I["o_fe"]]))
    assert tuple(absent) == rows
    found = counted(len(rows), "value")
    is_column = "e_o_h" in columns
    said = f"o_h ({len(rows)})" if is_column else f"{found} such as {mark} in A_O"
    assert any(said in note for note in report.notes)


def of_numbers(shift):
    """The table with log10(n_O / n_H) + shift, and [O/Fe]."""
    table = star_table()
    wanted = np.asarray(table["o_fe"])
    table["o_fe"] = wanted + table["fe_h"] + 8.69 - 12.0 + shift
    return table, wanted


@pytest.mark.parametrize(("name", "shift", "suggested"), [
    ("log(O/H)", 0.0, "log(O/H)+3.31"),
    ("12+log(O/H)", 12.0, "12+log(O/H)-8.69"),
])  # fmt: skip
def test_the_suggested_conversion_of_number_ratios(tmp_path, name, shift, suggested):
    table, wanted = of_numbers(shift)
    table.rename_columns(["o_fe", "e_o_fe"], [name, f"e_{name}"])
    path = write(tmp_path, table)
    assert f'--columns "o_h={suggested}"' in read(path)[1].text()
    stars, report = read(path, columns=f"o_h={suggested}")
    np.testing.assert_allclose(stars.values[:, I["o_fe"]], wanted, atol=1e-9)
    assert not report.warnings


def test_number_ratios_as_they_stand_are_doubted(tmp_path):
    table, _ = of_numbers(0.0)
    table.rename_columns(["o_fe", "e_o_fe"], ["O_H", "e_O_H"])
    (text,) = read(write(tmp_path, table))[1].warnings
    assert "dex below that of [Fe/H]" in text
    assert "--columns o_h=O_H+3.31" in text


def test_poor_stars_are_not_doubted(tmp_path):
    table = star_table()
    table["fe_h"] -= 2.5
    table["o_fe"] = np.linspace(0.2, 0.8, N)
    table["mg_h"] = np.asarray(table["mg_fe"]) + table["fe_h"]
    table["e_mg_h"] = 0.05
    table.remove_columns(["mg_fe", "e_mg_fe"])
    assert not read(write(tmp_path, table))[1].warnings


@pytest.mark.parametrize(
    ("name", "is_known"),
    [("n_detections", False), ("det_id", False), ("detected", True),
     ("is_detected", True), ("mg_fe_det", True)],
)  # fmt: skip
def test_numbers_of_detections_are_no_flags(tmp_path, name, is_known):
    table = star_table()
    table[name] = np.arange(N) % 2
    flags = read(write(tmp_path, table))[1].flags_not_followed
    assert any(flag.startswith(name) for flag in flags) == is_known
