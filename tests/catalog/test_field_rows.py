"""Rows, times and marks of further tables: blanks, hashes, bounds, contradictions."""

import io

import numpy as np
import pytest

from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import COLUMNS, N, lines, read, renamed, star_table, write

T_END = 13.797617  # Gyr, age of the Universe in the model


def with_gaps():
    """The table as text cells; [Si/Fe], the last column, is blank in some rows."""
    header, *rows = lines(star_table(), "\t")
    cells = [row.split("\t") for row in rows]
    for row in cells[::4]:
        row[-2:] = ["", ""]
    return [header.split("\t"), *cells]


def expected():
    table = star_table()
    table["si_fe"][::4] = table["e_si_fe"][::4] = np.nan
    return table


def assert_gaps(stars):
    assert len(stars.ids) == N
    for name in COLUMNS:
        np.testing.assert_allclose(
            stars.values[:, I[name]], expected()[name], atol=1e-6
        )


def test_blank_cells_between_tabs_are_gaps(tmp_path):
    text = "\n".join("\t".join(row) for row in with_gaps())
    assert_gaps(read(write(tmp_path, text, "a.tsv")).stars)
    # and at the beginning: no id
    rows = with_gaps()
    rows[3][0] = ""
    text = "\n".join("\t".join(row) for row in rows)
    assert_gaps(read(write(tmp_path, text, "b.tsv")).stars)


@pytest.mark.parametrize("end", ["", ","])
def test_hashes_of_ids_in_other_files(tmp_path, end):
    rows = with_gaps()
    for i, row in enumerate(rows[1:]):
        row[0] = f"#{i}" if i % 3 == 0 else f"S{i}"
    first, *rest = (",".join(row) for row in rows)
    text = "\n".join([first, *(row + end for row in rest)])
    assert_gaps(read(write(tmp_path, text)).stars)


def test_hashes_of_ids_in_ecsv(tmp_path):
    table, stream = star_table(), io.StringIO()
    table["star"] = [f"#{i}" if i % 3 == 0 else f"S{i}" for i in range(N)]
    table.write(stream, format="ascii.ecsv")
    stars = read(write(tmp_path, stream.getvalue(), "a.ecsv")).stars
    assert_same(stars)
    assert stars.ids[3] == "#3"


def test_a_file_of_comments_is_no_table_without_rows(tmp_path):
    text = "\n".join(f"# {line}" for line in lines())
    assert "lines begin with '#'" in refusal(write(tmp_path, text))


def test_pairs_that_differ_in_case_with_words_for_missing(tmp_path):
    table = star_table()
    table["E_mg_fe"] = [f"{x + 0.02:.3f}" for x in table["e_mg_fe"]]
    table["E_mg_fe"][::5] = "--"
    table["mg_fe"][::5] = np.nan
    stars = read(write(tmp_path, table)).stars
    seen = stars.observed[:, I["mg_fe"]]
    assert seen.sum() == N - len(seen[::5])
    np.testing.assert_allclose(
        stars.errors[seen, I["mg_fe"]], table["e_mg_fe"][seen] + 0.01, atol=1e-6
    )


def test_bounds_that_differ_in_case_are_the_error(tmp_path):
    table = star_table("age", "e_age")
    age, sigma = np.array(table["age"]), np.array(table["e_age"])
    table["b_TAge"], table["B_TAge"] = age - sigma, age + sigma
    table.remove_column("e_age")
    path = write(tmp_path, renamed(table, age="TAge"))
    assert any("age=TAge" in text for text in read(path).report.warnings)
    stars = read(path, columns="age=TAge").stars
    np.testing.assert_allclose(stars.birth_time, T_END - age, atol=1e-4)
    np.testing.assert_allclose(stars.e_birth_time, sigma, atol=1e-4)


def test_flags_of_smaller_signs_mark_limits(tmp_path):
    table = star_table()
    marked = np.arange(N) % 3 == 0
    table["flag [O/Fe]"] = np.where(marked, "<", "")
    catalog = read(write(tmp_path, renamed(table, o_fe="[O/Fe]", e_o_fe="e_[O/Fe]")))
    np.testing.assert_array_equal(catalog.stars.observed[:, I["o_fe"]], ~marked)
    assert not catalog.report.flags_not_followed
    # numbers in a column of flags may mean anything
    table["flag [O/Fe]"] = marked.astype(int)
    path = write(tmp_path, renamed(table, o_fe="[O/Fe]", e_o_fe="e_[O/Fe]"), "b.csv")
    catalog = read(path)
    assert catalog.stars.observed[:, I["o_fe"]].all()
    assert "flag [O/Fe]" in catalog.report.flags_not_followed[0]


def test_birth_times_without_errors_give_way_to_ages_with_errors(tmp_path):
    table = star_table("age", "e_age")
    table["birth_time"] = T_END - table["age"]
    stars, report = read(write(tmp_path, table))
    np.testing.assert_allclose(stars.birth_time, T_END - table["age"], atol=1e-4)
    np.testing.assert_allclose(stars.e_birth_time, table["e_age"], atol=1e-4)
    assert not report.warnings


def test_ages_and_birth_times_that_contradict_are_told(tmp_path):
    table = star_table("age", "e_age")
    table["birth_time"], table["e_birth_time"] = table["age"], table["e_age"]
    path = write(tmp_path, table)
    assert any("contradict each other" in text for text in read(path).report.warnings)
    stars, report = read(path, columns="age=age")
    np.testing.assert_allclose(stars.birth_time, T_END - table["age"], atol=1e-4)
    assert not report.warnings


def test_repeated_negative_ages_are_gaps_and_zeros_are_told(tmp_path):
    table = star_table("age", "e_age")
    table["age"][:3] = -1.0
    stars, report = read(write(tmp_path, table))
    assert np.isnan(stars.birth_time[:3]).all()
    assert np.isfinite(stars.birth_time[3:]).all()
    assert any("3 negative values" in note for note in report.notes)
    table["age"][:3] = 0.0
    told = read(write(tmp_path, table, "b.csv")).report.warnings
    assert any("age is 0 in 3 of 40 rows" in text for text in told)
