"""Elements belong to the yield set: the whole chain with 4 and with 15 abundances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax import plots
from chemsbi_jax.catalog import read_catalog, read_stars, write_stars
from chemsbi_jax.cli.flags import (
    InferFlags,
)
from chemsbi_jax.cli.infer import main as infer_command
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.emulator import save_emulator
from chemsbi_jax.errors import CatalogError, InputError
from chemsbi_jax.galaxy import any_yields
from chemsbi_jax.galaxy.any_yields import (
    EMULATOR_FOLDER,
    GUIDE,
    RECIPE,
    checksum,
    columns_to_read,
    emulators_folder,
    model_of_yields,
    needed_elements,
    require_abundances,
)
from chemsbi_jax.galaxy.guided import infer_guided
from chemsbi_jax.galaxy.likelihood import log_likelihood, observe
from chemsbi_jax.galaxy.networks import Networks, load_networks
from chemsbi_jax.npe import load_npe
from helpers.element_sets import TRUTH


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(EMULATOR_FOLDER, str(tmp_path / "emulators"))
    return tmp_path / "emulators"


FOUR = pytest.param(4, marks=pytest.mark.thorough)  # compiles another simulator


@pytest.mark.parametrize("n", [FOUR, 15])
def test_a_table_keeps_all_columns_of_its_set(n, sets, tables):
    names = cs.load_yields(sets[n]).abundances
    assert len(names) == n
    columns = [c for c in Table.read(tables[n]).colnames if c.endswith(("_fe", "_h"))]
    assert [c for c in columns if not c.startswith("e_")] == list(names)
    strict = read_stars(tables[n], abundances=names)
    catalog = read_catalog(tables[n], abundances=names)
    for stars in (strict, catalog.stars):
        assert stars.abundances == names
        assert stars.values.shape[1] == n
        assert stars.observed.all()
    assert not any("Not read" in note for note in catalog.report.notes)
    read = read_catalog(tables[n], abundances=columns_to_read(sets[n])).stars
    np.testing.assert_array_equal(read.select(names).values, strict.values)
    # the default columns stay the eight
    eight = read_stars(tables[n])
    assert eight.abundances == cs.ABUNDANCES
    assert eight.values.shape == (len(strict.values), 8)
    np.testing.assert_array_equal(strict.select(cs.ABUNDANCES).values, eight.values)


def test_elements_that_the_model_lacks_are_named(tables):
    notes = read_catalog(tables[15]).report.notes
    note = next(note for note in notes if "no such element" in note)
    assert "na_fe, al_fe, s_fe, ca_fe, ti_fe, mn_fe, ni_fe" in note
    assert "--yields" in note
    some = ("fe_h", "o_fe", "na_fe")
    note = next(
        note
        for note in read_catalog(tables[15], abundances=some).report.notes
        if "no such element" in note
    )
    assert ": al_fe, s_fe," in note


@pytest.mark.thorough
@pytest.mark.parametrize("n", [4, 15])
def test_the_chain_from_a_table_to_the_posterior(n, sets, tables, emulators, tmp_path):
    """Mock, table, emulator, files of weights, likelihood, posterior, figure."""
    emulator, rms = emulators[n]
    names = cs.load_yields(sets[n]).abundances
    assert emulator.abundances == names
    assert list(rms) == list(names)
    save_emulator(tmp_path, emulator, {"rms_dex": rms})
    again = cs.load_emulator(tmp_path)
    assert again.abundances == names
    theta = np.array([[*TRUTH, -0.3, 0.55, 0.5, 6.0]])
    np.testing.assert_array_equal(cs.emulate(theta, again), cs.emulate(theta, emulator))
    stars = read_stars(tables[n], abundances=names).take(slice(10))
    networks = Networks(load_npe(GUIDE), Partial(cs.emulate, emulator=again))
    posterior = infer_guided(jax.random.key(1), networks, stars).posterior
    # the emulator's error is a part of the noise of 0.05 dex
    pull = (np.asarray(posterior.mean) - TRUTH) / posterior.sd
    assert np.abs(pull).max() < 4.0
    prior_sd = [float(d.variance) ** 0.5 for d in tuple(networks.npe.prior)[:2]]
    assert (posterior.sd < 0.5 * np.array(prior_sd)).all()
    predicted = np.asarray(again.abundance_mean) + np.zeros((4, 10, n))
    figure = plots.plot_predictive(stars, predicted)
    shown = [ax.get_xlabel() for ax in figure.axes if ax.get_visible()]
    assert sum(bool(x) for x in shown) == n


@pytest.mark.slow  # compiles the whole of `infer` for each number of columns
@pytest.mark.parametrize("n", [4, 15])
def test_infer_reads_all_elements_of_the_yields(
    n, sets, tables, emulators, folder, tmp_path
):
    yields, (emulator, rms) = cs.load_yields(sets[n]), emulators[n]
    # as if an earlier run had trained it
    name = checksum(yields, cs.CLEAN, RECIPE)[: any_yields.N_HEX]
    save_emulator(emulators_folder() / name, emulator, {"rms_dex": rms})
    table = tmp_path / "few.ecsv"
    few = read_stars(tables[n], abundances=yields.abundances).take(slice(10))
    write_stars(table, few)
    flags = InferFlags(table, tmp_path / "out", yields=str(sets[n]), quiet=True)
    summary = infer_command(flags)
    assert list(summary["provenance"]["emulator_rms_dex"]) == list(yields.abundances)
    residuals = summary["checks"]["model_fit"]["mean_residual_dex"]
    assert list(residuals) == list(yields.abundances)
    found = [summary[k] for k in ("alpha_imf", "log10_n_ia")]
    pull = [(x["mean"] - t) / x["sd"] for x, t in zip(found, TRUTH, strict=True)]
    assert np.abs(pull).max() < 4.0


def test_every_abundance_counts(tables, sets):
    """The likelihood changes with each of the 15, and with none twice."""
    yields = cs.load_yields(sets[15])
    stars = read_stars(tables[15], abundances=yields.abundances).take(slice(1))
    theta = jnp.array([[*TRUTH, -0.3, 0.55, 0.5, 6.0]])
    clean = cs.simulate(theta, yields)

    def value(stars):
        return float(log_likelihood(lambda t: clean, theta, observe(stars))[0])

    whole = value(stars)
    away = ((stars.values - np.asarray(clean)) / stars.errors)[0]
    for i, name in enumerate(stars.abundances):
        others = [a for a in stars.abundances if a != name]
        gap = stars.select(others).select(stars.abundances)
        np.testing.assert_allclose(value(gap) - whole, 0.5 * away[i] ** 2, atol=1e-2)


def test_the_place_of_iron_follows_from_the_names(sets):
    """[X/H] with the error of [Fe/H] in common: the same likelihood in any order."""
    names = ("o_fe", "mg_fe", "fe_h")
    values = np.array([[0.2, 0.1, -0.3]])
    errors = np.array([[0.06, 0.07, 0.03]])
    stars = cs.Stars.complete(values, 0.05, names)
    stars = stars._replace(errors=errors, fe_covariance=np.array([0.03**2]))
    clean = np.array([[0.1, 0.15, -0.25]])
    covariance = np.diag([0.06**2, 0.07**2, 0.03**2])
    covariance[0, 1] = covariance[1, 0] = 0.03**2
    covariance[2, :2] = covariance[:2, 2] = -(0.03**2)
    offset = (clean - values)[0]
    expected = -0.5 * offset @ np.linalg.solve(covariance, offset)
    theta = jnp.array([[*TRUTH, -0.3, 0.55, 0.5, 6.0]])
    clean = jnp.asarray(clean)
    for order in (names, names[::-1], ("mg_fe", "fe_h", "o_fe")):
        columns = np.array([names.index(a) for a in order])
        model = clean[:, columns]
        found = log_likelihood(
            lambda t, m=model: m, theta, observe(stars.select(order))
        )
        np.testing.assert_allclose(float(found[0]), expected, rtol=1e-4)


def test_methods_that_need_a_flow_refuse_other_elements(tables, sets):
    names = cs.load_yields(sets[15]).abundances
    stars = read_stars(tables[15], abundances=names)
    for weights in ("tng", "tng-any", "auto"):
        with pytest.raises(CatalogError, match=r"got na_fe, al_fe.*--yields"):
            cs.infer(stars, weights=weights, quiet=True)
    npe, forward = load_networks("tng-any")
    for method in ("flow", "gaussian"):
        with pytest.raises(CatalogError, match=r"got na_fe, al_fe.*--yields"):
            cs.infer_galaxy(jax.random.key(0), npe, stars, method, forward=forward)
    with pytest.raises(InputError, match="forward model gives 8 abundances.*15"):
        cs.infer_galaxy(jax.random.key(0), npe, stars, "exact", forward=forward)
    with pytest.raises(InputError, match="auto, exact or robust"):
        cs.infer(stars, yields=sets[15], method="flow", quiet=True)
    with pytest.raises(InputError, match=r"four.json have no c_fe.*ni_fe.*--without"):
        cs.infer(stars, yields=sets[4], quiet=True)


def test_the_default_eight_keep_their_emulator(sets):
    """Stars with the eight alone have the model that they had before."""
    whole = cs.load_yields(sets[15])
    eight = needed_elements(whole, ("fe_h", "o_fe"))
    assert eight.abundances == cs.ABUNDANCES
    assert checksum(eight, cs.CLEAN, RECIPE) != checksum(whole, cs.CLEAN, RECIPE)
    theta = np.array([*TRUTH, -0.3, 0.55, 0.5, 6.0])
    np.testing.assert_array_equal(
        cs.simulate(theta, eight), cs.simulate(theta, whole)[:8]
    )
    assert needed_elements(whole, ("fe_h", "na_fe")).abundances == ALL_ABUNDANCES
    few = cs.load_yields(sets[4])
    assert needed_elements(few, ("fe_h",)).abundances == few.abundances
    model = model_of_yields(sets[4], "simulator", measured=("fe_h",))
    assert model.abundances == few.abundances


def test_abundances_that_a_set_lacks_are_refused(sets, tmp_path, monkeypatch):
    few = cs.load_yields(sets[4])
    stars = cs.Stars.complete(np.zeros((2, 8)))
    with pytest.raises(InputError, match=r"have no c_fe, .*--without c_fe,n_fe"):
        require_abundances(stars, "few", few.abundances)
    require_abundances(stars.select(few.abundances), "few", few.abundances)
    assert columns_to_read(sets[4]) == cs.ABUNDANCES
    assert columns_to_read(sets[15]) == ALL_ABUNDANCES
    assert columns_to_read(None) == cs.ABUNDANCES
    monkeypatch.setenv("CHEMSBI_DATA", str(tmp_path))  # no tables, and no download
    assert columns_to_read("tng") == cs.ABUNDANCES
