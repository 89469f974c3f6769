"""Tables of surveys and other authors: presets, drops, conversions and the report."""

import gzip
import importlib.util
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table

import chemsbi_jax as cs
from chemsbi_jax.catalog import CatalogOptions, read_catalog, read_stars
from chemsbi_jax.catalog.column_names import our_name
from chemsbi_jax.catalog.report import write_dropped
from chemsbi_jax.catalog.solar import SCALES, solar_shift
from chemsbi_jax.cli.flags import StarFlags
from chemsbi_jax.cli.infer import read as read_rows
from chemsbi_jax.constants import ABUNDANCES, ELEMENTS, SOLAR, T_END
from chemsbi_jax.errors import CatalogError
from chemsbi_jax.inference.rows import add_rows

ROOT = Path(__file__).parents[1]
HAS_PYARROW = importlib.util.find_spec("pyarrow") is not None
I = {name: i for i, name in enumerate(ABUNDANCES)}  # noqa: E741


def save(table, folder, name="stars.fits"):
    path = folder / name
    table.write(path)
    return path


def read(path, **options):
    return read_catalog(path, CatalogOptions(**options))


def refusal(path, **options):
    with pytest.raises(CatalogError) as info:
        read(path, **options)
    return str(info.value)


# Made-up stars of each survey. Row 1 is good; row 2 has a bad star flag; row 3 has a
# bad flag for magnesium; row 4 is row 1's star again; row 5 has nothing measured.
def galah(release):
    snr = "snr_c3_iraf" if release == 3 else "snr_px_ccd3"
    table = Table({"sobject_id": np.array([7, 8, 9, 7, 6], dtype=np.int64)})
    table["flag_sp"] = [0, 32, 0, 0, 0]
    table[snr] = [80.0, 90.0, 45.0, 70.0, 60.0]
    table["logg"] = [4.4, 4.3, 2.1, 4.4, 4.0]
    table["fe_h"] = [-0.31, -0.2, -0.1, -0.33, np.nan]
    table["e_fe_h"] = 0.06
    table["flag_fe_h"] = [0, 0, 0, 0, 0]
    for x in ("C", "O", "Mg", "Si"):
        name = f"{x}_fe" if release == 3 else f"{x.lower()}_fe"
        table[name] = np.array([0.11, 0.12, 0.13, 0.14, np.nan], dtype=np.float32)
        table[f"e_{name}"] = np.array([0.04] * 5, dtype=np.float32)
        table[f"flag_{name}"] = [0, 0, int(x == "Mg"), 0, 32]
    table["age_bstep"] = [3.0, 4.0, 15.0, 6.0, 7.0]
    table["e_age_bstep"] = [0.5, 0.5, 0.1, 0.5, 0.5]
    return table


def apogee():
    table = Table({"APOGEE_ID": ["2M01", "2M02", "2M03", "2M01", "2M05"]})
    table["ASPCAPFLAG"] = np.array([1 << 7, 1 << 23, 0, 0, 0], dtype=np.int64)
    table["EXTRATARG"] = [0, 0, 0, 1 << 4, 0]
    table["LOGG"] = [4.4, 4.3, 2.1, 4.4, 4.0]
    table["FE_H"] = [-0.31, -0.2, -0.1, -0.33, -9999.99]
    table["FE_H_ERR"] = [0.06, 0.06, 0.06, 0.06, -9999.99]
    table["FE_H_FLAG"] = [0, 0, 1 << 8, 0, 0]  # a warning
    for x in ("C", "N", "O", "MG", "SI"):
        table[f"{x}_FE"] = [0.11, 0.12, 0.13, 0.14, -9999.99]
        table[f"{x}_FE_ERR"] = [0.04, 0.04, 0.04, 25.9, 0.04]
        table[f"{x}_FE_FLAG"] = [1 << 5, 0, (1 << 6) * (x == "MG"), 0, 0]
    return table


def sdss5():
    table = Table({"sdss_id": np.array([7, 8, 9, 7, 6], dtype=np.int64)})
    table["flag_bad"] = [False, True, False, False, False]
    table["logg"] = [4.4, 4.3, 2.1, 4.4, 4.0]
    table["fe_h"] = [-0.31, -0.2, -0.1, -0.33, np.nan]
    table["e_fe_h"] = 0.03
    table["fe_h_flags"] = [0, 0, 1 << 10, 0, 0]
    for x in ("c", "n", "o", "mg", "si"):
        table[f"{x}_h"] = [-0.2, -0.1, 0.0, -0.1, np.nan]
        table[f"e_{x}_h"] = 0.04
        table[f"{x}_h_flags"] = [0, 0, (1 << 8) * (x == "mg"), 0, 0]
    return table


