"""A user's own yield table: how it is read, and what is said of a broken one."""

import copy
import json
import logging

import jax
import numpy as np
import pytest

from chemsbi_jax.constants import ELEMENTS
from chemsbi_jax.yields import load_yields
from helpers.broken_yields import BROKEN, UNREADABLE
from helpers.paths import TOY

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


@pytest.mark.parametrize(("edit", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_user_table(edit, message, tmp_path):
    table = copy.deepcopy(json.loads(TOY.read_text()))
    edit(table)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table))
    with pytest.raises(ValueError, match=f"mine.json: .*{message}"):
        load_yields(path)


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
