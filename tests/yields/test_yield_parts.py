"""Parts of yield sets by name: closure, agreement of the packages, wrong names."""

import os
import tarfile

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.errors import InputError
from chemsbi_jax.yields import PARTS, YieldsError, crimsons, galcem, load_part, vice
from chemsbi_jax.yields.closure import checked, find_faults
from chemsbi_jax.yields.elements import SIXTEEN, Elements, in_order
from chemsbi_jax.yields.packages import packaged, vice_tables
from chemsbi_jax.yields.parts import Part, to_source
from helpers.vice import OF_VICE, needs_vice

REFUSED = {"k16"}


def named(names):
    return [
        pytest.param(name, marks=needs_vice if name in OF_VICE else ())
        for name in sorted(names)
    ]


@pytest.mark.parametrize("name", named(set(PARTS) - REFUSED))
def test_closure(name):
    """What is ejected is the star minus a remnant, and the sum of its elements."""
    part = load_part(name)
    assert part.name == name
    assert part.channel == PARTS[name].channel
    assert part.paper
    assert find_faults(part) == []
    for m in part.models:
        known = np.isfinite(m.gross).all()
        if known:  # rounding of tables with 3 to 5 digits
            np.testing.assert_allclose(m.gross.sum(axis=1), m.ejected, rtol=0.01)
            born = m.initial * m.ejected[:, None]
            scale = np.abs(m.gross).max()
            np.testing.assert_allclose(m.gross - born, m.net, atol=0.01 * scale)


def test_all_channels_have_many_parts():
    channels = [entry.channel for entry in PARTS.values()]
    local = [entry.channel for n, entry in PARTS.items() if n not in OF_VICE]
    assert local.count("sn2") == 14
    assert local.count("sn_ia") == 7
    assert channels.count("sn2") == 17
    assert channels.count("agb") == 4
    assert channels.count("sn_ia") == 7 + 17 + 44


@pytest.mark.parametrize("velocity", [0, 150, 300])
def test_two_packages_agree_on_limongi_and_chieffi(velocity):
    """To the third digit, and 0.02 Msun in all that is ejected."""
    ours, other = galcem.limongi("r", velocity), crimsons.limongi(velocity)
    both = [e for e in other.elements if e in ours.elements]
    for a, b in zip(ours.models, other.models, strict=True):
        np.testing.assert_allclose(a.masses, b.masses)
        for e in ("H", "He", "C", "N", "O", "Mg", "Si", "Fe"):
            x, y = (m.gross[:, p.elements.index(e)] for m, p in ((a, ours), (b, other)))
            np.testing.assert_allclose(x, y, rtol=0.013, atol=5e-5, err_msg=e)
        np.testing.assert_allclose(a.ejected, b.ejected, atol=0.02)
    assert len(both) == 30


@pytest.mark.parametrize("model", ["w7", "w70", "wdd1", "wdd2", "wdd3", "cdd2"])
def test_two_packages_agree_on_iwamoto(model):
    ours, other = galcem.iwamoto(model), crimsons.iwamoto(model)
    theirs = dict(zip(other.elements, other.models[0].gross[0], strict=True))
    for e, mass in zip(ours.elements, ours.models[0].gross[0], strict=True):
        assert mass == pytest.approx(theirs[e], rel=0.005), e


@needs_vice
@pytest.mark.parametrize("model", ["w7", "w70", "wdd1", "wdd2", "wdd3", "cdd1", "cdd2"])
def test_vice_agrees_on_iwamoto(model):
    ours = galcem.iwamoto(model)
    other = vice.sn_ia(f"iwamoto99/{model.upper()}", model, "")
    theirs = dict(zip(other.elements, other.models[0].gross[0], strict=True))
    for e, mass in zip(ours.elements, ours.models[0].gross[0], strict=True):
        assert mass == pytest.approx(theirs[e], rel=0.005), e