SURVEYS = {
    "GALAH DR3": (lambda: galah(3), "galah", "flag_sp is not 0"),
    "GALAH DR4": (lambda: galah(4), "galah", "flag_sp is not 0"),
    "APOGEE DR16/DR17": (apogee, "apogee", "ASPCAPFLAG has STAR_BAD (bit 23)"),
    "SDSS-V": (sdss5, "sdss5", "flag_bad is set"),
}
surveys = pytest.mark.parametrize(
    ("title", "make", "survey", "reason"),
    [(title, *rest) for title, rest in SURVEYS.items()],
    ids=SURVEYS,
)


@surveys
@pytest.mark.parametrize("name", ["stars.fits", "stars.csv", "stars.ecsv"])
def test_survey_is_recognised_and_its_flags_are_followed(
    tmp_path, title, make, survey, reason, name
):
    path = save(make(), tmp_path, name)
    stars, report = read(path)
    assert (report.n_read, report.n_used) == (5, 2)
    assert f"Read by the rules of {title}" in report.text()
    assert report.reasons[reason] == 1
    assert report.reasons["no abundance is observed"] == 1
    assert sum(report.reasons.values()) == 3
    np.testing.assert_array_equal(report.dropped.rows, [2, 4, 5])
    np.testing.assert_array_equal(stars.observed[:, I["mg_fe"]], [True, False])
    assert stars.observed[:, I["o_fe"]].all()
    np.testing.assert_allclose(stars.values[:, I["fe_h"]], [-0.31, -0.1], rtol=1e-6)
    explicit = read(path, survey=survey)
    np.testing.assert_array_equal(explicit.stars.values, stars.values)


@surveys
def test_no_quality_keeps_all_that_was_measured(tmp_path, title, make, survey, reason):
    stars, report = read(save(make(), tmp_path), quality=False)
    assert reason not in report.reasons
    np.testing.assert_array_equal(report.dropped.rows, [4, 5])
    assert stars.observed[:, I["mg_fe"]].all()


@surveys
def test_giants_with_carbon_get_a_warning(tmp_path, title, make, survey, reason):
    path = save(make(), tmp_path)
    (warning,) = read(path).report.warnings
    assert warning.startswith("1 stars with log g below 3.5")
    stars, report = read(path, without="c_fe,n_fe")
    assert report.warnings == ()
    assert not stars.observed[:, [I["c_fe"], I["n_fe"]]].any()
    assert "Left out as asked: c_fe, n_fe." in report.notes


def test_galah_errors_and_ages(tmp_path):
    stars, report = read(save(galah(3), tmp_path))
    np.testing.assert_allclose(stars.errors[0, I["fe_h"]], 0.06)
    np.testing.assert_allclose(stars.errors[0, I["si_fe"]], 0.04, rtol=1e-6)
    np.testing.assert_allclose(stars.birth_time, [T_END - 3.0, np.nan])
    np.testing.assert_allclose(stars.e_birth_time, [0.5, np.nan])
    assert "age_bstep: 1 values are beyond 0 to 13.8 Gyr" in report.text()
    assert list(stars.ids) == ["7", "9"]


def test_age_of_galah_dr3_is_a_by_product_and_of_dr4_is_not(tmp_path):
    for release, known in ((3, False), (4, True)):
        table = galah(release)
        table.rename_column("age_bstep", "age")
        table.remove_column("e_age_bstep")
        stars = read(save(table, tmp_path, f"dr{release}.fits")).stars
        assert np.isfinite(stars.birth_time[0]) == known


def test_flag_fe_h_counts_in_dr3_and_is_faulty_in_dr4(tmp_path):
    for release, n_used in ((3, 1), (4, 2)):
        table = galah(release)
        table["flag_fe_h"][0] = table["flag_fe_h"][3] = 1
        path = save(table, tmp_path, f"dr{release}.fits")
        report = read(path).report
        assert report.n_used == n_used
        assert report.reasons.get("flag_fe_h is not 0", 0) == 2 * (release == 3)


