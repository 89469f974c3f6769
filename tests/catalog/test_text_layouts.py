"""Text tables: headers, units, titles, quotes and commas where people have them."""

import numpy as np
import pytest

from chemsbi_jax.catalog.text_lines import find_delimiter, lines_of
from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import N, lines, read, star_table, write

HEADER, *ROWS = lines()
NAMES = HEADER.split(",")
N_CELLS = len(NAMES)
UNITS = ["-", *["dex"] * (N_CELLS - 1)]
BLANK_STAR = "S9999" + "," * (N_CELLS - 1)


def joined(*rows):
    return "\n".join(rows)


def with_remark(*remarks, sep=","):
    """The table with a last column of remarks; the rest of them is "ok"."""
    rest = ["ok"] * (N - len(remarks))
    header, *rows = lines(None, sep)
    rows = [f"{row}{sep}{x}" for row, x in zip(rows, [*remarks, *rest], strict=True)]
    return joined(f"{header}{sep}comment", *rows)


def psql():
    rows = [" " + " | ".join(line.split(",")) for line in (HEADER, *ROWS)]
    frame = "-" + "+".join(["-----"] * N_CELLS)
    return joined(rows[0], frame, *rows[1:], f"({N} rows)")


def quoted(sep, decimal):
    rows = [line.split("|") for line in lines(None, "|", decimal)]
    return joined(*(sep.join(f'"{cell}"' for cell in row) for row in rows))


READ = {
    "title of a spreadsheet": lambda: joined(
        "Table 2: my stars" + "," * (N_CELLS - 1), HEADER, *ROWS
    ),
    "title of several cells": lambda: joined(
        "Source:,Smith et al.,2020" + "," * (N_CELLS - 3), HEADER, *ROWS
    ),
    "title between semicolons": lambda: joined(
        "Table 2" + ";" * (N_CELLS - 1), *lines(None, ";", ",")
    ),
    "quoted decimal commas between semicolons": lambda: quoted(";", ","),
    "quoted decimal commas between commas": lambda: quoted(",", ","),
    "one comma in a name between tabs": lambda: joined(
        *(f"{x}\t{y}" for x, y in zip(lines(None, "\t"), ["Ref., year", *["2003"] * N],
                                      strict=True))
    ),
    "line break in a cell": lambda: with_remark('"binary?\ncheck"'),
    "line breaks, delimiters and quotes in cells": lambda: with_remark(
        '"a\n\nb, c\nd"', '"a ""quoted\n b"" x"', '5" of seeing'
    ),
    "separators of Unicode in a cell": lambda: with_remark(
        "a\x85b", "a\x0cb", "a\u2028b"
    ),
    "units in a second comment": lambda: joined(
        "# " + " ".join(NAMES), "# " + " ".join(UNITS), *lines(None, " ")[1:]
    ),
    "units in a second comment with commas": lambda: joined(
        "#" + HEADER, "#" + ",".join(["", *UNITS[1:]]), *ROWS
    ),
    "a remark of as many words": lambda: joined(
        "# " + " ".join(NAMES), "# " + " ".join(["word"] * N_CELLS),
        *lines(None, " ")[1:],
    ),
    "psql": psql,
    "spectral classes": lambda: with_remark("F", "G", "K").replace("comment", "spec"),
}  # fmt: skip


@pytest.mark.parametrize("content", READ.values(), ids=READ)
def test_what_is_read(tmp_path, content):
    path = tmp_path / "stars.csv"
    path.write_bytes(content().encode())
    stars, report = read(path)
    assert_same(stars)
    assert report.warnings == ()


def test_units_in_a_comment_are_followed(tmp_path):
    table = star_table("age", "e_age")
    for name in ("age", "e_age"):
        table[name] = np.round(table[name] * 1000)
    header, *rows = lines(table)
    units = ",".join(["-", *["dex"] * (N_CELLS - 1), "Myr", "Myr"])
    content = joined(f"# {header}", f"# {units}", *rows)
    stars = read(write(tmp_path, content)).stars
    ages = 13.797617 - np.asarray(stars.birth_time)
    np.testing.assert_allclose(ages, table["age"] / 1000, atol=1e-5)


