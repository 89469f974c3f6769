"""Cells that are no plain numbers: numbers in other spellings, gaps, and the rest."""

import numpy as np
import pytest

from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import N, lines, read, star_table, write

ROW, CELL = 3, 3  # of the lines: row 3, column mg_fe


def with_cell(cell, row=ROW, column=CELL):
    """The table as text lines, with another cell, quoted as CSV."""
    rows = [line.split(",") for line in lines()]
    rows[row][column] = '"' + cell.replace('"', '""') + '"'
    return "\n".join(map(",".join, rows))


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("1.2D-01", 0.12),
        ("-1.2d-1", -0.12),
        ("\N{NON-BREAKING HYPHEN}0.12", -0.12),
        ("\N{SMALL HYPHEN-MINUS}0.12", -0.12),
        ('="-0.12"', -0.12),
    ],
)
def test_other_spellings_of_numbers(tmp_path, cell, value):
    stars, report = read(write(tmp_path, with_cell(cell)))
    assert stars.values[ROW - 1, I["mg_fe"]] == pytest.approx(value)
    assert report.warnings == ()


@pytest.mark.parametrize(
    "cell",
    ["n.d.", "N.A.", "1.#QNAN", "-1.#IND", "#DIV/0!", "#NUM!",
     "\N{LESS-THAN OR SLANTED EQUAL TO}0.3",
     "\N{LESS-THAN OR EQUIVALENT TO}0.3"],
)  # fmt: skip
def test_words_for_missing_and_limits(tmp_path, cell):
    stars = read(write(tmp_path, with_cell(cell))).stars
    assert np.flatnonzero(~stars.observed[:, I["mg_fe"]]).tolist() == [ROW - 1]


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("0_1", "give a number"),
        ("0x1", "give a number"),
        ("0X1", "give a number"),
        ("0.12*", "remove the mark"),
        ("0.12a", "remove the mark"),
        ("(0.12)", "remove the brackets"),
        ("+0.06/-0.06", "split upper and lower error"),
        ("0.12 ± 0.05", "split the value and its error"),
        ("5%", "convert percent"),
        ("0.12 dex", "without its unit"),
        ("0,12", "decimal comma"),
        ("mg_fe", "second line of column names"),
    ],
)
def test_what_is_no_number_is_refused_with_row_and_remedy(tmp_path, cell, remedy):
    message = refusal(write(tmp_path, with_cell(cell)))
    for part in (f"row {ROW} (id 'S0002')", "'mg_fe'", repr(cell), remedy):
        assert part in message


def typed_tables():
    """ECSV, VOTable, IPAC and machine-readable tables with names such as 1_2."""
    table = star_table()
    table["star"] = [f"1_{i}" for i in range(N)]
    for form, name in (("ascii.ecsv", "a.ecsv"), ("votable", "a.vot"),
                       ("ascii.ipac", "a.tbl"), ("ascii.mrt", "a.mrt")):  # fmt: skip
        yield name, form, table


@pytest.mark.parametrize(("name", "form", "table"), typed_tables())
def test_underscores_in_typed_columns(tmp_path, name, form, table):
    path = tmp_path / name
    table["mg_fe"][2] = 0.777
    table.write(path, format=form, overwrite=True)
    assert_same(read(path).stars, table)  # names may have underscores
    content = path.read_text()
    assert content.count("0.777") == 1
    path.write_text(content.replace("0.777", "0_777"))
    assert "'0_777' is not a number" in refusal(path)


def test_hexadecimal_ids_are_kept(tmp_path):
    rows = [line.split(",") for line in lines()]
    for i in range(1, N + 1):
        rows[i][0] = f"0x{i:02x}"
    stars = read(write(tmp_path, "\n".join(map(",".join, rows)))).stars
    assert_same(stars)
    assert stars.ids[9] == "0x0a"


def test_a_second_header_is_called_by_its_name(tmp_path):
    header, *rows = lines()
    content = "\n".join([header, *rows[:20], header, *rows[20:]])
    message = refusal(write(tmp_path, content))
    assert "row 21" in message
    assert "second line of column names" in message