def test_galah_stars_of_low_signal_are_dropped(tmp_path):
    table = galah(4)
    table["snr_px_ccd3"][2] = 30.0
    report = read(save(table, tmp_path)).report
    assert report.reasons["snr_px_ccd3 is not above 30"] == 1


def test_absent_flag_columns_are_told(tmp_path):
    table = galah(3)
    table.remove_columns(["snr_c3_iraf", "flag_Si_fe"])
    text = read(save(table, tmp_path)).report.text()
    assert "The table has no column snr_c3_iraf; that cut was not made." in text
    assert "Values without a quality flag" in text
    assert "si_fe (4)" in text
    assert "its columns do not tell the release" in text


def test_a_missing_flag_is_a_bad_one(tmp_path):
    table = Table(galah(3), masked=True)
    table["flag_sp"].mask[0] = True
    table["flag_O_fe"].mask[2] = True
    stars, report = read(save(table, tmp_path, "stars.ecsv"))
    np.testing.assert_array_equal(report.dropped.rows, [1, 2, 5])
    assert list(stars.ids) == ["9", "7"]  # row 4 replaces row 1
    np.testing.assert_array_equal(stars.observed[:, I["o_fe"]], [False, True])


def test_huge_errors_of_a_survey_are_no_errors(tmp_path):
    table = apogee()
    table["EXTRATARG"] = 0
    table["APOGEE_ID"] = ["a", "b", "c", "d", "e"]
    stars, report = read(save(table, tmp_path))
    np.testing.assert_array_equal(stars.observed[-1].nonzero(), [[I["fe_h"]]])
    assert "Values without a positive error, taken as not observed" in report.text()
    stars, report = read(save(table, tmp_path, "b.fits"), default_error=0.1)
    assert stars.errors[-1, I["o_fe"]] == 0.1


def test_x_over_h_becomes_x_over_fe_with_both_errors(tmp_path):
    stars, report = read(save(sdss5(), tmp_path))
    np.testing.assert_allclose(stars.values[:, I["o_fe"]], [0.11, 0.1])
    np.testing.assert_allclose(stars.errors[:, I["o_fe"]], 0.05)  # 0.03 and 0.04
    np.testing.assert_allclose(stars.errors[:, I["fe_h"]], 0.03)
    np.testing.assert_allclose(stars.fe_covariance, 0.03**2)
    assert "Their errors share that of [Fe/H]" in report.text()


def test_x_over_h_needs_iron_of_the_same_star(tmp_path):
    table = Table({"fe_h": [0.1, np.nan], "Mg_H": [0.3, 0.2]})
    table["e_fe_h"], table["e_Mg_H"] = 0.03, 0.04
    stars, report = read(save(table, tmp_path))
    np.testing.assert_allclose(stars.values[:, I["mg_fe"]], [0.2])
    assert report.reasons == {"no abundance is observed": 1}
    # iron is needed, though not asked for
    stars = read(tmp_path / "stars.fits", without="fe_h").stars
    np.testing.assert_allclose(stars.values[:, I["mg_fe"]], [0.2])
    assert not stars.observed[:, I["fe_h"]].any()
    path = save(table["Mg_H", "e_Mg_H"], tmp_path, "no_iron.fits")
    assert "expected a column fe_h" in refusal(path)


def test_sdss5_is_in_the_second_hdu(tmp_path):
    path = tmp_path / "two.fits"
    tables = [fits.table_to_hdu(t) for t in (sdss5()[:0], sdss5(), sdss5()[:3])]
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path)
    stars, report = read(path)
    assert report.n_read == 5
    assert "HDU 2 was read" in report.notes[0]
    assert read(path, hdu=3).report.n_read == 3
    assert "HDU 7 is no table; the file has HDU 1 (0 rows)" in refusal(path, hdu=7)
    csv = save(sdss5(), tmp_path, "stars.csv")
    assert "only a FITS file has HDUs" in refusal(csv, hdu=1)


def test_zipped_fits_and_ids_with_null(tmp_path):
    table = Table(galah(4), masked=True)
    table["sobject_id"].mask[2] = True
    path = save(table, tmp_path)
    zipped = tmp_path / "stars.fits.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    for one in (path, zipped):
        assert list(read(one).stars.ids) == ["7", "row 3"]


