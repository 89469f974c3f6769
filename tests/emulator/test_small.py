"""The small conditional emulator: the shipped one, and the command that trains one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_small_emulator

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import priors
from chemsbi_jax.emulator.small import SMALL, load_small_emulator
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.storage.weights import load_spec, weights_folder

N = 2000


def differences(small, large, key):
    """Small less large [dex] at stars of the prior, with factors of the training."""
    key_theta, key_factors = jax.random.split(key)
    theta = priors.from_normal(cs.paper_prior(), jax.random.normal(key_theta, (N, 6)))
    factors = jnp.asarray(em.sample_factors(key_factors, N, uniform_share=0.0))
    call = jax.jit(cs.emulate_yields)
    away = np.asarray(call(theta, factors, small) - call(theta, factors, large))
    return away[np.isfinite(away).all(axis=1)]


def test_shipped_weights_are_near_the_large_emulator(key):
    away = differences(load_small_emulator(), cs.load_yield_emulator(), key)
    assert len(away) > 0.95 * N
    assert np.sqrt((away**2).mean(axis=0)).max() < 0.006
    assert np.abs(away.mean(axis=0)).max() < 0.0005


def test_shipped_weights_are_small():
    small, large = load_small_emulator(), cs.load_yield_emulator()

    def size(x):
        return sum(leaf.size for leaf in jax.tree.leaves((x.base.network, x.network)))

    assert size(small) < size(large) / 4
    spec = load_spec(weights_folder("tng") / SMALL, "emulator")
    of = load_spec(weights_folder("tng") / em.FOLDER, "emulator")
    assert spec["distilled_from"] == of["sha256"]


def test_a_folder_without_one_is_named(tmp_path):
    with pytest.raises(WeightsError, match=SMALL):
        load_small_emulator(tmp_path)


@pytest.mark.thorough
def test_one_command_trains_it(tmp_path, key):
    """Two short epochs are better than none, and the files can be read."""
    errors = []
    for n in (1, 300):
        config = train_small_emulator.Config(
            out=tmp_path, n_epochs=1, steps_per_epoch=n, quiet=True
        )
        found = train_small_emulator.main(config)
        errors.append(max(found["rms_dex"].values()))
        away = differences(load_small_emulator(tmp_path), cs.load_yield_emulator(), key)
        rms = np.sqrt((away**2).mean(axis=0)).max()
        np.testing.assert_allclose(rms, errors[-1], rtol=0.3)
    assert errors[1] < 0.5 * errors[0]
