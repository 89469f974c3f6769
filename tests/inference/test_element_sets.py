"""Elements belong to the yield set: what counts, and what is refused."""

import json

import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.catalog import read_stars
from chemsbi_jax.cli import train_npe as npe_command
from chemsbi_jax.cli.flags import (
    NpeFlags,
)
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.emulator import save_emulator
from chemsbi_jax.errors import CatalogError, InputError, WeightsError
from chemsbi_jax.galaxy.any_yields import (
    RECIPE,
    checksum,
    columns_to_read,
    model_of_yields,
    needed_elements,
    require_abundances,
)
from chemsbi_jax.galaxy.likelihood import log_likelihood, observe
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.galaxy.shipped_sets import shipped_emulator, sums_of
from chemsbi_jax.storage.weights import EMULATORS, load_spec, weights_folder
from helpers.element_sets import FOUR, TRUTH


def test_every_abundance_counts(tables, sets):
    """The likelihood changes with each of the 15, and with none twice."""
    yields = cs.load_yields(sets[15])
    stars = read_stars(tables[15], abundances=yields.abundances).take(slice(1))
    theta = np.array([[*TRUTH, -0.3, 0.55, 0.5, 6.0]])
    clean = np.asarray(cs.simulate(theta, yields))

    def value(stars):
        return float(log_likelihood(lambda t: clean, theta, observe(stars))[0])

    whole = value(stars)
    away = ((stars.values - clean) / stars.errors)[0]
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
    theta = np.array([[*TRUTH, -0.3, 0.55, 0.5, 6.0]])
    for order in (names, names[::-1], ("mg_fe", "fe_h", "o_fe")):
        columns = [names.index(a) for a in order]
        found = log_likelihood(
            lambda t, c=columns: clean[:, c], theta, observe(stars.select(order))
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