def test_two_surveys_in_one_table_is_nobodys(tmp_path):
    table = apogee()
    for name in ("sobject_id", "flag_sp"):
        table[name] = galah(3)[name]
    stars, report = read(save(table, tmp_path), default_error=0.1)
    assert "look like apogee and galah" in report.notes[0]
    assert report.n_used == 3  # only the repeated id and the empty row are dropped
    path = save(apogee(), tmp_path, "apogee.fits")
    assert "expected the columns of galah, as sobject_id, fe_h; got APOGEE_ID" in (
        refusal(path, survey="galah")
    )


SPELLINGS = {
    "[Mg/Fe]": "mg_fe",
    "__Mg_Fe_": "mg_fe",
    "MgFe": "mg_fe",
    "MG_FE": "mg_fe",
    "FeH": "fe_h",
    "e_[Fe/H]": "e_fe_h",
    "e__Fe_H_": "e_fe_h",
    "FE_H_ERR": "e_fe_h",
    "Mg_H": "mg_h",
    "log(g)": "logg",
    "AGE_ERR": "e_age",
    "nh": None,  # a column density as likely
    "NFe": None,  # a number of lines as likely
    "CI_FE": None,
    "fe_h_flag": None,
    "id": None,
}


@pytest.mark.parametrize(("column", "ours"), SPELLINGS.items(), ids=SPELLINGS)
def test_other_spellings(column, ours):
    assert our_name(column) == ours


def test_two_spellings_of_one_thing(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("FeH,[Fe/H],e_FeH\n0.1,0.2,0.05\n")
    assert "'FeH' and '[Fe/H]' may both be fe_h" in refusal(path)
    stars, report = read(path, columns="fe_h=[fe/h]")
    assert stars.values[0, I["fe_h"]] == 0.2
    assert "fe_h=[Fe/H]" in report.text()


def test_columns_of_the_user_go_first(tmp_path):
    table = Table({"Star": ["a", "b"], "fe_h": [0.1, 0.2], "A": [0.3, 0.4]})
    table["mg_fe"], table["B"], table["S"] = 0.9, 0.5, 0.02
    path = save(table, tmp_path)
    columns = "fe_h=a, e_fe_h=S, MG_H=B, e_mg_h=S, id=Star"
    stars, report = read(path, columns=columns, survey="none")
    np.testing.assert_allclose(stars.values[:, I["fe_h"]], [0.3, 0.4])
    np.testing.assert_allclose(stars.values[:, I["mg_fe"]], [0.2, 0.1])
    np.testing.assert_allclose(stars.errors[:, I["mg_fe"]], 0.02 * 2**0.5)
    assert list(stars.ids) == ["a", "b"]
    for wrong, part in {
        "fe_h": "Expected --columns like fe_h=FE_H",
        "ti_fe=A": "Expected --columns like",
        "fe_h=NO": "no column 'NO' of --columns fe_h=NO; the table has Star, fe_h",
    }.items():
        assert part in refusal(path, columns=wrong)


def test_survey_none_knows_only_our_names(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("[Fe/H],e_[Fe/H]\n0.1,0.05\n")
    assert read(path).stars.values[0, I["fe_h"]] == 0.1
    assert "no column holds an abundance" in refusal(path, survey="none")
    with pytest.raises(CatalogError, match="no column holds an abundance"):
        read_stars(path)


def test_our_own_table_reads_as_with_read_stars(tmp_path):
    example = ROOT / "chemsbi_jax" / "pretrained" / "stars" / "example_galaxy.ecsv"
    stars, report = cs.read_catalog(example)
    for one, other in zip(stars, read_stars(example), strict=True):
        np.testing.assert_array_equal(one, other)
    assert report.n_read == report.n_used == len(stars.ids)
    assert report.reasons == {}
    assert report.notes == report.warnings == ()


def test_one_id_for_all_is_no_id(tmp_path):
    table = Table({"name": ["Sgr"] * 3, "fe_h": [0.1, 0.2, 0.3]})
    table["e_fe_h"] = 0.1
    message = refusal(save(table, tmp_path))
    for part in ("'name'", "every row has the id 'Sgr'", "--columns id="):
        assert part in message
    assert read(save(table[:1], tmp_path, "one.fits")).report.n_used == 1


def test_no_star_left(tmp_path):
    table = galah(3)
    table["flag_sp"] = 1
    assert "no star can be used: flag_sp is not 0 (5)" in refusal(save(table, tmp_path))


@pytest.mark.parametrize("name", ["dropped.csv", "dropped.ecsv"])
def test_dropped_rows_in_a_file(tmp_path, name):
    table = apogee()
    table["APOGEE_ID"][1] = 'a,"b'
    report = read(save(table, tmp_path)).report
    write_dropped(tmp_path / "new" / name, report)
    listed = Table.read(tmp_path / "new" / name)
    np.testing.assert_array_equal(listed["row"], [2, 4, 5])
    assert list(listed["id"]) == ['a,"b', "2M01", "2M05"]
    assert listed["reason"][0] == "ASPCAPFLAG has STAR_BAD (bit 23)"
    assert "duplicate" in listed["reason"][1].lower()


BROKEN = {
    "text": ("MG_FE", ["0.1", "x", "0", "0", "0"], "row 2 (id '2M02')"),
    "array": ("MG_FE", np.zeros((5, 2)), "expected one number a row"),
    "text for a flag": ("ASPCAPFLAG", ["0", "1", "bad", "0", "0"], "row 3"),
}


@pytest.mark.parametrize(("column", "cells", "part"), BROKEN.values(), ids=BROKEN)
def test_broken_cells_of_a_survey(tmp_path, column, cells, part):
    table = apogee()
    table[column] = cells
    message = refusal(save(table, tmp_path))
    assert part in message
    assert f"'{column}'" in message


def test_broken_errors_of_our_own_tables_raise(tmp_path):
    table = Table({"id": ["a", "b"], "fe_h": [0.1, 0.2], "e_fe_h": [0.1, -0.1]})
    message = refusal(save(table, tmp_path))
    for part in ("row 2 (id 'b')", "'e_fe_h'", "must be positive"):
        assert part in message


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"without": "c_fe,ti_fe"}, "--without with some of c_fe"),
        ({"solar_from": "sun"}, "grevesse2007"),
        ({"survey": "lamost"}, "auto, none, apogee, galah, sdss5"),
        ({"default_error": -1.0}, "default error between 0 and 20"),
    ],
)
def test_wrong_options(tmp_path, options, part):
    assert part in refusal(save(apogee(), tmp_path), **options)


