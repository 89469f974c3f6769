"""Star tables that are refused: what each bad one is told."""

import gzip

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from chemsbi_jax.catalog import read_stars
from chemsbi_jax.errors import CatalogError
from helpers.star_tables import FORMATS, complaint, save, star_table


def test_wrong_units(tmp_path):
    table = star_table()
    table["fe_h"].unit = "mag"
    complaint(save(table, tmp_path, "stars.fits"), "'fe_h'", "'mag'", "use one of dex")
    table["fe_h"].unit = None
    table["birth_time"].unit = "km"
    path = save(table, tmp_path, "stars.ecsv")
    complaint(path, "'birth_time'", "'km'", "gyr, myr, yr")


def test_ages_in_another_unit_are_not_taken_for_missing(tmp_path):
    table = star_table(8)
    table["birth_time"] = table["birth_time"] * 1000
    path = save(table, tmp_path)
    complaint(path, "row 1 (id 'HIP 10')", "'birth_time'", "give its unit")


def test_default_error_fills_only_what_has_none(tmp_path):
    table = Table(star_table(), masked=True)
    table.remove_column("e_c_fe")
    table["e_fe_h"].mask[1] = True
    table["he_fe"][0] = -9999
    stars = read_stars(save(table, tmp_path), default_error=0.07)
    assert (stars.errors[:, 0] == 0.07).all()
    np.testing.assert_array_equal(stars.errors[:, 1], [0.05, 0.07, 0.05, 0.05, 0.05])
    assert np.isnan(stars.errors[0, 2])
    assert (stars.errors[:, 3:] == 0.05).all()


@pytest.mark.parametrize("wrong", [0.0, -0.05, np.nan, 99.0])
def test_default_error_must_be_one(tmp_path, wrong):
    with pytest.raises(CatalogError, match="error above 0 and of at most 1 dex"):
        read_stars(save(star_table(), tmp_path), default_error=wrong)


def test_no_error_columns(tmp_path):
    table = star_table()["star_id", "fe_h", "mg_fe"]
    path = save(table, tmp_path)
    parts = ("row 1 (id 'HIP 10')", "'e_fe_h'", "no column e_fe_h", "4 more rows")
    complaint(path, *parts, "--default-error DEX")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("wrong", [-0.05, 0.0, np.nan, 999.0])
def test_value_without_a_good_error(tmp_path, name, wrong):
    table = star_table()
    table["e_si_fe"][2] = wrong
    path = save(table, tmp_path, name)
    message = complaint(path, "row 3 (id 'HIP 12')", "'e_si_fe'")
    remedy = "must be positive" if wrong <= 0 else "--default-error DEX"
    assert remedy in message
    assert "more rows" not in message


def test_bad_error_beside_a_missing_value_is_no_matter(tmp_path):
    table = star_table()
    table["si_fe"][2] = np.nan
    table["e_si_fe"][2] = -1.0
    assert np.isnan(read_stars(save(table, tmp_path)).errors[2, 7])


def test_negative_error_of_a_time(tmp_path):
    table = star_table()
    table["e_birth_time"][1] = -0.5
    path = save(table, tmp_path)
    complaint(path, "row 2 (id 'HIP 11')", "'e_birth_time'", "-0.5", "positive")


@pytest.mark.parametrize("name", FORMATS)
def test_text_among_the_numbers(tmp_path, name):
    table = star_table()
    table["mg_fe"] = ["0.1", "0.2", "0.3", "<0.4", "0.5"]
    path = save(table, tmp_path, name)
    complaint(path, "row 4 (id 'HIP 13')", "'mg_fe'", "'<0.4'", "give a number")


@pytest.mark.parametrize("name", FORMATS)
def test_numbers_stored_as_text(tmp_path, name):
    table = star_table()
    table["mg_fe"] = MaskedColumn(["0.1", " 0.2", "x", "", "nan"], mask=[0, 0, 1, 0, 0])
    stars = read_stars(save(table, tmp_path, name))
    np.testing.assert_array_equal(stars.values[:, 3], [0.1, 0.2] + [np.nan] * 3)


