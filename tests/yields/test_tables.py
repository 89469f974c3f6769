"""Yield sets by name: the published numbers."""

import logging

import h5py
import jax
import numpy as np
import pytest

from chemsbi_jax.constants import ELEMENTS
from chemsbi_jax.yields import load_yields
from chemsbi_jax.yields.mass_bins import StellarModels, bin_models
from helpers.paths import TOY

FE = ELEMENTS.index("Fe")


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def derived(data):
    return np.load(data / "yields/alternative/derived_tables.npz")


def test_tng_edges_and_metallicities(data):
    yields = load_yields("tng")
    np.testing.assert_allclose(
        yields.sn2.mass_edges,
        [100, 80, 50, 35, 27.5, 22.5, 19, 16.5, 14, 12.5, 10.5, 8.5, 8],
    )
    agb = [8, 7.25, 6.5, 5.75, 5.25, 4.75, 4.25, 3.75, 3.25, 2.75, 2.375, 2.125, 1.95]
    agb += [1.825, 1.625, 1.375, 1.125, 1]
    np.testing.assert_allclose(yields.agb.mass_edges, agb, rtol=1e-7)  # float32 file
    np.testing.assert_allclose(
        10**yields.sn2.log10_metallicity, [1e-10, 0.001, 0.004, 0.02], rtol=1e-6
    )
    np.testing.assert_allclose(
        10**yields.agb.log10_metallicity, [1e-4, 0.004, 0.008, 0.02], rtol=1e-6
    )


def test_tng_sn_ia(data):
    ejecta, mass = load_yields("tng").sn_ia
    published = {"C": 0.0483014, "Fe": 0.743463, "H": 0, "He": 0, "Mg": 8.57230e-3}
    published |= {"N": 1.16132e-6, "Ne": 4.51846e-3, "O": 0.143, "Si": 0.152601}
    expected = [published[e] for e in ELEMENTS]
    np.testing.assert_allclose(ejecta, expected, rtol=1e-6)
    assert float(mass) == pytest.approx(1.3743416, abs=1e-7)


def test_tng_reads_each_star_from_its_own_column(data):
    sn2 = load_yields("tng").sn2
    with h5py.File(data / "yields/tng/SNII.hdf5") as file:
        table = file["Yields/Z_0.004"]
        star = list(file["Masses"]).index(25.0)
        iron = table["Yield"][10, star] / 25.0
        ejected = table["Ejected_mass"][star] / 25.0
    edges = np.asarray(sn2.mass_edges)
    b = int(np.flatnonzero((edges[:-1] > 25.0) & (edges[1:] < 25.0))[0])
    assert float(sn2.net[2, b, FE]) == pytest.approx(iron, rel=1e-6)
    assert float(sn2.unprocessed[2, b]) == pytest.approx(ejected, abs=6e-4)


def test_tng_conserves_mass(data):
    """Net yields over all species sum to 0; S and Ca, untraced, are at most 2 %."""
    for source in load_yields("tng")[:2]:
        returned = source.net.sum(axis=-1) + source.unprocessed
        assert (np.abs(source.net.sum(axis=-1)) < 0.02).all()
        assert (returned > 0.0).all()
        assert (returned < 1.0).all()


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("alternative", "agb_net_and_unprocessed_corrected"),
        ("alternative-reference", "agb_net_and_unprocessed"),
    ],
)
def test_alternative_agrees_with_the_derived_tables(name, field, derived):
    yields = load_yields(name)
    for source, prefix in ((yields.sn2, "sn2"), (yields.agb, "agb")):
        np.testing.assert_allclose(source.mass_edges, derived[f"{prefix}_edges"])
        np.testing.assert_allclose(
            source.log10_metallicity, derived[f"{prefix}_log10Z"], rtol=1e-12
        )
    sn2 = derived["sn2_net_and_unprocessed"]
    np.testing.assert_array_equal(yields.sn2.net, sn2[..., :9])
    np.testing.assert_array_equal(yields.sn2.unprocessed, sn2[..., 9])
    np.testing.assert_allclose(yields.agb.unprocessed, derived[field][..., 9])
    # the compositions reconstructed for Z = 0.007 and 0.014 hold six digits: 1e-7 of
    # the gas, which is more than 1e-6 of the smallest net yields
    np.testing.assert_allclose(yields.agb.net, derived[field][..., :9], atol=1e-7)
    np.testing.assert_allclose(
        yields.agb.net[jax.numpy.array([0, 3])],
        derived[field][[0, 3], :, :9],
        atol=1e-15,
    )


def test_alternative_sn_ia(derived):
    ejecta, mass = load_yields("alternative").sn_ia
    assert float(mass) == derived["snia_mass"]
    np.testing.assert_allclose(
        ejecta / mass, derived["snia_mass_fractions"], rtol=1e-12
    )


def test_alternative_says_which_composition_it_takes(
    data, caplog, monkeypatch, tmp_path
):
    with caplog.at_level(logging.INFO, logger="chemsbi_jax"):
        rebuilt = load_yields("alternative")
    said = [m for m in caplog.messages if "reconstructed" in m]
    assert len(said) == 2
    assert "surf_z007.dat is not in the data folder" in said[0]

    # a folder that has the file, here with the contents of another metallicity
    for file in (data / "yields").rglob("*.*"):
        target = tmp_path / file.relative_to(data)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)
    folder = tmp_path / "yields/alternative/karakas2016"
    (folder / "surf_z014.dat").symlink_to(folder / "surf_z03_first90lines.dat")
    monkeypatch.setenv("CHEMSBI_DATA", str(tmp_path))
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="chemsbi_jax"):
        original = load_yields("alternative")
    assert f"composition from {folder / 'surf_z014.dat'}" in caplog.text
    changed = np.abs(original.agb.net - rebuilt.agb.net).max(axis=(1, 2)) > 1e-4
    assert changed.tolist() == [False, False, True, False]


def test_default_precision(data):
    with jax.enable_x64(False):
        leaves = jax.tree.leaves(load_yields("tng")) + jax.tree.leaves(load_yields(TOY))
    assert {leaf.dtype for leaf in leaves} == {np.dtype("float32")}


def test_bins_of_unlike_metallicities_keep_every_stars_yield():
    def models(z, masses):
        masses = np.array(masses)
        net = masses[:, None] * np.ones(len(ELEMENTS))
        return StellarModels(z, masses, net, masses + z)

    poor, rich = models(0.0, [1.0, 3.0, 9.0]), models(0.01, [2.0, 1.0, 4.0])
    source = bin_models([rich, poor], 1.0, 8.0)  # 9 is above the range
    assert source.log10_metallicity.tolist() == [-10.0, -2.0]
    assert source.mass_edges.tolist() == [8.0, 3.0, 2.0, 1.5, 1.0]
    assert source.net[0, :, 0].tolist() == [3.0, 3.0, 1.0, 1.0]
    assert source.net[1, :, 0].tolist() == [4.0, 2.0, 2.0, 1.0]
    assert source.unprocessed[1].tolist() == [4.01, 2.01, 2.01, 1.01]


def test_unknown_name():
    with pytest.raises(ValueError, match="'tgn'.*tng, alternative, alternative-refer"):
        load_yields("tgn")
