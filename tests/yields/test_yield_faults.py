"""Faults of the published tables: each is found by a closure test or by agreement."""

import numpy as np
import pytest

from chemsbi_jax.yields import YieldsError, crimsons, galcem, load_part, vice
from chemsbi_jax.yields.closure import find_faults
from chemsbi_jax.yields.packages import vice_tables
from chemsbi_jax.yields.parts import from_gross, from_net
from helpers.vice import needs_vice


def test_crimsons_lost_leading_digits_of_hydrogen():
    """Solar, 300 km/s: 60, 80 and 120 Msun lack 10, 10 and 30 Msun."""
    raw = crimsons.limongi(300, repaired=False).models[-1]
    other = galcem.limongi("r", 300).models[-1]
    np.testing.assert_allclose(
        other.ejected - raw.ejected, [0] * 6 + [10, 10, 30], atol=0.02
    )
    repaired = crimsons.limongi(300).models[-1]
    np.testing.assert_allclose(other.ejected, repaired.ejected, atol=0.02)


def test_crimsons_calls_cdd2_by_the_name_of_cdd1():
    theirs = crimsons.iwamoto("cdd2")  # what the file labels CDD1
    iron = theirs.models[0].gross[0, theirs.elements.index("Fe")]
    cdd1, cdd2 = (
        p.models[0].gross[0, p.elements.index("Fe")]
        for p in (galcem.iwamoto("cdd1"), galcem.iwamoto("cdd2"))
    )
    assert iron == pytest.approx(cdd2, rel=0.001) == pytest.approx(0.8345, abs=1e-4)
    assert cdd1 == pytest.approx(0.648, abs=1e-3)
    with pytest.raises(YieldsError, match="Expected a model of w7, .*got 'cdd1'"):
        crimsons.iwamoto("cdd1")


def test_crimsons_labels_are_not_the_metallicities():
    label = crimsons.limongi(0).models[2].metallicity
    assert label == pytest.approx(0.00142)
    z = galcem.limongi("r", 0).models[2].metallicity
    assert z == pytest.approx(0.003236, rel=1e-3)


def test_nomoto_without_the_wind():
    """The file has the explosion alone: 20 of 40 Msun at Z = 0.02 would be left."""
    part = load_part("nkt13")
    elements, masses, z, table = crimsons._read("SNII/Nomoto13_PopII")
    model = part.models[3]
    bare = from_gross(0.02, masses, model.initial, table[3])
    assert masses[-1] - bare.ejected[-1] == pytest.approx(20.4, abs=0.1)
    faults = find_faults(part._replace(models=(bare,)))
    assert any(
        "40 Msun explode, but leave 20.4 Msun, as if there were no wind" in f
        for f in faults
    )
    # repaired: 37.8 Msun ejected
    assert model.ejected[-1] == pytest.approx(37.79)


def test_nomoto_totals_are_not_net_yields():
    """Fe of 20 Msun at Z = 0.02 is 0.062 Msun, not the 0.094 of the total."""
    part = load_part("nkt13")
    model, iron = part.models[3], part.elements.index("Fe")
    assert model.net[3, iron] == pytest.approx(0.062, abs=0.001)
    _, masses, _, table = crimsons._read("SNII/Nomoto13_PopII")
    assert table[3][3, iron] == pytest.approx(0.094, abs=0.001)
    wrong = from_net(0.02, masses, model.initial, table[3], model.ejected)
    faults = find_faults(part._replace(models=(wrong,)))
    assert any("of hydrogen" in fault for fault in faults)
    assert any("net yields of 40 Msun sum to" in fault for fault in faults)


@needs_vice
def test_karakas_2016_of_vice_makes_iron():
    faults = find_faults(vice.karakas16())
    makers = [f for f in faults if "of iron" in f]
    assert {f.split(":")[0] for f in makers} >= {"Z = 0.007", "Z = 0.014"}
    with pytest.raises(
        YieldsError, match="k16: this AGB table .* is broken: .* of iron"
    ):
        load_part("k16")


@needs_vice
def test_birth_composition_of_chieffi_and_limongi_2004_in_vice():
    """[M/H] = 0.15: the mass fractions of helium and metals sum to 1.34."""
    text = vice_tables()["ccsne/CL04/FeH0p15/birth_composition.dat"]
    born = vice._birth_composition(text)
    assert sum(born.values()) == pytest.approx(1.34, abs=0.02)
    part = load_part("s16w18")
    model = part.models[0]
    initial = np.array([born.get(e, 0.0) for e in part.elements])
    broken = part._replace(models=(model._replace(initial=initial),))
    assert any("at birth sum to 1.3" in fault for fault in find_faults(broken))


def test_two_models_of_one_mass():
    """Karakas 2010 has 6 Msun twice at Z = 1e-4; their sum would be 10 of 6 Msun."""
    path = galcem._folder("lims", "k10", "Z0.0001.dat")
    final = {line.split(",")[2].strip() for line in path.read_text().splitlines()
             if line.startswith("6.0")}  # fmt: skip
    assert final == {"1.008", "1.006"}
    part = load_part("k10")
    model = part.models[0]
    assert model.ejected[-1] == pytest.approx(6.0 - 1.008)
    double = model.ejected.copy()
    double[-1] += 6.0 - 1.006
    faults = find_faults(part._replace(models=(model._replace(ejected=double),)))
    assert "Z = 0.0001: 6 Msun eject 9.99 Msun" in faults


def test_a_mass_cut_inside_of_the_neutron_star(monkeypatch):
    """Limongi & Chieffi, sets I and F, 15 Msun, solar, 150 km/s: 1.35 Msun of Ni."""
    sound = load_part("lc18i_v150")  # before the patch: parts are loaded once
    monkeypatch.setattr(galcem, "CUT_TOO_DEEP", set())
    part = galcem.limongi("i", 150)
    i = list(part.models[-1].masses).index(15.0)
    assert part.models[-1].net[i, part.elements.index("Ni")] > 1.3
    faults = find_faults(part)
    assert faults == ["Z = 0.01345: 15 Msun leave 0.879 Msun, less than a neutron star"]
    assert 15.0 not in sound.models[-1].masses
    assert 15.0 in load_part("lc18r_v150").models[-1].masses


def test_rough_remnants_are_found():
    part = load_part("k10")
    model = part.models[-1]
    ejected = model.ejected.copy()
    ejected[8] -= 1.0  # Msun, of 3
    faults = find_faults(part._replace(models=(model._replace(ejected=ejected),)))
    assert any("3 Msun leave 1.68 Msun, their neighbours 0.6" in f for f in faults)