def test_columns_that_hold_no_numbers(tmp_path):
    table = star_table()
    table["o_fe"] = np.zeros((5, 2))
    complaint(save(table, tmp_path, "stars.fits"), "'o_fe'", "one number a row", "(2,)")
    table["o_fe"] = np.zeros(5, bool)
    complaint(save(table, tmp_path, "stars.ecsv"), "'o_fe'", "numbers; got bool")


@pytest.mark.parametrize("name", FORMATS)
def test_duplicated_ids(tmp_path, name):
    table = star_table()
    table["star_id"][3] = "HIP 11"
    path = save(table, tmp_path, name)
    complaint(
        path, "row 4 (id 'HIP 11')", "'star_id'", "in row 2 already", "remove one"
    )


def test_columns_that_differ_in_case(tmp_path):
    table = star_table()
    table["FE_H"] = table["fe_h"]
    path = save(table, tmp_path, "stars.ecsv")
    complaint(path, "'fe_h'", "'FE_H'", "rename or remove one")


@pytest.mark.parametrize("name", FORMATS)
def test_empty_table(tmp_path, name):
    complaint(save(star_table()[:0], tmp_path, name), "no row", "at least one star")


def test_no_abundance_column(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("star_id,FEH,MGFE\n1,0.1,0.2\n")
    complaint(path, "expected some of c_fe, fe_h", "got star_id, FEH, MGFE")


def test_only_noise_free_columns(tmp_path):
    table = star_table()["star_id", "fe_h"]
    table.rename_column("fe_h", "TRUE_fe_h")
    path = save(table, tmp_path)
    complaint(path, "noise-free", "true_*", "add noise once")


def test_nothing_observed(tmp_path):
    table = star_table()["fe_h", "e_fe_h"]
    table["fe_h"] = -9999.0
    complaint(save(table, tmp_path), "every abundance", "fe_h", "at least one value")


def test_no_file_and_folder(tmp_path):
    complaint(tmp_path / "none.fits", "no such file", "check the path")
    complaint(tmp_path, "folder", "FITS (.fits), ECSV")


NOT_TABLES = {
    "empty.csv": b"",
    "blank.csv": b"\n \n",
    "image.png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "text.txt": b"These are not the stars you look for.\n",
    "fake.fits": b"star_id,fe_h\n1,0.2\n",
    "fake.ecsv": b"star_id fe_h\n1 0.2\n",
    "binary.csv": b"fe_h,\x00\x01\x02\xff\n",
    "latin.csv": "id,fe_h,e_fe_h\nÅngström,0.1,0.1\n".encode("latin-1"),
    "broken.vot": b"<?xml version='1.0'?><VOTABLE><RESOURCE><TABLE>",
    "short.csv": b"id,fe_h,e_fe_h\n1,0.1,0.05\n2,0.",
    "long.csv": b"id,fe_h,e_fe_h\n1,0.1,0.05,7\n",
    "broken.csv.gz": gzip.compress(b"fe_h,e_fe_h\n0.1,0.1\n" * 99)[:-20],
    "headless.ecsv": b"# %ECSV 1.0\n# ---\n",
}


REMEDIES = {
    "latin.csv": "save the file as CSV with UTF-8.",
    "short.csv": "the file is cut short, or its last line is a note: remove it.",
    "long.csv": "row 1 of 1 has 4 cells, the header has 3; if the numbers have decimal",
}


@pytest.mark.parametrize("name", NOT_TABLES)
def test_not_a_table(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(NOT_TABLES[name])
    formats = "FITS (.fits), ECSV (.ecsv), CSV (.csv), VOTable (.vot, .xml) or Parquet"
    complaint(path, REMEDIES.get(name, formats))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_table_cut_short(tmp_path, name, kept):
    path = save(star_table(300), tmp_path, name)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    complaint(path, "cut short")
