"""Tables as people have them: solar scale, ages and errors in other forms."""

import numpy as np
import pytest

from chemsbi_jax.constants import SOLAR, T_END
from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import COLUMNS, N, read, renamed, star_table, write

SUN = {"fe": 7.50, "mg": 7.60, "o": 8.69, "si": 7.51}


def absolute():
    table = star_table()
    for name in COLUMNS:
        x = name.split("_")[0]
        iron = 0.0 if x == "fe" else star_table()["fe_h"]
        table[name] = table[name] + iron + SUN[x]
    return table


def test_the_sun_is_that_of_the_model():
    elements = ("c", "fe", "h", "he", "mg", "n", "ne", "o", "si")
    assert {x: dict(zip(elements, SOLAR, strict=True))[x] for x in SUN} == SUN


def test_absolute_abundances_lose_the_sun(tmp_path):
    names = {x: f"A({x.split('_')[0].capitalize()})" for x in COLUMNS}
    names |= {f"e_{x}": f"e_{name}" for x, name in names.items()}
    path = write(tmp_path, renamed(absolute(), **names))
    keys = {x: f"{x.split('_')[0]}_h" for x in COLUMNS}
    columns = ",".join(f"{keys[x]}={names[x]}" for x in COLUMNS)
    converted = ",".join(
        f"{keys[x]}={names[x]}-{SUN[x.split('_')[0]]:.2f}" for x in COLUMNS
    )
    for text in (columns, converted):
        stars, report = read(path, columns=text)
        for x in COLUMNS:
            np.testing.assert_allclose(
                stars.values[:, I[x]], star_table()[x], atol=1e-9
            )
        assert stars.fe_covariance == pytest.approx(star_table()["e_fe_h"] ** 2)
    assert "A(Fe)" in report.text()
    assert "leave out --solar-from" in refusal(
        path, columns=columns, solar_from="lodders2003"
    )


def test_absolute_abundances_without_the_name_are_refused(tmp_path):
    table = star_table()
    table["fe_h"] += 7.5
    message = refusal(write(tmp_path, table))
    assert "looks like A(Fe)" in message
    assert "--columns fe_h=fe_h-7.50" in message


WRONG_NAMES = {
    "[X/H] for [X/Fe]": ("mg_h", "mg_fe=mg_h", "mg_h=mg_h"),
    "A(X) for [X/Fe]": ("A(Mg)", "mg_fe=A(Mg)", "mg_h=A(Mg)-7.60"),
    "another element": ("[Ti/Fe]2", "mg_fe=si_fe", "is [Si/Fe]"),
    "lines": ("N(Fe)", "n_fe=N(Fe)", "number of lines"),
    "log age": ("logAge", "age=logAge", "age=10**logAge"),
    "scale factor": (
        "GFM_StellarFormationTime",
        "birth_time=GFM_StellarFormationTime",
        "birth_time=cosmic_time(GFM_StellarFormationTime)",
    ),
}


@pytest.mark.parametrize(
    ("column", "columns", "says"), WRONG_NAMES.values(), ids=WRONG_NAMES
)
def test_a_name_that_contradicts_the_flag_is_refused(tmp_path, column, columns, says):
    table = star_table()
    table[column] = table["mg_fe"]
    message = refusal(write(tmp_path, table), columns=columns)
    assert says in message
    assert repr(columns.split("=")[1]) in message


def test_log_ages_and_scale_factors_are_converted(tmp_path):
    table = star_table("age", "e_age")
    table["logAge"] = np.log10(table["age"] * 1e9)
    table["e_logAge"] = 0.04
    del table["age"], table["e_age"]
    path = write(tmp_path, table)
    for columns in ("age=10**logAge", "age=10**logAge,e_age=e_logAge"):
        stars, report = read(path, columns=columns)
        age = star_table("age")["age"]
        np.testing.assert_allclose(T_END - stars.birth_time, age, rtol=1e-5)
        # half the change over +-1 sigma, so not quite the derivative
        expected = age * 0.04 * np.log(10.0)
        np.testing.assert_allclose(stars.e_birth_time, expected, rtol=0.01)
        assert "was taken in yr" in report.text()
    table["a"] = 0.5
    path = write(tmp_path, table, "b.csv")
    for unit in ("auto", "Myr"):  # the function returns Gyr, whatever the flag is
        stars = read(path, columns="birth_time=cosmic_time(a)", age_unit=unit).stars
        # Planck 2015: the Universe was 5.86 Gyr old at redshift 1
        np.testing.assert_allclose(stars.birth_time, 5.86, atol=0.01)
    columns = "birth_time=cosmic_time(a)*1000"
    stars = read(path, columns=columns, age_unit="Myr").stars
    np.testing.assert_allclose(stars.birth_time, 5.86, atol=0.01)


@pytest.mark.parametrize("n", [5, N])
def test_ages_in_myr(tmp_path, n):
    table = star_table("age", "e_age")[:n]
    table["age"], table["e_age"] = table["age"] * 1e3, table["e_age"] * 1e3
    path = write(tmp_path, table)
    message = refusal(path)
    assert "'age'" in message
    assert "--age-unit Myr" in message
    stars = read(path, age_unit="Myr").stars
    np.testing.assert_allclose(T_END - stars.birth_time, table["age"] / 1e3)
    np.testing.assert_allclose(stars.e_birth_time, table["e_age"] / 1e3)


def test_ages_in_years_get_the_right_unit(tmp_path):
    table = star_table("age", "e_age")
    table["age"], table["e_age"] = table["age"] * 1e9, table["e_age"] * 1e9
    path = write(tmp_path, table)
    assert "--age-unit yr" in refusal(path)
    assert "--age-unit yr" in refusal(path, age_unit="Myr")
    stars = read(path, age_unit="yr").stars
    np.testing.assert_allclose(T_END - stars.birth_time, table["age"] / 1e9)


def test_doubtful_times_get_a_warning_and_impossible_ones_are_refused(tmp_path):
    table = star_table("age", "e_age")
    table["age"] = np.log10(table["age"] * 1e9)
    assert "If they are log10 of years" in read(write(tmp_path, table)).report.text()
    table = renamed(star_table("age", "e_age"), age="birth_time", e_age="e_birth_time")
    table["birth_time"] = table["birth_time"] / 13.0
    message = refusal(write(tmp_path, table, "b.csv"))
    assert "looks like a scale factor" in message


BAD_ERRORS = {
    "percent": (lambda e: e * 230.0, "looks like percent"),
    "variance by name": (lambda e: e**2, "sqrt(var_fe_h)"),
}


@pytest.mark.parametrize(("change", "says"), BAD_ERRORS.values(), ids=BAD_ERRORS)
def test_errors_in_another_form_are_refused(tmp_path, change, says):
    table = star_table()
    table["e_fe_h"] = change(table["e_fe_h"])
    if "var" in says:
        table = renamed(table, e_fe_h="var_fe_h")
    path = write(tmp_path, table)
    assert says in refusal(path)
    text = "e_fe_h=sqrt(var_fe_h)" if "var" in says else "e_fe_h=e_fe_h/230"
    assert_same(read(path, columns=text).stars)


def test_very_small_errors_get_a_warning(tmp_path):
    table = star_table()
    table["e_fe_h"] = table["e_fe_h"] ** 2
    (warning,) = read(write(tmp_path, table)).report.warnings
    assert '"e_fe_h=sqrt(e_fe_h)"' in warning
