"""Emulators of yield sets that ship with the package."""

import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.any_yields import (
    abundances_of,
    columns_to_read,
    needed_elements,
)
from chemsbi_jax.galaxy.shipped_sets import shipped_emulator, sums_of
from chemsbi_jax.storage.weights import EMULATORS, load_spec, weights_folder
from chemsbi_jax.yields.elements import SIXTEEN
from helpers.element_sets import FOUR, write_set


@pytest.mark.parametrize(("name", "weights"), EMULATORS.items())
def test_shipped_emulators_are_those_of_their_sets(name, weights):
    """The tables are those of the training."""
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
    # other tables, or fewer elements: no shipped emulator
    more = yields._replace(
        sn_ia=yields.sn_ia._replace(ejecta=yields.sn_ia.ejecta.at[1].multiply(1.001))
    )
    assert shipped_emulator(name, more) is None
    assert shipped_emulator(name, needed_elements(yields, ("fe_h",))) is None
    assert shipped_emulator("tng", yields) is None


@pytest.mark.thorough  # compiles the simulator for 15 abundances
@pytest.mark.parametrize(("name", "weights"), EMULATORS.items())
def test_fresh_simulations_agree_with_shipped_emulators(name, weights):
    try:
        yields = cs.load_yields(name)
    except InputError as error:
        pytest.skip(str(error))
    emulator, rms = shipped_emulator(name, yields)
    theta = priors.sample(jax.random.key(7), cs.paper_prior(), 400)
    errors = np.asarray(cs.emulate(theta, emulator)) - cs.simulate(theta, yields)
    found = np.sqrt(np.nanmean(np.square(errors, dtype=float), axis=0))
    # the rms of 400 draws with some large ones scatters by tens of percent
    assert (found < 2.0 * np.array(list(rms.values())) + 2e-4).all()


def test_sums_tell_sets_apart(tmp_path):
    paths = [
        write_set(tmp_path / f"{len(elements)}.json", elements)
        for elements in (FOUR, SIXTEEN)
    ]
    one, other = (sums_of(cs.load_yields(path)) for path in paths)
    assert set(one["sn2"]) == set(FOUR)
    assert one["sn2"]["O"] == pytest.approx(other["sn2"]["O"])
    assert other["agb"]["Ni"] != other["agb"]["Mn"]


@pytest.mark.tables
def test_columns_of_tng_are_those_of_its_tables(data):
    """The names come from a constant, as an emulator does not need the tables."""
    assert abundances_of("tng") == cs.load_yields("tng").abundances
    assert columns_to_read("tng") == cs.ABUNDANCES
