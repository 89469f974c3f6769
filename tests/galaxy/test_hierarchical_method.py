"""The posterior with shared errors as a method, for GetDist, and for any length."""

import logging

import jax
import numpy as np
import pytest
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical.blocks import padded_length
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes
from helpers.paths import EXAMPLE

pytestmark = pytest.mark.thorough
N, N_DRAWS = 40, 1000


@pytest.fixture(scope="module")
def stars():
    return cs.read_stars(EXAMPLE).take(slice(None, N))


@pytest.fixture(scope="module")
def model():
    return h.load_shared_network(), forward_with_slopes(load_yield_emulator())


@pytest.fixture(scope="module")
def found(stars, model):
    return h.hierarchical_posterior(jax.random.key(3), *model, stars, n_draws=N_DRAWS)


def test_another_number_of_stars_compiles_nothing(found, stars, model, caplog):
    """Of one filled-up size; `found` has compiled its programs."""
    key, few = jax.random.key(3), stars.take(slice(None, N - 3))
    assert padded_length(N) == padded_length(N - 3)
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        other = h.hierarchical_posterior(key, *model, few, n_draws=N_DRAWS)
        compiled = [r.message for r in caplog.records if "Compiling" in r.message]
    assert compiled == []
    assert other.posterior.sd[0] != pytest.approx(found.posterior.sd[0], rel=1e-4)


def test_it_is_a_method_of_infer_galaxy(found, stars):
    task = jax.random.key(3), cs.load_npe(), stars, "hierarchical", N_DRAWS
    forward = Partial(cs.emulate, emulator=cs.load_emulator())
    galaxy = cs.infer_galaxy(*task, forward=forward)
    np.testing.assert_array_equal(galaxy.draws, found.posterior.draws)
    other = Partial(cs.emulate, emulator=cs.load_emulator("tng-legacy"))
    with pytest.raises(cs.InputError, match="no yield factors"):
        cs.infer_galaxy(*task, forward=other)
    with pytest.raises(ValueError, match="needs the forward model"):
        cs.infer_galaxy(*task)


def test_infer_makes_it_beside_another_method(stars):
    infer = getattr(cs.infer, "__wrapped__", cs.infer)  # without the checks of types
    with pytest.raises(cs.InputError, match="beside that of any method"):
        infer(stars, method="hierarchical")


def test_getdist_has_all_free_parameters(found):
    pytest.importorskip("getdist")
    samples = found.to_getdist()
    names = samples.getParamNames().list()
    assert names[:2] == list(cs.PARAMETERS[:2])
    each = zip(found.names, found.draws.T, strict=True)
    assert names == [n for n, x in each if np.ptp(x) > 0.0]
    column = samples.samples[:, names.index("sn2_o")]
    np.testing.assert_array_equal(column, found.draws[:, found.names.index("sn2_o")])
    assert samples.parLabel("sn2_o") == r"{\rm sn2\_o}"