@needs_vice
def test_vice_agrees_on_karakas():
    ours = load_part("k10")
    symbols, masses, _, net = vice._agb_grid("karakas10", None)
    for model, table in zip(ours.models, net, strict=True):
        # at Z = 1e-4 VICE has the sum of two models of 6 Msun
        kept = masses < (6.0 if model.metallicity < 0.001 else 6.1)
        common = [m for m in model.masses if m in masses[kept]]
        assert len(common) >= 12
        for e in ("C", "N", "O", "Ne", "Mg", "Si"):
            x = [model.net[list(model.masses).index(m), ours.elements.index(e)]
                 for m in common]  # fmt: skip
            y = [table[list(masses).index(m), symbols.index(e)] for m in common]
            np.testing.assert_allclose(x, y, rtol=0.01, atol=2e-6, err_msg=e)


@pytest.mark.tables
def test_nomoto_agrees_with_the_net_yields_of_chempy(data):
    """Found from gross yields, X0 and remnants; Chempy has them from the authors."""
    part = load_part("nkt13")
    folder = data / "yields/alternative/nomoto2013"
    for i, model in enumerate(part.models[::-1]):
        table = np.load(folder / f"nomoto_net_met_ind_{i}.npy", allow_pickle=False)
        for e in SIXTEEN:
            net = model.net[:, part.elements.index(e)] / model.masses
            # four digits of the helium at birth
            np.testing.assert_allclose(net, table[e], rtol=1e-3, atol=1e-4, err_msg=e)
        ejected = table["unprocessed_mass_in_winds"]
        np.testing.assert_allclose(model.ejected / model.masses, ejected, rtol=1e-5)


def test_agb_stars_return_what_their_table_lacks():
    part = load_part("k10")
    assert "Ca" not in part.elements
    source = to_source(part, SIXTEEN)
    assert (source.net[..., SIXTEEN.index("Ca")] == 0.0).all()
    assert (source.net[..., SIXTEEN.index("N")] != 0.0).any()


@needs_vice
def test_fruity_leaves_the_heavy_elements_nearly_as_they_were():
    """Why a missing net yield of these is taken as 0 (`parts.UNTOUCHED_BY_AGB`)."""
    part = load_part("c15")
    for model in part.models:
        limit = 0.04 if model.metallicity >= 0.002 else 0.10
        for e in ("S", "Ca", "Ti", "Mn", "Fe", "Ni"):
            i = part.elements.index(e)
            assert np.abs(model.net[:, i] / model.gross[:, i]).max() < limit, e


def test_metallicity_is_the_sum_of_the_initial_metals():
    """Alpha-enhanced stars: not the label .0142 * 10^[Fe/H] of crimsons."""
    z = [m.metallicity for m in load_part("lc18r_v0").models]
    np.testing.assert_allclose(z, [3.24e-5, 3.236e-4, 3.236e-3, 1.345e-2], rtol=2e-3)


# Wrong names, missing tables


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nkt31+k10+w7", r"Expected a core-collapse part \(nkt13, .*got 'nkt31'"),
        ("nkt13+w7+k10", "Expected an AGB part .*got 'w7', which is SN Ia"),
        ("nkt13+k10", "Expected yields of three parts .* got 2"),
        ("lc18r", "Unknown yields 'lc18r': .*near the name: lc18r_v"),
        ("nkt13+k10+w8", r"Expected a SN Ia part \(w7,.*list_yields"),
    ],
)
def test_unknown_names(name, message):
    with pytest.raises(InputError, match=message):
        cs.load_yields(name)


def test_missing_package():
    with pytest.raises(
        YieldsError,
        match=r'no_such_package is not installed: pip install "chemsbi-jax\[yields\]"',
    ):
        packaged("no_such_package", "table.dat")
    with pytest.raises(YieldsError, match="no such table; expected the version"):
        packaged("crimsons", "yields", "none.h5")


def test_vice_is_not_named(monkeypatch):
    monkeypatch.delenv("CHEMSBI_VICE", raising=False)
    with pytest.raises(YieldsError, match="pip download .* and set CHEMSBI_VICE"):
        cs.load_yields("nkt13+k10+n100")


