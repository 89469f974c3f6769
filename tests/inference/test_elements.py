"""Elements belong to the yield set: the whole chain with 4 and with 15 abundances."""

import jax
import numpy as np
import pytest
from astropy.table import Table
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax import plots
from chemsbi_jax.catalog import read_catalog, read_stars, write_stars
from chemsbi_jax.cli import mock as mock_command
from chemsbi_jax.cli import simulate as simulate_command
from chemsbi_jax.cli import train_emulator as train_command
from chemsbi_jax.cli.flags import (
    EmulatorFlags,
    InferFlags,
    MockFlags,
    SimulateFlags,
)
from chemsbi_jax.cli.infer import main as infer_command
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.emulator import save_emulator
from chemsbi_jax.galaxy import any_yields
from chemsbi_jax.galaxy.any_yields import (
    EMULATOR_FOLDER,
    GUIDE,
    RECIPE,
    checksum,
    columns_to_read,
    emulators_folder,
)
from chemsbi_jax.galaxy.guided import infer_guided
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.npe import load_npe
from chemsbi_jax.plots.simulations import plot_simulations
from helpers.element_sets import TRUTH, N


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(EMULATOR_FOLDER, str(tmp_path / "emulators"))
    return tmp_path / "emulators"


@pytest.mark.parametrize("n", [4, 15])
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


@pytest.mark.parametrize("n", [pytest.param(4, marks=pytest.mark.slow), 15])
def test_commands_take_the_names_from_the_yields(n, sets, tmp_path):
    names = list(cs.load_yields(sets[n]).abundances)
    out = tmp_path / "simulations"
    flags = SimulateFlags(64, yields=str(sets[n]), out=out, plots=out, quiet=True)
    simulate_command.main(flags)
    with np.load(out / "simulations.npz") as file:
        assert file["abundance_names"].tolist() == names
        assert file["abundances"].shape == (64, n)
    flags = EmulatorFlags(
        tmp_path / "emulator", str(sets[n]), n_simulations=N, n_test=N, n_epochs=1,
        steps_per_epoch=5, quiet=True,
    )  # fmt: skip
    metrics = train_command.main(flags)
    assert list(metrics["rms_dex"]) == names
    assert list(cs.load_emulator(tmp_path / "emulator").abundances) == names
    flags = MockFlags(
        tmp_path / "mock.fits", TRUTH, 5, emulator=str(tmp_path / "emulator"),
        quiet=True,
    )  # fmt: skip
    assert list(mock_command.main(flags).abundances) == names
    columns = Table.read(tmp_path / "mock.fits").colnames
    assert [c for c in columns if c in names] == names


def test_figures_of_any_number_of_abundances():
    random = np.random.default_rng(0)
    for names in (ALL_ABUNDANCES, ("fe_h", "mg_fe", "o_fe"), cs.ABUNDANCES):
        theta, values = (
            random.normal(size=(50, 6)),
            random.normal(size=(50, len(names))),
        )
        figure = plots.plot_emulator_errors(theta, values, names)
        labels = [ax.get_xlabel() for ax in figure.axes if ax.get_visible()]
        assert len(labels) == len(names) + 1
        assert len(set(labels)) == len(labels)
        figure = plot_simulations(theta, values, names)
        labels = {ax.get_ylabel() for ax in figure.axes if ax.get_visible()}
        assert {f"[{a.split('_')[0].capitalize()}/Fe] [dex]" for a in names
                if a != "fe_h"} <= labels  # fmt: skip
