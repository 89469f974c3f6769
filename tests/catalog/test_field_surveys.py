"""Names, rows and marks of further tables: catalogues of ages, spreadsheets, joins."""

import numpy as np
import pytest

from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import COLUMNS, N, lines, read, renamed, star_table, write

T_END = 13.797617  # Gyr, age of the Universe in the model


@pytest.mark.parametrize(
    ("column", "flag"),
    [
        ("age50", "--columns age=age50"),
        ("StellarAge", "--columns age=StellarAge"),
        ("ageMLPP", "--columns age=ageMLPP"),
        ("ageKF", "--columns age=ageKF"),
        ("medianAge", "--columns age=medianAge"),
        ("logAge50", '--columns "age=10**logAge50"'),
    ],
)
def test_ages_in_one_word_are_named(tmp_path, column, flag):
    path = write(tmp_path, renamed(star_table("age"), age=column))
    assert any(flag in text for text in read(path).report.warnings)


def test_percentiles_of_an_age_are_its_error(tmp_path):
    table = star_table("age", "e_age")
    age, sigma = np.array(table["age"]), np.array(table["e_age"])
    table["age16"], table["age84"] = age - sigma, age + sigma
    table["age05"], table["age95"] = age - 2 * sigma, age + 2 * sigma
    table.remove_column("e_age")
    path = write(tmp_path, renamed(table, age="age50"))
    stars = read(path, columns="age=age50").stars
    np.testing.assert_allclose(stars.birth_time, T_END - age, atol=1e-4)
    np.testing.assert_allclose(stars.e_birth_time, sigma, atol=1e-4)


@pytest.mark.parametrize(
    ("middle", "low", "high"),
    [("_p50", "_p16", "_p84"), ("_med", "_lo", "_hi"), ("_median", "_lower", "_upper")],
)
def test_a_median_has_the_percentiles_of_its_quantity(tmp_path, middle, low, high):
    table = star_table()
    for name in COLUMNS:
        sigma = table[f"e_{name}"]
        table[f"{name}{low}"] = table[name] - sigma
        table[f"{name}{high}"] = table[name] + sigma
        table.rename_column(name, f"{name}{middle}")
        table.remove_column(f"e_{name}")
    path = write(tmp_path, table)
    columns = ",".join(f"{name}={name}{middle}" for name in COLUMNS)
    catalog = read(path, columns=columns)
    assert_same(catalog.stars)
    assert "half the distance of fe_h" in " ".join(catalog.report.notes)


def test_columns_called_by_an_element_are_named(tmp_path):
    table = star_table()["star", "fe_h", "e_fe_h", "mg_fe", "e_mg_fe", "o_fe"]
    table["Mg_N"] = 3
    path = write(tmp_path, renamed(table, mg_fe="Mg", e_mg_fe="Mg_err", o_fe="O"))
    told = " ".join(read(path).report.warnings)
    assert "--columns mg_h=Mg,e_mg_h=Mg_err,o_h=O" in told
    assert "--columns mg_fe=Mg,e_mg_fe=Mg_err,o_fe=O" in told
    assert "Mg_N" not in told
    only = write(tmp_path, renamed(table["star", "fe_h"], fe_h="Fe"), "only.csv")
    assert "--columns fe_h=Fe" in refusal(only)


def test_letters_alone_are_no_elements(tmp_path):
    table = star_table()
    table["n"], table["c"], table["o"] = 3, 0.1, 0.2
    assert not read(write(tmp_path, table)).report.warnings


def test_epsilon_is_an_absolute_abundance(tmp_path):
    table = star_table()["star", "fe_h", "e_fe_h", "o_fe", "e_o_fe"]
    path = write(tmp_path, renamed(table, o_fe="ε(O)"))
    assert any("o_h=ε(O)-8.69" in text for text in read(path).report.warnings)


@pytest.mark.parametrize("word", ["Mean", "average", "Std. dev.", "Mittelwert"])
def test_a_row_that_summarises_the_others_is_refused(tmp_path, word):
    header, *rows = lines()
    last = ",".join([word, *rows[0].split(",")[1:]])
    path = write(tmp_path, "\n".join([header, *rows, last]))
    assert "is a summary of the other rows" in refusal(path)


