"""What a table lacks, repeats or has in excess is said, with the row and the remedy."""

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.errors import CatalogError

N = 40
HEADER = ("fe_h", "e_fe_h", "mg_fe", "e_mg_fe", "o_fe", "e_o_fe")


def rows_of(n=N, seed=1):
    """Rows of numbers with four decimals, in the order of `HEADER`."""
    values = np.random.default_rng(seed).normal(0.0, 0.15, (n, 3)).round(4)
    errors = np.full((n, 3), 0.05)
    return np.stack([values, errors], axis=2).reshape(n, 6).astype(str)


def read(folder, rows, header=HEADER):
    path = folder / "stars.csv"
    lines = [header, *rows]
    path.write_text("\n".join(",".join(map(str, line)) for line in lines) + "\n")
    return cs.read_catalog(path)


@pytest.mark.parametrize(
    ("age", "is_doubted"), [(14.5, False), (18.0, True), (-3.0, True)]
)
def test_ages_beyond_the_universe_are_named(tmp_path, age, is_doubted):
    ages = np.full(N, 5.0)
    ages[6] = age
    rows = [[*row, a, 1.0] for row, a in zip(rows_of(), ages, strict=True)]
    report = read(tmp_path, rows, (*HEADER, "age", "e_age")).report
    texts = report.warnings if is_doubted else report.notes
    (text,) = [t for t in texts if "outside of 0 to 13.8 Gyr" in t]
    assert f"row 7, id '7', {age:.2f} ± 1.00 Gyr" in text
    assert f"({N} rows with an error)" in report.text()


def test_the_row_of_an_age_without_an_error_is_named(tmp_path):
    rows = [[*row, 5.0, 1.0] for row in rows_of()]
    rows[3][-1] = ""
    text = read(tmp_path, rows, (*HEADER, "age", "e_age")).report.text()
    assert "1 value of age has no error, and is not used" in text
    assert "fill e_age there (row 4 (id '4') is the first)" in text


def test_limits_of_ages_are_counted(tmp_path):
    rows = [[*row, 5.0, 1.0] for row in rows_of()]
    rows[3][-2] = ">10"
    report = read(tmp_path, rows, (*HEADER, "age", "e_age")).report
    assert "age: 1 limit taken as not known." in report.notes


def test_copies_are_dropped_for_three_abundances(tmp_path):
    rows = rows_of(20)
    report = read(tmp_path, [*rows, *rows]).report
    reason = "all abundances and errors are those of an earlier row"
    assert report.reasons == {reason: 20}


def test_copies_of_two_numbers_are_told(tmp_path):
    rows = rows_of(20)[:, :4]
    report = read(tmp_path, [*rows, *rows], HEADER[:4]).report
    assert report.n_used == 40
    says = "20 rows have the abundances and errors of an earlier row"
    (text,) = [t for t in report.warnings if says in t]
    assert "remove them, or add a column of ids" in text


def test_equal_rows_of_rounded_numbers_are_chance(tmp_path):
    values = np.random.default_rng(3).normal(0.0, 0.1, (300, 3)).round(1)
    rows = np.stack([values, np.full((300, 3), 0.1)], axis=2).reshape(300, 6)
    report = read(tmp_path, rows).report
    assert len(np.unique(values, axis=0)) < 250
    assert report.n_used == 300
    assert not any("same abundances" in t for t in report.warnings)


def test_a_column_without_any_value_is_named(tmp_path):
    rows = rows_of()
    rows[:, 2] = ""
    report = read(tmp_path, rows).report
    assert "Columns without any value: mg_fe." in report.notes
    rows = rows_of()
    rows[:, 0] = ""
    report = read(tmp_path, rows).report
    assert any(t.startswith("No star has [Fe/H]") for t in report.warnings)


def test_columns_that_may_have_the_errors_are_listed(tmp_path):
    header = ("fe_h", "feherr", "mg_fe", "mgfeerr", "o_fe", "ofeerr")
    with pytest.raises(CatalogError, match="not read: feherr, mgfeerr, ofeerr") as e:
        read(tmp_path, rows_of(), header)
    assert "--columns e_fe_h=..." in str(e.value)


def test_blank_ids_are_counted(tmp_path):
    names = [f"star-{i}" if i % 4 else "" for i in range(N)]
    rows = [[name, *row] for name, row in zip(names, rows_of(), strict=True)]
    report = read(tmp_path, rows, ("star_id", *HEADER)).report
    assert "10 rows without an id in star_id: each counts as a star." in report.notes


def test_read_stars_names_the_reader_of_other_names(tmp_path):
    header = ("[Fe/H]", "e_[Fe/H]", "[Mg/Fe]", "e_[Mg/Fe]", "[O/Fe]", "e_[O/Fe]")
    read(tmp_path, rows_of(), header)
    with pytest.raises(CatalogError, match="read_catalog reads other names"):
        cs.read_stars(tmp_path / "stars.csv")
