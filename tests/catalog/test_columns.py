"""What names of columns mean, and conversions in --columns."""

import numpy as np
import pytest

from chemsbi_jax.catalog.expressions import cosmic_time, parse_expression
from chemsbi_jax.catalog.meaning import meaning_of
from chemsbi_jax.constants import T_END
from chemsbi_jax.errors import CatalogError

NAMES = {
    "[Mg/Fe]": ("mg_fe", "value", ""),
    "__Mg_Fe_": ("mg_fe", "value", ""),
    "MGFE_ERR": ("mg_fe", "error", ""),
    "e_[Fe I/H]": ("fe_h", "error", "i"),
    "raw_e_fe_h": ("fe_h", "error", "raw"),
    "efe_h": ("fe_h", "error", ""),
    "mg_fe_nlte": ("mg_fe", "value", "nlte"),
    "mgfe_gspspec_lower": ("mg_fe", "lower", "gspspec"),
    "Fe_H_84": ("fe_h", "upper", ""),
    "fem_gspspec": ("fe_m", "value", "gspspec"),
    "A(Fe)": ("a_fe", "value", ""),
    "e_A_Fe_": ("a_fe", "error", ""),
    "log_e_Mg_": ("a_mg", "value", ""),
    "logeps(O)": ("a_o", "value", ""),
    "FE2": ("a_fe", "value", "2"),
    "UPPER_COMBINED_MG1": ("a_mg", "limit", "1"),
    "l_[C/Fe]": ("c_fe", "limit", ""),
    "MG_FE_FLAG": ("mg_fe", "flag", ""),
    "q_[Fe/H]": ("fe_h", "flag", ""),
    "N(Fe)": ("a_fe", "count", ""),
    "o_[Fe/H]": ("fe_h", "count", ""),
    "[M/H]": ("m_h", "value", ""),
    "[a/Fe]": ("alpha_fe", "value", ""),
    "logAge": ("log_age", "value", ""),
    "log10_age_err": ("log_age", "error", ""),
    "GFM_StellarFormationTime": ("scale_factor", "value", ""),
    "[Ti/Fe]": ("ti_fe", "value", ""),
    "Na_fe": ("na_fe", "value", ""),
    "ni_fe": ("ni_fe", "value", ""),  # nickel, and not N I
    "[TiII/H]": ("ti_h", "value", "ii"),
    "SiI_Fe": ("si_fe", "value", "i"),  # silicon, and not S II
    "e_[S/Fe]": ("s_fe", "error", ""),
    "A(Ca)": ("a_ca", "value", ""),
}
NOTHING = ["Teff", "logg", "ra", "dec", "a", "e", "z", "E(B-V)", "A(Li)", "[Cr/Fe]",
           "nh", "Mass", "rv_err", "source_id", "Eu_fe", "CaH", "SFE", "sh",
           "alpha", "A_V", "EWMg"]  # fmt: skip


@pytest.mark.parametrize(("name", "meaning"), NAMES.items(), ids=NAMES)
def test_names(name, meaning):
    assert meaning_of(name) == meaning


@pytest.mark.parametrize("name", NOTHING)
def test_other_names_mean_nothing_here(name):
    assert meaning_of(name) is None


COLUMNS = {"A(Fe)": 7.3, "[Fe/H]": -0.2, "logAge": 9.7, "fe_h": 0.1, "fe_h_1": 0.4,
           "V": 4.0}  # fmt: skip
EXPRESSIONS = {
    "A(Fe)-7.50": -0.2,
    "a(fe) - 7.5": -0.2,
    "10**logAge": 10.0**9.7,
    "[Fe/H]": -0.2,
    "-fe_h": -0.1,
    "fe_h_1+fe_h": 0.5,
    "sqrt(V)": 2.0,
    "1/sqrt(V)": 0.5,
    "(fe_h - 1) * 2": -1.8,
    "2 - 1 - fe_h": 0.9,
    "V/2/2": 1.0,
    "1e-1*V": 0.4,
}


@pytest.mark.parametrize(("text", "value"), EXPRESSIONS.items(), ids=EXPRESSIONS)
def test_expressions(text, value):
    expression = parse_expression(text, {name.lower(): name for name in COLUMNS})
    values = {name: np.array([x]) for name, x in COLUMNS.items()}
    assert expression.evaluate(values)[0] == pytest.approx(value)


WRONG = ["fe_h**2", "fe_h-", "(fe_h", "fe_h)", "fe_h fe_h", "3+4", "x", "fe_h_2",
         "__class__", "sqrt fe_h", "().__class__", "fe_h;1", "fe_h if 1 else 2",
         "1" * 500, "(" * 300]  # fmt: skip


@pytest.mark.parametrize("text", WRONG, ids=range(len(WRONG)))
def test_no_expressions(text):
    with pytest.raises(CatalogError, match="columns"):
        parse_expression(text, {"fe_h": "fe_h"})


def test_errors_of_an_expression():
    names = {"a": "a", "b": "b"}
    values = {"a": np.array([1.0, 2.0]), "b": np.array([0.5, 4.0])}
    errors = {"a": np.array([0.3, 0.1]), "b": np.array([0.4, 0.2])}
    added = parse_expression("a+b", names).error(values, errors)
    np.testing.assert_allclose(added, [0.5, np.hypot(0.1, 0.2)])
    scaled = parse_expression("a*10", names).error(values, errors)
    np.testing.assert_allclose(scaled, [3.0, 1.0])


def test_cosmic_time():
    """Planck 2015: the end of the model's time is today; wind particles have none."""
    times = cosmic_time(np.array([1.0, 0.5, -0.3, 1.2, np.nan]))
    np.testing.assert_allclose(times[:2], [T_END, 5.86], atol=0.01)
    assert np.isnan(times[2:]).all()
    assert (np.diff(cosmic_time(np.linspace(0.05, 1.0, 50))) > 0).all()