def test_a_folder_without_the_tables_of_vice(tmp_path):
    with pytest.raises(YieldsError, match="expected VICE's source.*got none"):
        cs.load_yields("nkt13+c15+w7", vice=tmp_path)
    with pytest.raises(YieldsError, match="none.tar.gz: cannot read VICE's archive"):
        vice_tables(tmp_path / "none.tar.gz")
    (tmp_path / "text.tar.gz").write_text("no archive")
    with pytest.raises(YieldsError, match="text.tar.gz: cannot read VICE's archive"):
        vice_tables(tmp_path / "text.tar.gz")
    with tarfile.open(tmp_path / "other.tar.gz", "w:gz") as archive:
        archive.add(__file__, "other-1.0/vice/yields/none.py")
    with pytest.raises(YieldsError, match="other.tar.gz: expected VICE's source"):
        vice_tables(tmp_path / "other.tar.gz")


@needs_vice
def test_vice_as_a_folder(tmp_path, monkeypatch):
    archive = os.environ["CHEMSBI_VICE"]
    if not os.path.isfile(archive):
        pytest.skip("CHEMSBI_VICE is a folder here")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path, filter="data")
    monkeypatch.delenv("CHEMSBI_VICE")
    (root,) = tmp_path.iterdir()
    for folder in (root, root / "vice", root / "vice" / "yields"):
        assert vice_tables(folder) == vice_tables(type(root)(archive))


def test_a_part_without_an_element():
    part = load_part("nkt13")
    i = part.elements.index("Na")
    models = tuple(
        m._replace(
            net=np.delete(m.net, i, 1),
            gross=np.delete(m.gross, i, 1),
            initial=np.delete(m.initial, i),
        )
        for m in part.models
    )
    rest = tuple(e for e in part.elements if e != "Na")
    poorer = part._replace(elements=rest, models=models)
    with pytest.raises(YieldsError, match="nkt13: this core-collapse .* has no Na"):
        to_source(poorer, SIXTEEN)


@pytest.mark.parametrize(
    ("elements", "message"),
    [
        (("H", "He", "Fe", "Ba"), "got 'Ba'"),
        (("H", "He", "O"), "got no Fe"),
        (("He", "Fe"), "got no H"),
    ],
)
def test_elements_that_no_set_can_have(elements, message):
    with pytest.raises(InputError, match=message):
        cs.load_yields("nkt13+k10+w7", elements)


@pytest.mark.tables
def test_tng_does_not_have_sodium(data):
    with pytest.raises(InputError, match=r"this yield set \(C, Fe, .*'Na'"):
        cs.load_yields("tng", ("H", "He", "Fe", "Na"))


def test_elements_have_one_order():
    assert in_order(["Fe", "Na", "H", "He"]) == ("Fe", "H", "He", "Na")
    assert isinstance(in_order(SIXTEEN), Elements)
    assert SIXTEEN[:9] == cs.constants.ELEMENTS


def test_list_of_yields():
    records = {r.name: r for r in cs.list_yields()}
    assert set(records) == {"tng", "alternative", "alternative-reference", *PARTS}
    nomoto = records["nkt13"]
    assert nomoto.available
    assert nomoto.masses == (13, 15, 18, 20, 25, 30, 40)
    assert nomoto.metallicities == (0.001, 0.004, 0.008, 0.02, 0.05)
    assert nomoto.elements == tuple(SIXTEEN)
    assert "ARA&A" in nomoto.paper
    assert "crimsons" in nomoto.source
    assert nomoto.note == ""
    assert records["k10"].note.startswith("net yields of Ca, Ti, Mn are taken as 0")
    assert not records["k16"].available
    assert records["k16"].note


def test_a_broken_closure_is_refused():
    part = galcem.karakas()
    first = part.models[0]
    broken = part._replace(models=(first._replace(ejected=first.ejected * 1.05),))
    with pytest.raises(YieldsError, match="k10: this AGB table .* is broken: Z"):
        checked(broken)
    assert isinstance(checked(part), Part)
