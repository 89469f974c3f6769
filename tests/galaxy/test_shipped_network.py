"""The shipped network of 15 abundances, and its use by `infer`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.any_yields import columns_to_read, model_of_yields
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.npe import AnyErrors
from chemsbi_jax.npe.reading import as_table
from chemsbi_jax.storage.weights import EMULATORS, load_spec, weights_folder

TRUTH = (-2.1, -2.6)
SET, WEIGHTS = "nkt13+k10+w7", EMULATORS["nkt13+k10+w7"]


@pytest.fixture(scope="module")
def networks():
    return load_networks(WEIGHTS)


def galaxy(networks, n, kind="complete", seed=0):
    """Stars of one galaxy by the shipped emulator."""
    key_theta, key_noise = jax.random.split(jax.random.key(seed))
    theta = priors.sample(key_theta, networks.npe.prior, 2 * n)
    theta = theta.at[:, :2].set(jnp.array(TRUTH))
    names = networks.npe.reader.abundances
    measure = AnyErrors(kind, False, names)
    clean = networks.forward(theta)
    inputs = np.asarray(measure.observe(key_noise, clean, theta[:, -1]))
    return as_table(inputs[np.isfinite(inputs).all(axis=1)][:n], names)


def test_emulator_and_network_are_of_one_training(networks):
    """And both together are below 1 MB."""
    folder = weights_folder(WEIGHTS)
    npe, emulator = (load_spec(folder, kind) for kind in ("npe", "emulator"))
    assert npe["abundances"] == emulator["abundances"]
    assert len(npe["abundances"]) == 15
    assert npe["emulator"] == WEIGHTS
    assert npe["yields"] == emulator["yields"] == SET
    assert sum(p.stat().st_size for p in folder.iterdir()) < 1e6
    assert columns_to_read(None, WEIGHTS) == tuple(npe["abundances"])
    assert networks.npe.reader.abundances == tuple(npe["abundances"])


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["complete", "apogee"])
def test_the_network_finds_the_truth(networks, kind):
    """The truth is one prior width from the prior's mean in both parameters."""
    stars = galaxy(networks, 60, kind)
    npe, forward = networks
    found = cs.infer_galaxy(jax.random.key(1), npe, stars, "gaussian", forward=forward)
    pull = (np.asarray(found.mean) - TRUTH) / found.sd
    assert np.abs(pull).max() < 4.0
    assert (found.sd < 0.1).all()


@pytest.mark.slow  # compiles flow and exact for 15 abundances
def test_flow_and_exact_agree(networks):
    stars = galaxy(networks, 60)
    npe, forward = networks
    flow, exact = (
        cs.infer_galaxy(jax.random.key(1), npe, stars, method, forward=forward)
        for method in ("flow", "exact")
    )
    shift = (np.asarray(flow.mean) - exact.mean) / exact.sd
    assert np.abs(shift).max() < 0.5
    np.testing.assert_allclose(flow.sd / exact.sd, 1.0, atol=0.15)


def test_yields_name_the_network_of_their_abundances(networks):
    """It needs the tables of the set, which are those of the training."""
    try:
        cs.load_yields(SET)
    except InputError as error:
        pytest.skip(str(error))
    model = model_of_yields(SET, measured=("fe_h", "na_fe"))
    assert model.is_own
    assert model.guide == WEIGHTS
    assert model.abundances == networks.npe.reader.abundances
    for x, y in zip(*map(jax.tree.leaves, (model.networks, networks)), strict=True):
        np.testing.assert_array_equal(x, y)
    simulator = model_of_yields(SET, "simulator", measured=("fe_h", "na_fe"))
    assert (simulator.is_own, simulator.guide) == (False, WEIGHTS)


@pytest.mark.slow  # the whole of `infer`
def test_infer_uses_the_network_of_the_yields(networks):
    try:
        cs.load_yields(SET)
    except InputError as error:
        pytest.skip(str(error))
    stars = galaxy(networks, 30)
    for method in ("flow", "auto"):
        found = cs.infer(
            stars, yields=SET, method=method, shared_errors=False, quiet=True
        )
        assert found.posterior.method == {"auto": "exact"}.get(method, method)
        assert found.provenance["npe"] == WEIGHTS
        assert found.provenance["yields"] == SET
        assert len(found.provenance["emulator_rms_dex"]) == 15
        pull = (np.asarray(found.posterior.mean) - TRUTH) / found.posterior.sd
        assert np.abs(pull).max() < 4.0
    by_weights = cs.infer(stars, weights=WEIGHTS, shared_errors=False, quiet=True)
    np.testing.assert_array_equal(by_weights.posterior.mean, found.posterior.mean)