def test_solar_scales_keep_the_absolute_abundance(tmp_path):
    """A(X) of a star is the same on each scale."""
    path = save(apogee(), tmp_path)
    plain = read(path).stars.values[0]
    ours = dict(zip(ELEMENTS, SOLAR, strict=True))
    assert SCALES["asplund2009"].items() >= ours.items()
    assert {len(scale) for scale in SCALES.values()} == {15, 16}  # ours has H too
    assert set(SCALES) > {"asplund2021", "grevesse2007", "lodders2003", "anders1989"}
    for name, scale in SCALES.items():
        moved, report = read(path, solar_from=name)
        values = moved.values[0]
        iron = scale["Fe"] + plain[I["fe_h"]]
        assert values[I["fe_h"]] + ours["Fe"] == pytest.approx(iron)
        for x in ("C", "N", "O", "Mg", "Si"):
            key = I[f"{x.lower()}_fe"]
            before = scale[x] + plain[key] + plain[I["fe_h"]]
            assert values[key] + values[I["fe_h"]] + ours[x] == pytest.approx(before)
        assert f"From the solar scale {name} to asplund2009" in report.text()
    assert (solar_shift("asplund2009") == 0).all()


def test_known_shift_of_a_solar_scale():
    """Grevesse+2007 has A(Fe) 7.45 and A(Mg) 7.53, ours 7.50 and 7.60."""
    shift = solar_shift("grevesse2007")
    assert shift[I["fe_h"]] == pytest.approx(-0.05)
    assert shift[I["mg_fe"]] == pytest.approx(-0.02)


def test_surveys_say_what_their_zero_point_is(tmp_path):
    assert "--solar-from grevesse2007" in read(save(apogee(), tmp_path)).report.text()
    text = read(save(galah(4), tmp_path, "galah.fits")).report.text()
    assert "no solar scale was converted" in text


@pytest.mark.tables
@pytest.mark.parametrize(("name", "n"), [("bensby2014", 714), ("reddy2003", 181)])
def test_real_stars_say_that_errors_were_assumed(data, name, n):
    path = data / "stars" / "real" / f"{name}.csv"
    stars, report = read(path, default_error=0.07)
    assert report.n_used == n
    assert f"taken as 0.07 dex: {'c_fe' if name == 'reddy2003' else 'fe_h'} (" in (
        report.text()
    )
    expected = read_stars(path, default_error=0.07)
    np.testing.assert_array_equal(stars.values, expected.values)


