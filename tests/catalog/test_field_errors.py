"""Errors and ages whose name or unit says that they are no dex and no Gyr."""

import numpy as np
import pytest

from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import read, renamed, star_table, write

T_END = 13.797617  # Gyr, age of the Universe in the model
LN = np.log(10.0)


@pytest.mark.parametrize(
    ("name", "factor"),
    [
        ("e_[Fe/H] (%)", 100 * LN),
        ("fe_h_err_%", 100 * LN),
        ("fe_h_err_percentage", 100 * LN),
        ("perc_err_fe_h", 100 * LN),
        ("e_ln_fe_h", LN),
        ("fe_h_err_rel", LN),
        ("fe_h_frac_err", LN),
        ("e_fe_h_mdex", 1000.0),
    ],
)
def test_errors_in_another_form_by_their_name(tmp_path, name, factor):
    """Refused as they are; the conversion of the message gives the errors in dex."""
    table = renamed(star_table(), e_fe_h=name)
    table[name] = table[name] * factor
    path = write(tmp_path, table)
    conversion = f"e_fe_h={name}*"
    text = refusal(path)
    assert conversion in text
    assert "by its name" in refusal(path, columns=f"e_fe_h={name}")
    asked = text.split("--columns ")[1].split('"')[1]
    errors = read(path, columns=asked).stars.errors[:, I["fe_h"]]
    np.testing.assert_allclose(errors, star_table()["e_fe_h"], rtol=2e-3)


def test_an_inverse_variance_is_no_variance(tmp_path):
    path = write(tmp_path, renamed(star_table(), e_fe_h="fe_h_inverse_variance"))
    assert "1/sqrt(fe_h_inverse_variance)" in refusal(path)


@pytest.mark.parametrize("unit", ["%", "percent"])
def test_a_unit_of_percent(tmp_path, unit):
    table = star_table()
    table["e_fe_h"].unit = unit
    path = tmp_path / "stars.ecsv"
    table.write(path)
    assert 'percent; convert it with --columns "e_fe_h=e_fe_h*0.00434"' in refusal(path)


@pytest.mark.parametrize(
    ("name", "form", "conversion"),
    [
        ("e_age(%)", lambda age, e: 100 * e / age, "e_age=age*e_age(%)*0.01"),
        ("age_err_pct", lambda age, e: 100 * e / age, "e_age=age*age_err_pct*0.01"),
        ("var_age", lambda age, e: e**2, "e_age=sqrt(var_age)"),
    ],
)
def test_errors_of_ages_in_another_form(tmp_path, name, form, conversion):
    table = star_table("age", "e_age")
    age, sigma = np.array(table["age"]), np.array(table["e_age"])
    table = renamed(table, e_age=name)
    table[name] = form(age, sigma)
    path = write(tmp_path, table)
    assert conversion in refusal(path)
    stars = read(path, columns=conversion).stars
    np.testing.assert_allclose(stars.e_birth_time, sigma, rtol=1e-4)


@pytest.mark.parametrize("name", ["Age(Myr)", "age_yr", "age [Gyr]"])
def test_the_unit_of_an_age_by_its_name(tmp_path, name):
    table = star_table("age", "e_age")
    age, sigma = np.array(table["age"]), np.array(table["e_age"])
    factor = {"Age(Myr)": 1e3, "age_yr": 1e9, "age [Gyr]": 1.0}[name]
    table["age"], table["e_age"] = age * factor, sigma * factor
    path = write(tmp_path, renamed(table, age=name))
    catalog = read(path, columns=f"age={name},e_age=e_age")
    np.testing.assert_allclose(catalog.stars.birth_time, T_END - age, atol=1e-4)
    np.testing.assert_allclose(catalog.stars.e_birth_time, sigma, rtol=1e-5)
    is_told = any("by its name" in note for note in catalog.report.notes)
    assert is_told == ("Gyr" not in name)


@pytest.mark.parametrize("name", ["ln_age", "lnAge", "age_ln"])
def test_natural_logarithms_of_ages(tmp_path, name):
    table = star_table("age", "e_age")
    age = np.array(table["age"])
    table["age"] = np.log(age)
    path = write(tmp_path, renamed(table, age=name))
    conversion = f"age=10**(0.43429*{name})"
    assert any(conversion in text for text in read(path).report.warnings)
    assert conversion in refusal(path, columns=f"age={name}")
    stars = read(path, columns=conversion).stars
    np.testing.assert_allclose(stars.birth_time, T_END - age, atol=1e-3)
    assert_same(stars)


def test_a_log_age_with_brackets_in_its_name(tmp_path):
    table = star_table("age", "e_age")
    table["age"] = np.log10(table["age"]) + 9
    path = write(tmp_path, renamed(table, age="log(age)", e_age="dlog"))
    assert "10**log(age)" in refusal(path, columns="age=log(age)")


@pytest.mark.parametrize(
    ("columns", "says"),
    [
        ("e_mg_fe=mg_fe", "by its name it is [Mg/Fe]"),
        ("e_mg_fe=e_o_fe", "by its name it is the error of [O/Fe]"),
        ("mg_fe=e_mg_fe", "by its name it is an error"),
    ],
)
def test_an_error_is_that_of_its_abundance(tmp_path, columns, says):
    """A lost `e_` would give a narrow interval with a green verdict."""
    assert says in refusal(write(tmp_path, star_table()), columns=columns)
