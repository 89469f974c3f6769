"""Star tables: real files in all four formats, and what each bad one is told."""

import gzip
import time

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

from chemsbi_jax.catalog import read_stars, write_stars
from chemsbi_jax.constants import ABUNDANCES, T_END
from chemsbi_jax.errors import CatalogError, CatalogWarning, OutputError
from chemsbi_jax.npe.reading import require_complete
from chemsbi_jax.types import Stars

FORMATS = {
    "stars.fits": {"format": "fits"},
    "stars.ecsv": {"format": "ascii.ecsv"},
    "stars.csv": {"format": "ascii.csv"},
    "stars.vot": {"format": "votable"},
}


def star_table(n=5, seed=0):
    """A complete table of `n` stars with 0.05 dex errors and birth times."""
    random = np.random.default_rng(seed)
    table = Table({"star_id": [f"HIP {i + 10}" for i in range(n)]})
    for name in ABUNDANCES:
        table[name] = random.normal(0, 0.2, n).round(3)
        table[f"e_{name}"] = np.full(n, 0.05)
    table["birth_time"] = random.uniform(2, 12, n).round(2)
    table["e_birth_time"] = np.full(n, 0.5)
    return table


def save(table, folder, name="stars.csv"):
    path = folder / name
    table.write(path, **FORMATS[name])
    return path


def complaint(path, *parts, **options):
    """The message of the error, which must hold all `parts` and name the file."""
    with pytest.raises(CatalogError) as info:
        read_stars(path, **options)
    message = str(info.value)
    for part in (path.name, *parts):
        assert part in message
    return message


@pytest.mark.parametrize("name", FORMATS)
def test_each_format(tmp_path, name):
    table = star_table()
    stars = read_stars(save(table, tmp_path, name))
    for i, abundance in enumerate(ABUNDANCES):
        np.testing.assert_array_equal(stars.values[:, i], table[abundance])
    np.testing.assert_array_equal(stars.errors, np.full((5, 8), 0.05))
    assert stars.observed.all()
    assert stars.observed.dtype == bool
    np.testing.assert_array_equal(stars.birth_time, table["birth_time"])
    np.testing.assert_array_equal(stars.e_birth_time, np.full(5, 0.5))
    assert list(stars.ids) == list(table["star_id"])


@pytest.mark.parametrize("name", FORMATS)
def test_content_tells_the_format_where_the_suffix_does_not(tmp_path, name):
    path = save(star_table(), tmp_path, name)
    expected = read_stars(path)
    renamed = path.rename(tmp_path / "stars.dat")
    np.testing.assert_array_equal(read_stars(renamed).values, expected.values)


def test_zipped_table(tmp_path):
    path = save(star_table(), tmp_path)
    zipped = tmp_path / "stars.csv.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_stars(zipped).values, read_stars(path).values)


@pytest.mark.parametrize("name", FORMATS)
def test_masked_cells_and_nan_are_missing(tmp_path, name):
    table = Table(star_table(), masked=True)
    table["he_fe"].mask[1] = True
    table["he_fe"][2] = np.nan
    table["birth_time"].mask[3] = True
    stars = read_stars(save(table, tmp_path, name))
    np.testing.assert_array_equal(
        stars.observed[:, 2], [True, False, False, True, True]
    )
    assert stars.observed[:, [0, 1, 3, 4, 5, 6, 7]].all()
    assert np.isnan(stars.values[1:3, 2]).all()
    assert np.isnan(stars.errors[1:3, 2]).all()
    np.testing.assert_array_equal(np.isnan(stars.birth_time), np.arange(5) == 3)
    np.testing.assert_array_equal(np.isnan(stars.e_birth_time), np.arange(5) == 3)


@pytest.mark.parametrize("mark", [-9999, -999, 99, 999, 1e20, np.inf, -99.99])
def test_sentinels_are_missing(tmp_path, mark):
    table = star_table()
    table["n_fe"][0] = mark
    table["e_n_fe"][0] = mark
    table["birth_time"][1] = mark
    stars = read_stars(save(table, tmp_path))
    assert not stars.observed[0, 4]
    assert stars.observed.sum() == 39
    assert np.isnan([stars.values[0, 4], stars.errors[0, 4], stars.birth_time[1]]).all()