@pytest.mark.skipif(not HAS_PYARROW, reason="needs pyarrow")
def test_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    content = {"sdss_id": [7, 8, None], "FE_H": [0.1, None, 0.3], "FE_H_ERR": 0.1}
    content["FE_H_ERR"] = [0.1, 0.1, 0.1]
    content["name"] = ["a", "b", None]
    path = tmp_path / "stars.parquet"
    pq.write_table(pa.table(content), path)
    stars, report = read(path.rename(tmp_path / "stars.dat"))
    np.testing.assert_allclose(stars.values[:, I["fe_h"]], [0.1, 0.3])
    assert list(stars.ids) == ["a", "row 3"]
    cut = tmp_path / "cut.parquet"
    cut.write_bytes((tmp_path / "stars.dat").read_bytes()[:-30])
    assert "cut short" in refusal(cut)


@pytest.mark.skipif(HAS_PYARROW, reason="pyarrow is there")
def test_parquet_without_pyarrow(tmp_path):
    path = tmp_path / "stars.parquet"
    path.write_bytes(b"PAR1" + bytes(100) + b"PAR1")
    assert "pip install pyarrow" in refusal(path)


def test_many_stars_are_quick(tmp_path):
    n = 200_000
    table = galah(4)[np.zeros(n, int)]
    table["sobject_id"] = np.arange(n) // 2  # each star twice
    path = save(table, tmp_path)
    start = time.perf_counter()
    stars, report = read(path)
    assert time.perf_counter() - start < 10  # a loop over rows takes minutes
    assert (report.n_read, report.n_used) == (n, n // 2)


def test_masked_values(tmp_path):
    table = Table({"fe_h": [0.1, 0.2], "e_fe_h": [0.1, 0.1]})
    table["[O/Fe]"] = MaskedColumn([0.1, 0.2], mask=[True, False])
    table["e_[O/Fe]"] = 0.1
    observed = read(save(table, tmp_path, "stars.ecsv")).stars.observed
    np.testing.assert_array_equal(observed[:, I["o_fe"]], [False, True])


@pytest.mark.parametrize(
    "table",
    [pytest.param(apogee, marks=pytest.mark.slow), lambda: galah(3)],
    ids=["apogee", "galah"],
)
def test_script_lists_the_dropped_rows_of_incomplete_stars(tmp_path, table):
    """These stars lack He and Ne; the rows are listed and told all the same."""
    path = save(table(), tmp_path)
    out = tmp_path / "out"
    command = [sys.executable, "experiments/infer.py", path, "--out", out]
    command += ["--without", "c_fe,n_fe"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "5 rows read, 2 stars used, 3 dropped" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(Table.read(out / "dropped_rows.csv")["row"]) == [2, 4, 5]


def test_summary_has_the_catalogue(tmp_path):
    flags = StarFlags(survey="apogee")
    path = save(apogee(), tmp_path)
    catalog = read_rows(path, flags, tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / "dropped_rows.csv").is_file()
    summary = add_rows({"n_stars": 2, "warnings": ["a"]}, catalog.report)
    summary = json.loads(json.dumps(summary))
    assert summary["n_stars"] == summary["catalogue"]["n_read"] == 5
    assert summary["catalogue"]["n_used"] == 2
    assert sum(summary["catalogue"]["dropped"].values()) == 3
    assert summary["warnings"] == ["a", *catalog.report.warnings]
    assert set(catalog.report.warnings) < set(summary["catalogue"]["notes"])
    whole = save(apogee()[:1], tmp_path, "whole.fits")
    read_rows(whole, flags, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "dropped_rows.csv").exists()  # of an earlier run


def test_solar_scales_shift_the_further_elements():
    """Asplund+ 2021 has A(Mn) 5.42 and A(Fe) 7.46, ours 5.43 and 7.50."""
    names = ("fe_h", "mn_fe")
    shift = dict(zip(names, solar_shift("asplund2021", names), strict=True))
    assert shift["fe_h"] == pytest.approx(-0.04)
    assert shift["mn_fe"] == pytest.approx(0.03)