@pytest.mark.parametrize("function", [np.mean, np.median])
def test_a_last_row_of_means_without_an_id_is_refused(tmp_path, function):
    table = star_table()
    table.remove_column("star")
    means = [f"{function(table[name]):.3f}" for name in table.colnames]
    path = write(tmp_path, "\n".join([*lines(table), ",".join(means)]))
    text = refusal(path)
    assert f"row {N + 1}" in text
    assert "remove the row" in text
    # one abundance that is not the mean: a star
    means[0] = f"{float(means[0]) + 0.01:.3f}"
    path = write(tmp_path, "\n".join([*lines(table), ",".join(means)]))
    assert len(read(path).stars.ids) == N + 1


@pytest.mark.parametrize("column", ["galaxy", "SubhaloID"])
def test_stars_of_several_galaxies_are_told(tmp_path, column):
    table = star_table()
    table[column] = np.repeat([11, 12, 13, 14], N // 4)
    (text,) = read(write(tmp_path, table)).report.warnings
    assert f"The column {column} has 4 values (11, 12, 13, 14)" in text
    table[column] = 11
    assert not read(write(tmp_path, table, "one.csv")).report.warnings


def test_a_transposed_table_is_refused_with_the_way_to_turn_it(tmp_path):
    table = star_table()
    rows = [[name, *map(str, table[name])] for name in table.colnames[1:]]
    header = ["Element", *table["star"]]
    path = write(tmp_path, "\n".join(",".join(row) for row in [header, *rows]))
    assert "df.set_index('Element').T" in refusal(path)


@pytest.mark.parametrize(
    ("column", "mark", "none"),
    [("upper_mg_fe", True, False), ("n_mg_fe", "limit", ""), ("hi_mg_fe", 1, 0)],
)
def test_marks_under_other_names_are_told(tmp_path, column, mark, none):
    table = star_table()
    table[column] = np.where(np.arange(N) % 4 == 0, mark, none)
    catalog = read(write(tmp_path, table))
    assert any(column in text for text in catalog.report.warnings)
    assert any(column in name for name in catalog.report.flags_not_followed)


def test_percentiles_beside_errors_are_no_marks(tmp_path):
    table = star_table()
    table["mg_fe_upper"] = np.round(table["mg_fe"] + 0.05, 3)
    assert not read(write(tmp_path, table)).report.flags_not_followed


def test_further_errors_are_named(tmp_path):
    table = star_table()
    table["e_fe_h_sys"] = 0.1
    path = write(tmp_path, table)
    catalog = read(path)
    assert_same(catalog.stars)
    (note,) = [text for text in catalog.report.notes if "e_fe_h_sys" in text]
    conversion = note.split('"')[1]
    errors = read(path, columns=conversion).stars.errors[:, I["fe_h"]]
    np.testing.assert_allclose(errors, np.hypot(table["e_fe_h"], 0.1), atol=1e-5)


def test_an_error_of_another_name_is_proposed(tmp_path):
    table = renamed(star_table(), e_fe_h="e_fe_h_total")
    table["e_fe_h_int"] = 0.01
    text = refusal(write(tmp_path, table))
    like = "e_fe_h_total, e_fe_h_int may hold it: --columns e_fe_h=e_fe_h_total)"
    assert like in text


def test_one_age_in_many_rows_is_told(tmp_path):
    table = star_table("age", "e_age")
    table["age"][::3] = 0.0
    told = read(write(tmp_path, table)).report.warnings
    assert any("age is 0 in 14 of 40 rows" in text for text in told)


def test_a_value_and_its_error_in_one_cell(tmp_path):
    rows = [f"S{i},{x}±0.05" for i, x in enumerate(star_table()["fe_h"])]
    path = write(tmp_path, "\n".join(["star,fe_h", *rows]))
    assert "split the value and its error" in refusal(path)


def test_numbers_of_chi_square_are_no_second_abundance(tmp_path):
    table = star_table()
    table["fe_h_chisq"] = 1.2
    assert_same(read(write(tmp_path, table)).stars)