def test_words_for_missing(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("id,fe_h,e_fe_h\na,NULL,0.1\nb,,0.1\nc, -- ,\nd,-0.5,0.1\ne,n/a,\n")
    stars = read_stars(path)
    np.testing.assert_array_equal(stars.observed[:, 1], [False] * 3 + [True, False])
    assert stars.values[3, 1] == -0.5


def test_any_case_and_any_order(tmp_path):
    table = star_table()
    expected = read_stars(save(table, tmp_path))
    table.rename_columns(table.colnames, [name.upper() for name in table.colnames])
    mixed = save(table[table.colnames[::-1]], tmp_path, "stars.fits")
    for one, other in zip(read_stars(mixed), expected, strict=True):
        np.testing.assert_array_equal(one, other)


def test_table_of_few_abundances(tmp_path):
    stars = read_stars(save(star_table()["fe_h", "e_fe_h"], tmp_path))
    np.testing.assert_array_equal(stars.observed.any(axis=0), np.arange(8) == 1)
    assert list(stars.ids) == ["1", "2", "3", "4", "5"]
    assert np.isnan(stars.birth_time).all()


def test_one_star(tmp_path):
    assert read_stars(save(star_table(1), tmp_path)).values.shape == (1, 8)


def test_byte_order_mark_and_comments(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("\ufefffe_h,E_Fe_H\n# a remark\n-0.1,0.05\n", encoding="utf-8")
    assert read_stars(path).values[0, 1] == -0.1


def test_integer_ids_and_blank_ids(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("source_id,fe_h,e_fe_h\n4472832130942575872,0,0.1\n,0,0.1\n")
    assert list(read_stars(path).ids) == ["4472832130942575872", "row 2"]


@pytest.mark.parametrize(("unit", "factor"), [("Gyr", 1), ("Myr", 1e3), ("yr", 1e9)])
@pytest.mark.parametrize("name", ["stars.fits", "stars.ecsv", "stars.vot"])
def test_ages_become_birth_times(tmp_path, name, unit, factor):
    table = star_table()
    age = np.array([1.0, 4.5, 13.0, np.nan, 8.0])
    table.remove_columns(["birth_time", "e_birth_time"])
    table["age"] = Column(age * factor, unit=unit)
    table["E_AGE"] = Column(np.full(5, 0.4) * factor, unit=unit)
    stars = read_stars(save(table, tmp_path, name))
    np.testing.assert_allclose(stars.birth_time, T_END - age, rtol=1e-12)
    np.testing.assert_allclose(stars.e_birth_time, np.where(age > 0, 0.4, np.nan))


def test_time_without_error_keeps_its_value(tmp_path):
    table = star_table()
    table.remove_column("e_birth_time")
    with pytest.warns(CatalogWarning, match="5 values of birth_time have no error"):
        stars = read_stars(save(table, tmp_path))
    np.testing.assert_array_equal(stars.birth_time, table["birth_time"])
    assert np.isnan(stars.e_birth_time).all()


def test_noisy_time_may_leave_the_history_of_the_universe(tmp_path):
    table = star_table()
    table["birth_time"][2] = T_END + 2.0  # 4 sigma
    assert read_stars(save(table, tmp_path)).birth_time[2] == T_END + 2.0
    table["birth_time"][2] = T_END + 3.0  # 6 sigma
    path = save(table, tmp_path, "stars.ecsv")
    complaint(path, "row 3 (id 'HIP 12')", "'birth_time'", "leave the cell empty")


@pytest.mark.parametrize("unit", ["dex", "", "[-]"])
@pytest.mark.parametrize("name", ["stars.fits", "stars.ecsv", "stars.vot"])
def test_units_of_abundances(tmp_path, name, unit):
    table = star_table()
    path = save(table, tmp_path, name)
    if name == "stars.fits":  # astropy writes no dex here, but surveys do
        fits.setval(path, "TUNIT4", value=unit, ext=1)
        assert fits.getval(path, "TTYPE4", ext=1) == "fe_h"
    elif name == "stars.vot":
        text = path.read_text()
        assert text.count('name="fe_h"') == 1
        path.write_text(text.replace('name="fe_h"', f'name="fe_h" unit="{unit}"'))
    else:
        table["fe_h"].unit = u.Unit(unit, parse_strict="silent")
        table.write(path, **FORMATS[name], overwrite=True)
    np.testing.assert_array_equal(read_stars(path).values[:, 1], table["fe_h"])


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
    with pytest.raises(CatalogError, match="default error between 0 and 20 dex"):
        read_stars(save(star_table(), tmp_path), default_error=wrong)


def test_no_error_columns(tmp_path):
    table = star_table()["star_id", "fe_h", "mg_fe"]
    path = save(table, tmp_path)
    parts = ("row 1 (id 'HIP 10')", "'e_fe_h'", "no column e_fe_h", "4 more rows")
    complaint(path, *parts, "--default-error 0.05")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("wrong", [-0.05, 0.0, np.nan, 999.0])
def test_value_without_a_good_error(tmp_path, name, wrong):
    table = star_table()
    table["e_si_fe"][2] = wrong
    path = save(table, tmp_path, name)
    message = complaint(path, "row 3 (id 'HIP 12')", "'e_si_fe'")
    remedy = "must be positive" if wrong <= 0 else "--default-error 0.05"
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


@pytest.mark.parametrize("name", NOT_TABLES)
def test_not_a_table(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(NOT_TABLES[name])
    complaint(path, "FITS (.fits), ECSV (.ecsv), CSV (.csv) or VOTable (.vot, .xml)")


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
def test_table_cut_short(tmp_path, name, kept):
    path = save(star_table(300), tmp_path, name)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    complaint(path, "cut short")


def test_complete_stars_pass(tmp_path):
    stars = read_stars(save(star_table(), tmp_path))
    require_complete(stars)
    require_complete(stars._replace(errors=stars.errors.astype(np.float32)))


def test_incomplete_stars_are_refused(tmp_path):
    table = star_table()
    table["he_fe"][3] = np.nan
    table["ne_fe"] = np.nan
    stars = read_stars(save(table, tmp_path))
    with pytest.raises(CatalogError) as info:
        require_complete(stars)
    parts = ("row 1 (id 'HIP 10')", "'ne_fe'", "missing", "4 more", "he_fe, ne_fe")
    for part in (*parts, "all eight abundances with 0.05 dex errors only"):
        assert part in str(info.value)


def test_other_errors_are_refused(tmp_path):
    table = star_table()
    table["e_o_fe"][1] = 0.08
    stars = read_stars(save(table, tmp_path))
    with pytest.raises(CatalogError) as info:
        require_complete(stars)
    message = str(info.value)
    for part in ("row 2 (id 'HIP 11')", "'o_fe'", "error is 0.08 dex", "0.05 dex"):
        assert part in message
    require_complete(stars._replace(errors=np.full((5, 8), 0.1)), sigma=0.1)


def test_write_and_read_back(tmp_path):
    random = np.random.default_rng(4)
    values = random.normal(0, 0.3, (50, 8))
    observed = random.uniform(size=(50, 8)) > 0.3
    errors = np.where(observed, random.uniform(0.01, 0.3, (50, 8)), np.nan)
    birth_time = np.where(random.uniform(size=50) > 0.5, 7.1, np.nan)
    stars = Stars(
        np.where(observed, values, np.nan),
        errors,
        observed,
        birth_time,
        birth_time / 10,
        np.array([f"star {i}" for i in range(50)]),
    )
    path = tmp_path / "new" / "stars.ecsv"
    write_stars(path, stars)
    for one, other in zip(read_stars(path), stars, strict=True):
        np.testing.assert_array_equal(one, other)
    table = Table.read(path, format="ascii.ecsv")
    assert str(table["fe_h"].unit) == "dex"
    assert str(table["birth_time"].unit) == "Gyr"
    assert "[Ne/Fe]" in table["ne_fe"].description
    assert [file.name for file in path.parent.iterdir()] == ["stars.ecsv"]


def test_write_where_no_folder_can_be(tmp_path):
    stars = read_stars(save(star_table(), tmp_path))
    with pytest.raises(OutputError, match=r"stars\.csv: this path is a file"):
        write_stars(tmp_path / "stars.csv" / "new.ecsv", stars)


def test_many_stars_are_quick(tmp_path):
    n = 200_000
    table = star_table(n)
    path = save(table, tmp_path, "stars.fits")
    start = time.perf_counter()
    stars = read_stars(path)
    assert time.perf_counter() - start < 10  # a loop over rows takes minutes
    assert stars.observed.all()
    assert len(stars.ids) == n


@pytest.mark.tables
@pytest.mark.parametrize(
    ("name", "n", "has_time"),
    [
        ("illustris_tng", 1000, True),
        ("chempy_tng_200", 200, False),
        ("chempy_tng_2019", 1054, True),
        ("chempy_alternative_2019", 1052, True),
    ],
)
def test_published_tables(data, name, n, has_time):
    stars = read_stars(data / "stars" / f"{name}.ecsv")
    require_complete(stars)
    assert stars.values.shape == (n, 8)
    assert np.isfinite(stars.birth_time).all() == has_time
    assert abs(np.median(stars.values)) < 0.5


@pytest.mark.tables
def test_published_noise_free_table(data):
    complaint(data / "stars" / "chempy_alternative.ecsv", "noise-free", "true_*")


@pytest.mark.tables
@pytest.mark.parametrize(
    ("name", "n", "elements"),
    [
        ("bensby2014", 714, {"fe_h", "mg_fe", "o_fe", "si_fe"}),
        ("reddy2003", 181, {"c_fe", "fe_h", "mg_fe", "n_fe", "o_fe", "si_fe"}),
    ],
)
def test_real_stars(data, name, n, elements):
    path = data / "stars" / "real" / f"{name}.csv"
    complaint(path, "--default-error 0.05")
    stars = read_stars(path, default_error=0.07)
    assert stars.values.shape == (n, 8)
    seen = stars.observed.any(axis=0)
    assert {key for key, any_ in zip(ABUNDANCES, seen, strict=True) if any_} == elements
    assert np.nanmax(np.abs(stars.values)) < 5
    np.testing.assert_array_equal(np.isfinite(stars.errors), stars.observed)
    with pytest.raises(CatalogError, match="abundance is missing"):
        require_complete(stars)
