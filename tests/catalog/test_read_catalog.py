"""Tables of other authors: names of columns, solar scales, dropped rows, formats."""

import cProfile
import importlib.util
import pstats

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

import chemsbi_jax as cs
from chemsbi_jax.catalog import read_stars
from chemsbi_jax.catalog.column_names import our_name
from chemsbi_jax.catalog.report import write_dropped
from chemsbi_jax.catalog.solar import SCALES, solar_shift
from chemsbi_jax.constants import ELEMENTS, SOLAR
from chemsbi_jax.errors import CatalogError
from helpers.paths import ROOT
from helpers.survey_tables import I, apogee, galah, read, refusal, save

HAS_PYARROW = importlib.util.find_spec("pyarrow") is not None


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
        "fe_h=A,fe_h=B": "Expected fe_h once in --columns",
        "e_mg_fe=mg_fe": "by its name it is [Mg/Fe]. Did you mean --columns mg_fe",
        "fe_h=feh": "fe_h=feh (did you mean fe_h?); the table has Star",
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
        ({"default_error": -1.0}, "default error above 0"),
        ({"default_error": 7.0}, "at most 1 dex; got 7. An error in percent"),
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
    assert "so the abundances were not converted" in text


@pytest.mark.tables
@pytest.mark.parametrize(("name", "n"), [("bensby2014", 714), ("reddy2003", 181)])
def test_real_stars_say_that_errors_were_assumed(data, name, n):
    path = data / "stars" / "real" / f"{name}.csv"
    stars, report = read(path, default_error=0.07)
    assert report.n_used == n
    first = "c_fe" if name == "reddy2003" else "fe_h"
    assert f"whose error was set to 0.07 dex: {first} (" in report.text()
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


def test_many_stars_take_few_calls(tmp_path):
    n = 200_000
    table = galah(4)[np.zeros(n, int)]
    table["sobject_id"] = np.arange(n) // 2  # each star twice
    path = save(table, tmp_path)
    with cProfile.Profile() as profile:
        stars, report = read(path)
    # 8 a row are measured, for its id; a loop over all cells makes hundreds
    assert pstats.Stats(profile).total_calls < 20 * n
    assert (report.n_read, report.n_used) == (n, n // 2)


def test_codes_for_a_missing_value_are_counted(tmp_path):
    path = tmp_path / "stars.csv"
    rows = ["-0.2,0.05,-9999,-9999", "0,0.05,99.9,0.05", "0.1,0.05,0.1,0.05", "0,0.1,,"]
    path.write_text("\n".join(["fe_h,e_fe_h,mg_fe,e_mg_fe", *rows]))
    catalog = cs.read_catalog(path)
    assert catalog.stars.observed.sum() == 5
    (note,) = [n for n in catalog.report.notes if "-9999" in n]
    assert note.endswith("taken as not observed: mg_fe (2).")


def test_masked_values(tmp_path):
    table = Table({"fe_h": [0.1, 0.2], "e_fe_h": [0.1, 0.1]})
    table["[O/Fe]"] = MaskedColumn([0.1, 0.2], mask=[True, False])
    table["e_[O/Fe]"] = 0.1
    observed = read(save(table, tmp_path, "stars.ecsv")).stars.observed
    np.testing.assert_array_equal(observed[:, I["o_fe"]], [False, True])


def test_solar_scales_shift_the_further_elements():
    """Asplund+ 2021 has A(Mn) 5.42 and A(Fe) 7.46, ours 5.43 and 7.50."""
    names = ("fe_h", "mn_fe")
    shift = dict(zip(names, solar_shift("asplund2021", names), strict=True))
    assert shift["fe_h"] == pytest.approx(-0.04)
    assert shift["mn_fe"] == pytest.approx(0.03)
