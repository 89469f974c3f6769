"""Tables with [X/H] of some elements and [X/Fe] of others, or with both of one."""

import numpy as np

from chemsbi_jax.catalog import read_stars, write_stars
from chemsbi_jax.constants import ABUNDANCES
from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import COLUMNS, N, read, renamed, star_table, write


def over_h():
    table = star_table()
    for name in COLUMNS[1:]:
        table[name] = np.round(table[name] + table["fe_h"], 6)
    names = {x: x.replace("_fe", "_h") for x in COLUMNS[1:]}
    return renamed(table, **names, **{f"e_{x}": f"e_{y}" for x, y in names.items()})


def test_over_h_without_iron_names_what_looks_like_it(tmp_path):
    table = renamed(over_h(), fe_h="m_h", e_fe_h="e_m_h")
    message = refusal(write(tmp_path, table))
    assert "--columns fe_h=m_h,e_fe_h=e_m_h" in message


def mixed():
    """[O/H] and [Si/H] beside [Mg/Fe]."""
    table = over_h()
    table["mg_h"] = star_table()["mg_fe"]
    return renamed(table, mg_h="MG_FE", e_mg_h="MG_FE_ERR")


def test_a_table_that_mixes_both_ratios_carries_each_error(tmp_path):
    """Only [X/Fe] that was made from [X/H] shares the error of [Fe/H]."""
    table = mixed()
    stars, report = read(write(tmp_path, table))
    e_iron = np.asarray(table["e_fe_h"])
    for name in COLUMNS:
        np.testing.assert_allclose(
            stars.values[:, I[name]], star_table()[name], atol=1e-6
        )
    made = ["o_fe", "si_fe"]
    for name in ABUNDANCES:
        expected = e_iron**2 if name in made else np.zeros(N)
        np.testing.assert_allclose(stars.fe_covariance[:, I[name]], expected)
    for name in made:
        e_over_h = table[f"e_{name.replace('_fe', '_h')}"]
        np.testing.assert_allclose(stars.errors[:, I[name]], np.hypot(e_over_h, e_iron))
    np.testing.assert_allclose(stars.errors[:, I["mg_fe"]], table["MG_FE_ERR"])
    text = report.text()
    assert "[X/H] - [Fe/H] for o_h, si_h" in text
    assert "gives [X/Fe] itself for mg_fe" in text
    write_stars(tmp_path / "again.ecsv", stars)
    again = read_stars(tmp_path / "again.ecsv")
    np.testing.assert_allclose(again.fe_covariance, stars.fe_covariance)
    part = again.take([2, 0])
    np.testing.assert_allclose(part.fe_covariance, stars.fe_covariance[[2, 0]])


def both():
    """[O/H] beside [O/Fe]."""
    table = star_table()
    table["O_H"] = np.round(table["o_fe"] + table["fe_h"], 2)
    table["E_O_H"] = 0.05
    return renamed(table, o_fe="O_FE", e_o_fe="E_O_FE")


def test_both_ratios_of_one_element_that_agree(tmp_path):
    table = both()
    stars, report = read(write(tmp_path, table))
    assert_same(stars)
    assert "Not read, as O_FE holds the same: O_H." in report.text()
    assert report.warnings == ()
    table["O_FE"] = np.where(np.arange(N) < 7, np.nan, table["O_FE"])
    (warning,) = read(write(tmp_path, table, "b.csv")).report.warnings
    assert "7 rows have O_H and no O_FE" in warning
    assert "--columns o_h=O_H" in warning


def test_both_ratios_of_one_element_that_differ_are_refused(tmp_path):
    table = both()
    table["O_H"] += 0.1
    table["O_H"][0] = 9.99  # missing, and not the largest difference
    path = write(tmp_path, table)
    message = refusal(path)
    for part in ("'O_FE' and 'O_H'", "39 rows", "o_fe=O_FE", "o_h=O_H", "--without"):
        assert part in message
    assert_same(read(path, columns="o_fe=O_FE").stars)
    table["O_H"][0] = table["O_H"][1]
    path = write(tmp_path, table, "b.csv")
    stars = read(path, columns="o_h=O_H,e_o_h=E_O_H").stars
    np.testing.assert_allclose(stars.values[:, I["o_fe"]], table["O_H"] - table["fe_h"])
    assert not read(path, without="o_fe").stars.observed[:, I["o_fe"]].any()
