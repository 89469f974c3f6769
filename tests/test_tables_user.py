"""A user's own yield table: how it is read, and what is said of a broken one."""

import copy
import json
import logging
from pathlib import Path

import jax
import numpy as np
import pytest

from chemsbi_jax.constants import ELEMENTS
from chemsbi_jax.yields import load_yields

TOY = Path(__file__).parent / "toy_yields.json"
FE, H, HE = (ELEMENTS.index(e) for e in ("Fe", "H", "He"))


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def test_user_table_is_read_per_unit_mass():
    yields = load_yields(TOY)
    assert yields.sn2.mass_edges.tolist() == [100.0, 30.0, 15.0, 8.0]
    assert yields.agb.mass_edges.tolist() == [8.0, 4.5, 2.25, 1.0]
    assert yields.sn2.log10_metallicity[0] == -10.0
    # heaviest first: oxygen of 40 Msun at Z = 0.02, hydrogen of 6 Msun at Z = 0.001
    oxygen = yields.sn2.net[2, 0, ELEMENTS.index("O")]
    assert float(oxygen) == pytest.approx(4.727273 / 40.0)
    assert float(yields.agb.net[0, 0, H]) == pytest.approx(-0.479103 / 6.0)
    assert float(yields.sn2.unprocessed[0, 2]) == pytest.approx(0.86)
    assert float(yields.sn_ia.mass) == 1.374
    assert float(yields.sn_ia.ejecta[FE]) == 0.899999


def test_toy_table_conserves_mass_exactly():
    yields = load_yields(str(TOY))
    for source in yields[:2]:
        np.testing.assert_allclose(source.net.sum(axis=-1), 0.0, atol=1e-15)
        metals = np.delete(np.asarray(source.net), [H, HE], axis=-1)
        assert (metals > 0.0).all()
        assert (source.net[..., H] < 0.0).all()
    np.testing.assert_allclose(yields.sn_ia.ejecta.sum(), yields.sn_ia.mass)


def _without(*keys):
    def edit(table):
        for key in keys[:-1]:
            table = table[key]
        del table[keys[-1]]

    return edit


def _with(value, *keys):
    def edit(table):
        for key in keys[:-1]:
            table = table[key]
        table[keys[-1]] = value

    return edit


BROKEN = {
    "missing source": (_without("agb"), "agb: missing key; got the keys note, sn2"),
    "missing key": (_without("sn2", "masses"), "sn2.masses: missing key"),
    "missing element": (_without("agb", "net", "He"), "agb.net.He: missing key"),
    "missing mass": (_without("sn_ia", "mass"), "sn_ia.mass: missing key"),
    "not an object": (_with([1, 2], "sn_ia"), r"sn_ia: expected an object.*\[1, 2\]"),
    "wrong shape": (
        _with([[1.0, 2.0]], "sn2", "net", "C"),
        r"sn2.net.C: expected 3 x 3 finite numbers; got shape \(1, 2\)",
    ),
    "ragged": (
        _with([[1.0, 2.0], [1.0]], "agb", "ejected"),
        r"agb.ejected: expected 2 x 3 finite numbers; got \[\[1.0, 2.0\], \[1.0\]\]",
    ),
    "empty": (_with([], "sn2", "masses"), "sn2.masses: expected n finite numbers"),
    "text": (_with("heavy", "sn_ia", "mass"), "sn_ia.mass: expected one .*'heavy'"),
    "NaN": (_with(float("nan"), "sn2", "net", "O", 1, 2), "sn2.net.O: .* got nan"),
    "null": (_with(None, "agb", "net", "N", 0, 0), "agb.net.N: .* got nan"),
    "infinite": (_with(float("inf"), "sn_ia", "ejecta", "C"), "ejecta.C: .* got inf"),
    "unsorted metallicities": (
        _with([0.0, 0.02, 0.004], "sn2", "metallicities"),
        "sn2.metallicities: expected ascending .* got .*0.02, 0.004",
    ),
    "duplicate metallicities": (
        _with([0.02, 0.02], "agb", "metallicities"),
        "agb.metallicities: expected ascending numbers, each once",
    ),
    "logarithmic metallicities": (
        _with([-4.0, -1.7], "agb", "metallicities"),
        "agb.metallicities: expected mass fractions .* got -4.0",
    ),
    "percent metallicities": (
        _with([0.1, 2.0], "agb", "metallicities"),
        "agb.metallicities: expected mass fractions .* got 2.0",
    ),
    "negative mass": (
        _with([-10.0, 20.0, 40.0], "sn2", "masses"),
        "sn2.masses: expected positive masses .* got -10.0",
    ),
    "masses out of range": (
        _with([9.0, 10.0, 11.0], "agb", "masses"),
        "agb.masses: expected masses from 1 to 8 Msun; got 9 to 11",
    ),
    "unknown element": (
        _with([[0.0] * 3] * 3, "sn2", "net", "Xx"),
        "sn2.net: expected the elements C, Fe, H.* got 'Xx'",
    ),
    "more than the star": (
        _with(41.0, "sn2", "ejected", 1, 2),
        "sn2.ejected: expected 0 to 40.0 Msun .* got 41.0",
    ),
    "negative ejected mass": (
        _with(-1.0, "agb", "ejected", 0, 0),
        "agb.ejected: .* -1.0",
    ),
    "more than ejected": (
        _with(9.0, "sn2", "net", "Si", 0, 0),
        "sn2.net.Si: expected at most the 8.6 Msun ejected; got 9.0",
    ),
    "negative SN Ia": (_with(-0.1, "sn_ia", "ejecta", "O"), "sn_ia.ejecta: .* -0.1"),
    "light SN Ia": (_with(0.9, "sn_ia", "mass"), "sn_ia.mass: .*1.374 .* got 0.9"),
}


@pytest.mark.parametrize(("edit", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_user_table(edit, message, tmp_path):
    table = copy.deepcopy(json.loads(TOY.read_text()))
    edit(table)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match=f"mine.json: .*{message}"):
        load_yields(path)


UNREADABLE = {
    "not JSON": (b"C = 0.1, O = 0.2", "expected a JSON file"),
    "binary": (b"\x89HDF\r\n\xff", "expected a JSON file"),
    "not an object": (b"[1, 2]", "the file: expected an object"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE)
def test_unreadable_user_table(content, message, tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=f"mine.json: {message}"):
        load_yields(str(path))


def test_missing_user_table(tmp_path):
    with pytest.raises(ValueError, match="none.json: cannot read .*No such file"):
        load_yields(tmp_path / "none.json")


def test_masses_out_of_range_are_dropped(tmp_path, caplog):
    table = json.loads(TOY.read_text())
    table["agb"]["masses"] = [0.9, 3.0, 6.0]
    for row in table["agb"]["ejected"]:
        row[0] = 0.4
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table))
    with caplog.at_level(logging.INFO, logger="chemsbi_jax"):
        yields = load_yields(path)
    assert yields.agb.mass_edges.tolist() == [8.0, 4.5, 1.0]
    assert "masses [0.9] are not used" in caplog.text