def star_without_values(cell):
    return ",".join(["S9999", *[cell] * (N_CELLS - 1)])


@pytest.mark.parametrize("cell", ["", "--", "nan"])
@pytest.mark.parametrize("start", ["# ", ""])
def test_a_first_star_without_values_is_no_header(tmp_path, cell, start):
    content = joined(start + HEADER, star_without_values(cell), *ROWS)
    stars, report = read(write(tmp_path, content))
    assert_same(stars)
    assert report.n_read == N + 1


@pytest.mark.parametrize("mark", ["-", "--"])
@pytest.mark.parametrize("place", [0, 1])
def test_a_row_of_dashes_without_ids_is_a_star_without_values(tmp_path, mark, place):
    header, *rows = (line.split(",", 1)[1] for line in (HEADER, *ROWS))
    dashes = ",".join([mark] * (N_CELLS - 1))
    content = joined(header, *rows[:place], dashes, *rows[place:])
    stars, report = read(write(tmp_path, content))
    assert report.n_read == N + 1
    assert len(stars.ids) == N
    np.testing.assert_allclose(stars.values[:, I["fe_h"]], star_table()["fe_h"])


def test_thousands_are_not_read_as_decimals(tmp_path):
    ages = ["age", *["4,500"] * N]
    content = joined(
        *(f"{x}\t{y}" for x, y in zip(lines(None, "\t"), ages, strict=True))
    )
    message = refusal(write(tmp_path, content, "a.tsv"))
    assert "'4,500' is not a number; if this is a decimal comma" in message


REFUSED = {
    "ditto marks": (lambda: with_remark("a", '"', '"'), "row 2 has a quote"),
    "index of pandas": (
        lambda: joined(
            lines(None, " ")[0],
            *(f"{i} {line}" for i, line in enumerate(lines(None, " ")[1:])),
        ),
        "index=False",
    ),
    "blanks in ids": (
        lambda: joined(*lines(None, " ")).replace("S00", "HD "),
        "a name with a blank in it",
    ),
    "SExtractor": (
        lambda: joined(
            *(f"# {i} {name}" for i, name in enumerate(NAMES, 1)), *lines(None, " ")[1:]
        ),
        "ascii.sextractor",
    ),
}


@pytest.mark.parametrize(("content", "says"), REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_called_by_its_name(tmp_path, content, says):
    assert says in refusal(write(tmp_path, content()))


def test_flags_as_hexadecimal_numbers(tmp_path):
    header, *rows = lines()
    rows = [f"{row},0x{1 << 23 if i < 4 else 0:x},5" for i, row in enumerate(rows)]
    content = joined(f"{header},ASPCAPFLAG,x", *rows).replace("star,", "APOGEE_ID,")
    content = content.replace("e_fe_h", "FE_H_ERR", 1)
    stars, report = read(write(tmp_path, content))
    assert len(stars.ids) == N - 4
    assert "STAR_BAD" in report.text()


def test_lines_of_a_text_and_their_delimiter():
    assert lines_of('a,"b\r\nc"\r\nd,e\rf,g') == ['a,"b c"', "d,e", "f,g"]
    assert find_delimiter(["a\tb\tRef., year", "1\t2\t3", "1\t2\t4"]) == "\t"
    assert find_delimiter(["a b", "1 2"]) == " "


def test_a_number_with_a_point_does_not_stop_decimal_commas(tmp_path):
    table = star_table()
    table["fe_h"] = [-1.351, *np.asarray(table["fe_h"])[1:]]
    header, *rows = lines(table, ";", ",")
    text = joined(f"{header};version", *(f"{row};1.2" for row in rows))
    assert_same(read(write(tmp_path, text))[0], table)


def test_one_line_before_the_names_is_one_line(tmp_path):
    report = read(write(tmp_path, joined("Stars of Smith", HEADER, *ROWS)))[1]
    assert "1 line before the column names was left out" in report.text()
