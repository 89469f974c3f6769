"""Tables of surveys: recognition, quality flags, errors, and rows that are dropped."""

import gzip

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from chemsbi_jax.constants import T_END
from helpers.survey_tables import SURVEYS, I, apogee, galah, read, refusal, save, sdss5

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
    assert warning.startswith("1 star with log g below 3.5: dredge-up")
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
    assert "age_bstep: 1 value outside 0 to 13.8 Gyr taken as missing." in report.text()
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
    cut = 'the cut "snr_c3_iraf is not above 30" was not applied.'
    assert f"The table has no column snr_c3_iraf; {cut}" in text
    assert "Values without a quality flag" in text
    assert "si_fe (4)" in text
    assert "its columns do not show the release" in text


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
    assert "Their errors all contain the error of [Fe/H]" in report.text()


def test_x_over_h_needs_iron_of_the_same_star(tmp_path):
    table = Table({"fe_h": [0.1, np.nan], "Mg_H": [0.3, 0.2]})
    table["e_fe_h"], table["e_Mg_H"] = 0.03, 0.04
    stars, report = read(save(table, tmp_path))
    np.testing.assert_allclose(stars.values[:, I["mg_fe"]], [0.2])
    assert report.reasons == {"[X/H] is observed, but not [Fe/H]": 1}
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
    assert "expected the columns of galah, such as sobject_id, fe_h; got APOGEE_ID" in (
        refusal(path, survey="galah")
    )
