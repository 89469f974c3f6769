"""Elements belong to the yield set: the whole chain with 4 and with 15 abundances."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from astropy.table import Table
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax import plots, priors
from chemsbi_jax.catalog import read_catalog, read_stars, write_stars
from chemsbi_jax.cli import mock as mock_command
from chemsbi_jax.cli import simulate as simulate_command
from chemsbi_jax.cli import train_emulator as train_command
from chemsbi_jax.cli import train_npe as npe_command
from chemsbi_jax.cli.flags import (
    EmulatorFlags,
    InferFlags,
    MockFlags,
    NpeFlags,
    SimulateFlags,
)
from chemsbi_jax.cli.infer import main as infer_command
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.emulator import EmulatorConfig, save_emulator
from chemsbi_jax.errors import CatalogError, InputError, WeightsError
from chemsbi_jax.galaxy import any_yields
from chemsbi_jax.galaxy.any_yields import (
    EMULATOR_FOLDER,
    GUIDE,
    RECIPE,
    Recipe,
    checksum,
    columns_to_read,
    emulators_folder,
    model_of_yields,
    needed_elements,
    require_abundances,
    train_on_demand,
)
from chemsbi_jax.galaxy.guided import infer_guided
from chemsbi_jax.galaxy.likelihood import log_likelihood, observe
from chemsbi_jax.galaxy.networks import Networks, load_networks
from chemsbi_jax.galaxy.shipped_sets import shipped_emulator, sums_of
from chemsbi_jax.npe import load_npe
from chemsbi_jax.plots.simulations import plot_simulations
from chemsbi_jax.storage.weights import EMULATORS, load_spec, weights_folder
from chemsbi_jax.yields.elements import SIXTEEN
from helpers.paths import TOY

SOURCE = {"Na": "Mg", "Al": "Mg", "S": "Si", "Ca": "Si", "Ti": "O", "Mn": "Fe",
          "Ni": "Fe"}  # fmt: skip
SHARE = {"Na": 0.06, "Al": 0.08, "S": 0.5, "Ca": 0.1, "Ti": 0.001, "Mn": 0.01,
         "Ni": 0.05}  # fmt: skip
FOUR = ("H", "He", "Fe", "Mg", "O")
TRUTH = (-2.2, -2.8)
N = 2000  # of all simulations: one shape is one compiled program for each set
SMALL = Recipe(
    n_simulations=N,
    n_test=N,
    config=EmulatorConfig(
        hidden=(32, 32), batch_size=256, fit=FitConfig(n_epochs=6, steps_per_epoch=200)
    ),
)


def write_set(path: Path, elements: tuple[str, ...]) -> Path:
    """The toy set with other elements; a further one is a share of a default one."""
    toy = json.loads(TOY.read_text())
    for channel, key in (("sn2", "net"), ("agb", "net"), ("sn_ia", "ejecta")):
        table = toy[channel][key]
        further = {e: SHARE[e] * np.array(table[x]) for e, x in SOURCE.items()}
        table |= {e: numbers.tolist() for e, numbers in further.items()}
        toy[channel][key] = {e: table[e] for e in elements}
    toy["sn_ia"]["mass"] = sum(toy["sn_ia"]["ejecta"].values())
    path.write_text(json.dumps(toy))
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return {
        4: write_set(folder / "four.json", FOUR),
        15: write_set(folder / "fifteen.json", SIXTEEN),
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(EMULATOR_FOLDER, str(tmp_path / "emulators"))
    return tmp_path / "emulators"


@pytest.fixture(scope="module")
def tables(sets):
    """The table of a mock galaxy of each set."""
    paths = {n: path.with_suffix(".ecsv") for n, path in sets.items()}
    for n, path in paths.items():
        flags = MockFlags(path, TRUTH, N, yields=str(sets[n]), quiet=True)
        mock_command.main(flags)
    return paths


@pytest.fixture(scope="module")
def emulators(sets):
    """A small emulator of each set, and its errors."""
    return {
        n: train_on_demand(cs.load_yields(path), cs.CLEAN, SMALL, True)
        for n, path in sets.items()
    }


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


def test_abundances_that_a_set_lacks_are_refused(sets):
    few = cs.load_yields(sets[4])
    stars = cs.Stars.complete(np.zeros((2, 8)))
    with pytest.raises(InputError, match=r"have no c_fe, .*--without c_fe,n_fe"):
        require_abundances(stars, "few", few.abundances)
    require_abundances(stars.select(few.abundances), "few", few.abundances)
    assert columns_to_read(sets[4]) == cs.ABUNDANCES
    assert columns_to_read(sets[15]) == ALL_ABUNDANCES
    assert columns_to_read(None) == cs.ABUNDANCES


def test_weights_of_other_elements_are_refused_where_a_network_reads_eight(
    emulators, tmp_path
):
    emulator, _ = emulators[15]
    save_emulator(tmp_path, emulator, {})
    flags = NpeFlags(tmp_path / "npe", str(tmp_path), quiet=True)
    with pytest.raises(WeightsError, match=r"expected an emulator of c_fe.*--yields"):
        npe_command.main(flags)
    spec = json.loads((tmp_path / "emulator.json").read_text())
    for wrong in (spec["abundances"][::-1], [*ALL_ABUNDANCES, "ba_fe"], "fe_h", []):
        text = json.dumps(spec | {"abundances": wrong})
        (tmp_path / "emulator.json").write_text(text)
        with pytest.raises(WeightsError, match="abundances is"):
            cs.load_emulator(tmp_path)


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


def test_columns_by_other_names_and_from_over_h(tmp_path):
    """Spellings, [X/H], absolute abundances and the solar scales have all elements."""
    random = np.random.default_rng(0)
    n, iron = 12, random.normal(-0.2, 0.2, 12)
    table = {"star": np.arange(n), "[Fe/H]": iron, "e_[Fe/H]": np.full(n, 0.05)}
    for x, a in (("Na", 6.24), ("Ni", 6.22)):
        table[f"A({x})"] = iron + a + random.normal(0.1, 0.05, n)
        table[f"e_A({x})"] = np.full(n, 0.06)
    table["[Ti/H]"] = iron + random.normal(0.2, 0.05, n)
    table["e_[Ti/H]"] = np.full(n, 0.06)
    path = tmp_path / "stars.csv"
    Table(table).write(path)
    options = cs.CatalogOptions(columns="na_h=A(Na),ni_h=A(Ni)")
    stars = read_catalog(path, options, ALL_ABUNDANCES).stars
    np.testing.assert_allclose(
        stars.select(("na_fe",)).values[:, 0], table["A(Na)"] - 6.24 - iron
    )
    np.testing.assert_allclose(
        stars.select(("ti_fe",)).values[:, 0], table["[Ti/H]"] - iron
    )
    options = cs.CatalogOptions(solar_from="grevesse2007", columns="fe_h=[Fe/H]")
    moved = read_catalog(path, options, ("fe_h", "ti_fe")).stars
    np.testing.assert_allclose(  # A(Ti) 4.90 and A(Fe) 7.45 there, 4.95 and 7.50 here
        moved.values, stars.select(("fe_h", "ti_fe")).values + [-0.05, 0.0]
    )
    with pytest.raises(CatalogError, match="Expected --columns like"):
        read_catalog(path, cs.CatalogOptions(columns="na_h=A(Na)"))


def test_survey_flags_hide_values_of_further_elements(tmp_path):
    n = 6
    table = {"sobject_id": np.arange(n), "flag_sp": np.zeros(n, int),
             "snr_c3_iraf": np.full(n, 50.0)}  # fmt: skip
    for name in ("fe_h", "na_fe", "ni_fe", "n_fe"):
        table[name] = np.linspace(-0.1, 0.1, n) + 0.01
        table[f"e_{name}"] = np.full(n, 0.05)
        table[f"flag_{name}"] = np.zeros(n, int)
    table["flag_na_fe"][2] = 1
    path = tmp_path / "galah.fits"
    Table(table).write(path)
    catalog = read_catalog(path, abundances=ALL_ABUNDANCES)
    seen = dict(zip(ALL_ABUNDANCES, catalog.stars.observed.T, strict=True))
    assert seen["na_fe"].tolist() == [True, True, False, True, True, True]
    assert seen["ni_fe"].all()
    assert not seen["ti_fe"].any()
    # nickel is no nitrogen: beside n_fe it is no second column of [N/Fe]
    plain = tmp_path / "plain.csv"
    Table({k: v for k, v in table.items() if "_fe" in k or k.endswith("fe_h")}).write(
        plain
    )
    options = cs.CatalogOptions(survey="none")
    assert read_catalog(plain, options).stars.select(("n_fe",)).observed.all()


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


def test_stars_select_take_and_write(tmp_path):
    values = np.arange(6.0).reshape(2, 3) / 10.0
    stars = cs.Stars.complete(values, 0.05, ("fe_h", "na_fe", "o_fe"))
    assert stars.take([1]).abundances == stars.abundances
    some = stars.select(("o_fe", "mg_fe"))
    assert some.observed.tolist() == [[True, False]] * 2
    assert some.values[:, 0].tolist() == values[:, 2].tolist()
    assert np.isnan(some.errors[:, 1]).all()
    write_stars(tmp_path / "stars.ecsv", stars)
    again = read_stars(tmp_path / "stars.ecsv", abundances=stars.abundances)
    np.testing.assert_array_equal(again.values, values)
    leaves = jax.tree.leaves(stars)
    assert all(np.shape(leaf)[0] == 2 for leaf in leaves)  # the names are static


def test_columns_must_be_named_once_each(unchecked):
    stars = cs.Stars.complete(np.zeros((2, 2)), 0.05, ("fe_h", "fe_h"))
    with pytest.raises(InputError, match="each abundance once"):
        cs.infer(stars, quiet=True)
    stars = cs.Stars.complete(np.zeros((2, 3)), 0.05, ("fe_h", "o_fe"))
    with pytest.raises(InputError, match=r"\(star, 2\).*fe_h, o_fe.*shape \(2, 3\)"):
        cs.infer(stars, quiet=True)


@pytest.mark.parametrize(("name", "weights"), EMULATORS.items())
def test_shipped_emulators_are_those_of_their_sets(name, weights):
    """The tables are those of the training, and fresh simulations agree."""
    spec = load_spec(weights_folder(weights), "emulator")
    size = sum(p.stat().st_size for p in weights_folder(weights).iterdir())
    assert size < 1e6
    assert spec["yields"] == name
    try:
        yields = cs.load_yields(name)
    except InputError as error:
        pytest.skip(str(error))
    assert len(yields.abundances) == 15
    emulator, rms = shipped_emulator(name, yields)
    assert emulator.abundances == yields.abundances
    assert list(rms) == list(yields.abundances)
    theta = priors.sample(jax.random.key(7), cs.paper_prior(), 400)
    errors = np.asarray(cs.emulate(theta, emulator)) - cs.simulate(theta, yields)
    found = np.sqrt(np.nanmean(np.square(errors, dtype=float), axis=0))
    # the rms of 400 draws with some large ones scatters by tens of percent
    assert (found < 2.0 * np.array(list(rms.values())) + 2e-4).all()
    # other tables, or fewer elements: no shipped emulator
    more = yields._replace(
        sn_ia=yields.sn_ia._replace(ejecta=yields.sn_ia.ejecta.at[1].multiply(1.001))
    )
    assert shipped_emulator(name, more) is None
    assert shipped_emulator(name, needed_elements(yields, ("fe_h",))) is None
    assert shipped_emulator("tng", yields) is None


def test_sums_tell_sets_apart(sets):
    one, other = (sums_of(cs.load_yields(path)) for path in sets.values())
    assert set(one["sn2"]) == set(FOUR)
    assert one["sn2"]["O"] == pytest.approx(other["sn2"]["O"])
    assert other["agb"]["Ni"] != other["agb"]["Mn"]


def test_presets_of_apogee_and_sdss5_have_further_elements(tmp_path):
    n = 5
    iron = np.linspace(-0.3, 0.1, n)
    apogee = {"APOGEE_ID": [f"2M{i}" for i in range(n)]}
    apogee |= {"ASPCAPFLAG": np.zeros(n, int), "EXTRATARG": np.zeros(n, int)}
    sdss5 = {"sdss_id": np.arange(n) + 7, "flag_bad": np.zeros(n, bool)}
    for x, shift in (("fe", 0.0), ("mg", 0.2), ("mn", -0.1), ("s", 0.1)):
        ratio = iron + shift if x == "fe" else np.full(n, shift)
        over = "h" if x == "fe" else "fe"
        name = f"{x}_{over}".upper()
        apogee |= {name: ratio, f"{name}_ERR": np.full(n, 0.03),
                   f"{name}_FLAG": np.zeros(n, int)}  # fmt: skip
        sdss5 |= {f"{x}_h": iron + shift, f"e_{x}_h": np.full(n, 0.03),
                  f"{x}_h_flags": np.zeros(n, int)}  # fmt: skip
    apogee["MN_FE_FLAG"][1] = 1 << 3
    sdss5["mn_h_flags"][1] = 1 << 8
    for name, table in (("apogee", apogee), ("sdss5", sdss5)):
        path = tmp_path / f"{name}.csv"
        Table(table).write(path)
        catalog = read_catalog(path, abundances=ALL_ABUNDANCES)
        assert any("by the rules of" in note for note in catalog.report.notes)
        some = catalog.stars.select(("mn_fe", "s_fe", "fe_h"))
        assert some.observed[:, 0].tolist() == [True, False, True, True, True]
        np.testing.assert_allclose(some.values[0], [-0.1, 0.1, -0.3], atol=1e-12)
        eight = read_catalog(path).stars
        assert eight.abundances == cs.ABUNDANCES
