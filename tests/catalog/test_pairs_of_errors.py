"""Errors from two columns: percentiles, bounds, lower and upper errors; units."""

import numpy as np
import pytest

from helpers.field_checks import I, refusal
from helpers.field_tables import COLUMNS, N, read, star_table, write

ERRORS = np.round(np.linspace(0.03, 0.09, N), 3)
AGE_ERRORS = np.round(np.linspace(0.4, 1.1, N), 2)


def with_pair(value, low, high, share, size=None):
    """A table with bounds, and values above them in a share of the rows."""
    size = (AGE_ERRORS if value == "age" else ERRORS) if size is None else size
    table = star_table(*(["age"] if value == "age" else []))
    middle = np.asarray(table[value])
    if f"e_{value}" in table.colnames:
        table.remove_column(f"e_{value}")
    table[low], table[high] = middle - size, middle + size
    is_out = np.arange(N) < share * N
    table[value] = np.where(is_out, middle + 1.3 * size, middle)
    return table, size


def errors_of(path, value, **options):
    stars, report = read(path, **options)
    errors = stars.e_birth_time if value == "age" else stars.errors[:, I[value]]
    return errors, report.text()


@pytest.mark.parametrize("share", [0.0, 0.15, 0.3, 0.6])
@pytest.mark.parametrize(
    ("value", "low", "high"),
    [("fe_h", "fe_h_p16", "fe_h_p84"), ("age", "age_16", "age_84"),
     ("mg_fe", "mg_fe_q16", "mg_fe_q84")],
)  # fmt: skip
def test_percentiles_may_lie_beside_the_value(tmp_path, value, low, high, share):
    table, size = with_pair(value, low, high, share)
    errors, text = errors_of(write(tmp_path, table), value)
    np.testing.assert_allclose(errors, size, atol=1e-9)
    assert f"half the distance of {low} and {high}" in text


@pytest.mark.parametrize("share", [0.0, 0.15, 0.3])
@pytest.mark.parametrize("value", ["fe_h", "age"])
@pytest.mark.parametrize("ends", [("lo", "hi"), ("lower", "upper")])
def test_bounds_may_lie_beside_the_value(tmp_path, value, ends, share):
    low, high = (f"{value}_{end}" for end in ends)
    table, size = with_pair(value, low, high, share)
    errors, _ = errors_of(write(tmp_path, table), value)
    np.testing.assert_allclose(errors, size, atol=1e-9)


@pytest.mark.parametrize(("low", "high"), [("lo", "hi"), ("err_lower", "err_upper")])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("value", [*COLUMNS, "age"])
def test_lower_and_upper_errors_stay_errors(tmp_path, value, low, high, sign):
    table, size = with_pair(value, f"{value}_{low}", f"{value}_{high}", 0.0)
    table[f"{value}_{low}"], table[f"{value}_{high}"] = sign * size, 1.2 * size
    errors, text = errors_of(write(tmp_path, table), value)
    np.testing.assert_allclose(errors, 1.1 * size, atol=1e-9)
    assert "is the mean of" in text


def test_three_stars_are_enough(tmp_path):
    text = (
        "star_id,fe_h,fe_h_p16,fe_h_p84,mg_fe,e_mg_fe\nS1,-0.80,-0.86,-0.74,0.2,0.05\n"
        "S2,-0.60,-0.66,-0.54,0.2,0.05\nS3,-0.41,-0.40,-0.30,0.1,0.05\n"
    )
    errors, _ = errors_of(write(tmp_path, text), "fe_h")
    assert errors.tolist() == pytest.approx([0.06, 0.06, 0.05])


@pytest.mark.parametrize("names", [("fe_h_16", "fe_h_84"), ("fe_h_lo", "fe_h_hi")])
def test_numbers_that_fit_neither_are_refused(tmp_path, names):
    table, size = with_pair("fe_h", *names, 0.0)
    swapped = np.arange(N) % 2 == 0
    table[names[0]] = np.where(swapped, 0.3 + size, -0.3 - size)
    table[names[1]] = np.where(swapped, 0.3 - size, -0.3 + size)
    message = refusal(write(tmp_path, table))
    assert "fit neither bounds of 'fe_h' nor its lower and upper errors" in message
    assert f"--columns e_fe_h=0.5*({names[1]}-{names[0]})" in message.replace('"', "")


def in_myr(**columns):
    table = star_table()
    for name, values in columns.items():
        table[name] = values
        table[name].unit = "Myr"
    return table


def ages_of(path, **options):
    stars, _ = read(path, **options)
    return 13.797617 - stars.birth_time, stars.e_birth_time


@pytest.mark.parametrize("size", [15.0, 1000.0])
@pytest.mark.parametrize("ends", [("lower", "upper"), ("16", "84")])
def test_errors_of_two_columns_keep_their_unit(tmp_path, size, ends):
    ages = np.linspace(2000.0, 9000.0, N)
    is_bound = ends[0] == "16"
    low, high = (ages - size, ages + size) if is_bound else (size, size)
    start = "age" if is_bound else "e_age"
    pair = {f"{start}_{ends[0]}": low + 0 * ages, f"{start}_{ends[1]}": high + 0 * ages}
    found, errors = ages_of(write(tmp_path, in_myr(age=ages, **pair), "t.fits"))
    np.testing.assert_allclose(found, ages / 1000.0, atol=1e-6)
    np.testing.assert_allclose(errors, size / 1000.0)


