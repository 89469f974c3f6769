"""The shipped conditional emulator, and the command that trains one."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import train_emulator

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import priors
from chemsbi_jax.constants import YIELD_FACTORS
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.simulator.yield_factors import simulate_factors
from chemsbi_jax.storage.weights import load_spec, weights_folder
from helpers.paths import TOY

FIDUCIAL = np.array([-2.3, -2.89, -0.3, 0.55, 0.5, 8.0])
ZERO = np.zeros(len(YIELD_FACTORS))
evaluate = jax.jit(cs.emulate_yields)  # operation by operation it is slow


@pytest.mark.slow
def test_one_command_for_any_yields(tmp_path):
    """train_emulator.py --free-yields trains both networks, and then uses the first."""
    flags = train_emulator.Config(
        out=tmp_path,
        yields=str(TOY),
        free_yields=True,
        n_simulations=200,
        n_test=200,
        n_epochs=1,
        steps_per_epoch=5,
        quiet=True,
    )
    metrics = train_emulator.main(flags)
    assert set(metrics) >= {"0_sigma", "1_sigma", "seconds"}
    assert metrics["1_sigma"]["n_test"] == 200
    network = cs.load_yield_emulator(tmp_path)
    assert np.isfinite(evaluate(FIDUCIAL, ZERO, network)).all()
    with pytest.raises(WeightsError, match="physics"):
        train_emulator.main(replace(flags, physics="legacy"))


def test_shipped_description():
    folder = weights_folder("tng") / em.FOLDER
    spec = load_spec(folder, "emulator")
    assert (spec["yields"], spec["physics"]) == ("tng", "clean")
    assert spec["factor_scales"] == em.FACTOR_SCALES
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_000_000


@pytest.mark.thorough
@pytest.mark.tables
def test_shipped_weights_against_the_simulator(data, emulator):
    """Factors of 0.15 dex (iron of SNe II 0.05), on galaxies that no script draws."""
    key_theta, key_factors = jax.random.split(jax.random.key(123_457))
    theta = priors.sample(key_theta, priors.paper_prior(), 4000)
    scale = np.where(np.array(YIELD_FACTORS) == "sn2_fe", 0.05, 0.15)
    factors = scale * jax.random.normal(key_factors, (len(theta), len(YIELD_FACTORS)))
    factors = jnp.clip(factors, -emulator.factor_limit, emulator.factor_limit)
    yields = cs.load_yields("tng")
    truth = simulate_blocks(theta, yields, cs.CLEAN, True, factors=factors)
    error = np.asarray(evaluate(theta, factors, emulator)) - truth
    error = error[np.isfinite(truth).all(axis=1)]
    assert len(error) > 3900
    assert np.sqrt(np.mean(error**2, axis=0)).max() <= 0.0015  # dex
    assert np.abs(error.mean(axis=0)).max() <= 0.0003


@pytest.mark.slow
@pytest.mark.tables
def test_shipped_slopes_against_the_simulator(data, emulator):
    """Derivatives by the factors at zero, which Newton steps use."""
    yields = cs.load_yields("tng")

    def slopes(forward, theta):
        return jax.jit(jax.vmap(jax.jacfwd(forward, 1), (0, None)))(theta, ZERO)

    theta = priors.sample(jax.random.key(11), priors.paper_prior(), 64)
    exact = slopes(lambda t, f: simulate_factors(t, f, yields), theta)
    learned = slopes(lambda t, f: cs.emulate_yields(t, f, emulator), theta)
    error = np.asarray(learned - exact)
    assert np.sqrt(np.mean(error**2)) < 0.005  # dex a dex; the largest slope is 1
    assert np.abs(error).max() < 0.1
