"""Published tables in the forms in which people pass them on."""

import numpy as np
import pytest
from astropy.table import Table

from chemsbi_jax.errors import CatalogError
from helpers.field_checks import I
from helpers.field_tables import read

A = "fe_h=A(Fe),e_fe_h=e_A(Fe),mg_h=A(Mg),e_mg_h=e_A(Mg),o_h=A(O),e_o_h=e_A(O)"
FOUR = ("fe_h", "mg_fe", "o_fe", "si_fe")
RIGHT = {  # file and flags -> abundances that are those of base80.csv
    "case-01.csv": ({"columns": A}, FOUR[:3]),
    "case-02.fits": ({"columns": "mg_h=MG1,o_h=O1,si_h=SI1"}, FOUR),
    "case-06.csv": ({}, (*FOUR, "c_fe", "n_fe")),
    "case-06b.csv": ({}, (*FOUR, "c_fe", "n_fe")),
    "case-10.csv": ({}, FOUR),
    "case-11.vot": ({}, FOUR[:3]),
    "case-11b.vot": ({}, FOUR[:3]),
    "case-12.vot": ({}, FOUR[:3]),
    "case-13.mrt": ({}, FOUR[:3]),
    "case-14.csv": ({}, FOUR[:3]),
    "case-15.csv": ({}, FOUR[:3]),
    "case-16.csv": ({}, FOUR[:3]),
    "case-17.fits": ({}, FOUR),
    "case-22.csv": ({"default_error": 0.1}, FOUR[:3]),
    "case-23.csv": ({}, (*FOUR, "c_fe", "n_fe")),
    "case-31.csv": ({}, FOUR[:3]),
    "case-34.csv": ({}, FOUR),
}


@pytest.mark.tables
@pytest.mark.parametrize("name", RIGHT)
def test_collected_case_is_read_rightly(data, name):
    options, names = RIGHT[name]
    base = Table.read(data / "field" / "base80.csv")
    stars = read(data / "field" / name, **options).stars
    assert len(stars.ids) == 80
    for x in names:
        # rounded to 0.001 twice, where it is a difference
        np.testing.assert_allclose(stars.values[:, I[x]], base[x], atol=0.0015)


TOLD = {  # file -> flags, and what the report or the refusal says
    "case-02.fits": ({}, "mg_h=MG1-7.60,si_h=SI1-7.51"),
    "case-03.csv": ({"columns": "age=logAge,e_age=e_logAge"}, "age=10**logAge"),
    "case-04.csv": (
        {"columns": "birth_time=GFM_StellarFormationTime"},
        "scale factor",
    ),
    "case-07.csv": ({}, "flag_cannon is not 0"),
    "case-07b.csv": ({}, "mg_fe (39)"),
    "case-08.csv": ({}, "taken as not observed: c_fe (33)"),
    "case-09.csv": ({}, "mg_fe (20)"),
    "case-09-noerr.csv": ({"default_error": 0.06}, "mg_fe (20)"),
    "case-19.csv": ({}, "'fe_h_1', 'fe_h_2'"),
    "case-20.csv": ({}, "looks like percent"),
    "case-20b.csv": ({}, "If these are variances"),
    "case-24.csv": ({}, "[alpha/Fe] is not one of the abundances"),
    "case-25.csv": (
        {"columns": "fe_h=mh_gspspec,mg_fe=mgfe_gspspec"},
        "fe_h=mh_gspspec+fem_gspspec",
    ),
    "case-26.csv": ({}, "pivot"),
    "case-27.csv": ({}, "MG_FE_FLAG (0: 22 rows, 1: 58 rows)"),
    "case-28.csv": ({}, "Only [O/Fe] is read"),
    "case-30.csv": ({}, "--age-unit Myr"),
    "case-31.csv": ({"columns": "mg_fe=MG_H"}, "mg_h=MG_H"),
    "case-32.csv": ({}, "'[Fe I/H]', '[Fe II/H]'"),
    "case-33.csv": ({}, "fe_h=m_h,e_fe_h=e_m_h"),
}


@pytest.mark.tables
@pytest.mark.parametrize("name", TOLD)
def test_collected_case_is_told(data, name):
    options, says = TOLD[name]
    try:
        said = read(data / "field" / name, **options).report.text()
    except CatalogError as error:
        said = str(error)
    assert says in said
