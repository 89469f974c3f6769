"""Star tables: real files in all four formats, read and written."""

import cProfile
import gzip
import pstats

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import Column, Table

from chemsbi_jax.catalog import read_stars, write_stars
from chemsbi_jax.constants import ABUNDANCES, T_END
from chemsbi_jax.errors import CatalogError, CatalogWarning, OutputError
from chemsbi_jax.npe.reading import require_complete
from chemsbi_jax.types import Stars
from helpers.star_tables import FORMATS, complaint, save, star_table


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
    with pytest.warns(CatalogWarning, match="1 value outside of 0 to 13.8 Gyr"):
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


def test_many_stars_take_few_calls(tmp_path):
    n = 200_000
    table = star_table(n)
    path = save(table, tmp_path, "stars.fits")
    with cProfile.Profile() as profile:
        stars = read_stars(path)
    # 8 a row are measured, for its id; a loop over all cells makes hundreds
    assert pstats.Stats(profile).total_calls < 20 * n
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
    complaint(path, "CatalogOptions(default_error=DEX)")
    stars = read_stars(path, default_error=0.07)
    assert stars.values.shape == (n, 8)
    seen = stars.observed.any(axis=0)
    assert {key for key, any_ in zip(ABUNDANCES, seen, strict=True) if any_} == elements
    assert np.nanmax(np.abs(stars.values)) < 5
    np.testing.assert_array_equal(np.isfinite(stars.errors), stars.observed)
    with pytest.raises(CatalogError, match="abundance is missing"):
        require_complete(stars)