def test_errors_in_percent_or_of_two_units_are_refused(tmp_path):
    table = star_table()
    table.remove_column("e_fe_h")
    table["e_fe_h_lower"] = table["e_fe_h_upper"] = np.full(N, 0.8)
    table["e_fe_h_lower"].unit = table["e_fe_h_upper"].unit = "%"
    message = refusal(write(tmp_path, table, "t.fits"))
    assert "'e_fe_h_lower': the unit is percent" in message
    table = in_myr(age=np.full(N, 5000.0), e_age_lower=np.full(N, 15.0))
    table["e_age_upper"] = 15.0
    message = refusal(write(tmp_path, table, "t2.fits"))
    assert "one has the unit Myr and the other none" in message


@pytest.mark.parametrize(
    ("columns", "age"),
    [("age=tau+0,e_age=e_tau", 1.0), ("age=tau*0.001,e_age=e_tau", 1.0),
     ("age=tau/1000", 1.0), ("age=tau*0.5", 0.5),
     ("birth_time=13.797617-tau*0.001,e_birth_time=e_tau", 1.0)],
)  # fmt: skip
@pytest.mark.parametrize("taus", [15.0, 5000.0])
def test_conversions_keep_the_unit_of_their_columns(tmp_path, columns, age, taus):
    tau = taus + np.arange(N)
    table = in_myr(tau=tau, e_tau=np.full(N, 2.0))
    found, errors = ages_of(write(tmp_path, table, "t.fits"), columns=columns)
    np.testing.assert_allclose(found, age * tau / 1000.0, atol=1e-6)
    np.testing.assert_allclose(errors, 0.002 * age, atol=1e-6)


def test_the_unit_of_a_converted_error(tmp_path):
    table = in_myr(age=np.full(N, 5e3) + np.arange(N), e2=np.full(N, 15.0))
    path = write(tmp_path, table, "t.fits")
    assert ages_of(path, columns="e_age=sqrt(e2*e2)")[1] == pytest.approx(0.015)


@pytest.mark.parametrize("columns", ["age=tau+0", "birth_time=13.797617-tau"])
def test_columns_in_gyr_stay_in_gyr(tmp_path, columns):
    table = star_table()
    table["tau"], table["e_tau"] = np.linspace(1.0, 9.0, N), 0.5
    table["tau"].unit = table["e_tau"].unit = "Gyr"
    path = write(tmp_path, table, "t.fits")
    for unit in ("auto", "Myr"):
        ages, errors = ages_of(path, columns=columns, age_unit=unit)
        np.testing.assert_allclose(ages, table["tau"], atol=1e-6)
        assert errors == pytest.approx(0.5)


def test_a_unit_that_does_not_follow_is_refused(tmp_path):
    path = write(tmp_path, in_myr(tau=np.full(N, 15.0)), "t.fits")
    message = refusal(path, columns="birth_time=13.8-tau")
    assert "does not follow from that of tau" in message
    assert "(tau*0.001)" in message


@pytest.mark.parametrize(
    "text", ["cosmic_time(1/(1+z_form))", "0+cosmic_time(1/(1+z_form))"]
)
def test_cosmic_time_is_in_gyr_with_inner_brackets(tmp_path, text):
    table = star_table()
    table["z_form"], table["e_t"] = np.linspace(0.1, 3.0, N), 500.0
    columns = f"birth_time={text},e_birth_time=e_t"
    stars, _ = read(write(tmp_path, table), columns=columns, age_unit="Myr")
    assert stars.birth_time[0] == pytest.approx(12.45, abs=0.05)
    assert stars.e_birth_time == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("low", "high"),
    [("lowerr", "uperr"), ("lowererr", "uppererr"), ("errm", "errp"),
     ("err_down", "err_up")],
)  # fmt: skip
@pytest.mark.parametrize("value", ["fe_h", "age"])
def test_more_names_of_lower_and_upper_errors(tmp_path, value, low, high):
    table, size = with_pair(value, f"{value}_{low}", f"{value}_{high}", 0.0)
    table[f"{value}_{low}"], table[f"{value}_{high}"] = size, 1.2 * size
    errors, _ = errors_of(write(tmp_path, table), value)
    np.testing.assert_allclose(errors, 1.1 * size, atol=1e-9)


@pytest.mark.parametrize("ends", [("min", "max"), ("ci_lo", "ci_hi")])
def test_the_remedy_for_other_bounds_of_ages_can_be_typed(tmp_path, ends):
    low, high = (f"age_{end}" for end in ends)
    table, size = with_pair("age", low, high, 0.0)
    path = write(tmp_path, table)
    errors, text = errors_of(path, "age")
    flags = f"e_age=0.5*({high}-{low})"
    assert np.isnan(errors).all()
    assert f'If they are bounds: --columns "{flags}"' in text
    np.testing.assert_allclose(errors_of(path, "age", columns=flags)[0], size)


def of_vizier(unit_of_lower, lower):
    """A table of VizieR with ages in Myr, and E_Age and e_Age."""
    table = star_table("age")
    table.rename_column("age", "Age")
    table["Age"] *= 1000.0
    upper = np.where(np.arange(N) % 4 == 0, 99.0, 500.0)
    table["E_Age"], table["e_Age"] = upper, lower * upper
    units = {"Age": "Myr", "E_Age": "Myr", "e_Age": unit_of_lower}
    for name, unit in units.items():
        table[name].unit = unit
    return table, upper


def test_vizier_errors_of_99_myr_are_errors(tmp_path):
    table, upper = of_vizier("Myr", 1.0)
    table.write(tmp_path / "stars.ecsv")
    errors, _ = errors_of(tmp_path / "stars.ecsv", "age")
    np.testing.assert_allclose(errors, upper / 1000.0)


def test_vizier_errors_in_two_units_are_not_added(tmp_path):
    of_vizier("Gyr", 0.001)[0].write(tmp_path / "stars.ecsv")
    assert "'E_Age' and 'e_Age' differ only in case" in refusal(tmp_path / "stars.ecsv")
