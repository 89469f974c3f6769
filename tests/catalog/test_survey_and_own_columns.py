"""Columns that a user joins to a survey's table are checked as in other tables."""

import numpy as np
import pytest
from astropy.table import Table

from helpers.survey_tables import I, galah, read, refusal, save, sdss5

N = 24
AGES = np.linspace(1.5, 11.0, N).round(2)


def apogee(**more):
    """Good stars of APOGEE, with further columns."""
    rng = np.random.default_rng(1)
    table = Table({"APOGEE_ID": [f"2M{i:08d}" for i in range(N)]})
    table["ASPCAPFLAG"] = 0
    for name, middle in (("FE_H", -0.3), ("MG_FE", 0.1), ("O_FE", 0.2)):
        table[name] = rng.normal(middle, 0.1, N).round(3)
        table[f"{name}_ERR"] = 0.03
        table[f"{name}_FLAG"] = 0
    for name, values in more.items():
        table[name] = values
    return table


def in_sdss5(**more):
    table = Table(sdss5()[[0] * N])
    table["sdss_id"] = np.arange(N) + 1
    table["mg_h"] = np.linspace(-0.3, -0.1, N)
    for name, values in more.items():
        table[name] = values
    return table


@pytest.mark.parametrize("make", [apogee, in_sdss5])
@pytest.mark.parametrize("name", ["t.fits", "t.csv"])
def test_ages_in_myr_are_not_dropped(tmp_path, make, name):
    path = save(make(age=AGES * 1000, e_age=np.full(N, 900.0)), tmp_path, name)
    message = refusal(path)
    assert "'age': 1500 is too large for a time [Gyr]" in message
    assert "--age-unit Myr" in message
    stars = read(path, age_unit="Myr").stars
    np.testing.assert_allclose(13.797617 - stars.birth_time, AGES, atol=1e-5)
    assert stars.e_birth_time == pytest.approx(0.9)


def test_logarithms_of_ages_are_doubted(tmp_path):
    table = apogee(age=np.log10(AGES * 1e9).round(3), e_age=np.full(N, 0.1))
    (text,) = read(save(table, tmp_path)).report.warnings
    assert "All values of age lie between" in text


@pytest.mark.parametrize("column", ["e_age", "MG_FE_ERR"])
def test_percent_is_refused(tmp_path, column):
    table = apogee(age=AGES, e_age=np.full(N, 10.0))
    table[column] = 5.0
    table[column].unit = "%"
    assert f"{column!r}: the unit is percent" in refusal(save(table, tmp_path))


@pytest.mark.parametrize(
    ("column", "cells"),
    [("l_MG_FE", ("<", "")), ("MG_FE_UL", (1, 0)), ("MG_FE_LIMIT", ("true", "false"))],
)
def test_limits_of_the_user_are_followed(tmp_path, column, cells):
    table = apogee(**{column: [cells[i % 4 > 0] for i in range(N)]})
    stars, report = read(save(table, tmp_path))
    is_limit = ~np.isfinite(stars.values[:, I["mg_fe"]])
    assert is_limit.tolist() == [i % 4 == 0 for i in range(N)]
    assert f"{column} was applied: it marks limits of mg_fe." in report.notes


def test_limits_that_are_not_understood_are_named(tmp_path):
    table = apogee(l_MG_FE=["about" if i % 4 == 0 else "" for i in range(N)])
    report = read(save(table, tmp_path)).report
    (text,) = report.warnings
    assert "flags or limits that were not applied: l_MG_FE (blank: 18" in text
    assert report.flags_not_followed


def test_other_flags_and_versions_are_named(tmp_path):
    table = apogee(STARFLAG=[i % 3 for i in range(N)], MG_FE_NLTE=0.2, MG_FE_SPEC=0.3)
    table["CI_FE_FLAG"] = table["TI_FE_FLAG"] = np.arange(N)
    notes = read(save(table, tmp_path)).report.notes
    assert any(n.endswith("allStar do not use: STARFLAG.") for n in notes)
    (text,) = [n for n in notes if "same quantities" in n]
    assert text.endswith("MG_FE_NLTE.")


def test_a_plain_survey_table_has_no_further_notes(tmp_path):
    notes = read(save(apogee(), tmp_path)).report.notes
    assert not any("do not use" in n or "not read" in n.lower() for n in notes)
    notes = read(save(galah(3), tmp_path, "g.fits")).report.notes
    assert not any("do not use" in n or "not read" in n.lower() for n in notes)


@pytest.mark.parametrize("value", [30.0, -45.0, 7.5])
def test_values_that_no_star_has_are_counted(tmp_path, value):
    table = apogee()
    table["MG_FE"][2], table["MG_FE"][5] = value, -9999.0
    stars, report = read(save(table, tmp_path))
    assert not np.isfinite(stars.values[2, I["mg_fe"]])
    assert "Values that no star has, taken as not observed: mg_fe (1)." in report.notes


def test_columns_of_the_user_have_the_checks_of_any_table(tmp_path):
    table = apogee(MG_MINE=np.where(np.arange(N) == 3, 30.0, 0.1), E_MINE=0.05)
    table["MG_MINE"] += np.arange(N) * 1e-3
    path = save(table, tmp_path)
    message = refusal(path, columns="mg_fe=MG_MINE,e_mg_fe=E_MINE")
    assert "row 4" in message
    assert "'MG_MINE': 30.003 is too large" in message


def test_errors_that_are_propagated_are_not_said_to_be_those_of_the_survey(tmp_path):
    table = apogee(my_mg=np.full(N, 0.1), e_my_mg=np.full(N, 0.07))
    columns = "mg_fe=my_mg+0.05"
    read_table = read(save(table, tmp_path), columns=columns)
    text = read_table.report.text()
    assert "e_mg_fe was propagated from e_my_mg" in text
    assert "MG_FE_ERR" not in text
    assert read_table.stars.errors[:, I["mg_fe"]] == pytest.approx(0.07)
