"""The network in place of the simulator: learning, shapes, its box, shipped weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.emulator import (
    REFERENCE,
    EmulatorConfig,
    emulate,
    in_range,
    load_emulator,
    save_emulator,
    train_emulator,
)
from chemsbi_jax.simulator.blocks import simulate_blocks

LOW, HIGH = np.array([-3.0, -4, -1, 0.3, 0.1, 2]), np.array([-1.0, -2, 1, 0.8, 0.9, 12])
FIDUCIAL = np.array([-2.3, -2.89, -0.3, 0.55, 0.5, 8.0])
SMALL = EmulatorConfig(
    hidden=(64, 64),
    batch_size=256,
    learning_rate=1e-2,
    fit=FitConfig(n_epochs=15, steps_per_epoch=400),
)


def smooth(theta):
    """Eight smooth functions of all six inputs."""
    x = (np.asarray(theta, float) - LOW) / (HIGH - LOW)
    k = np.arange(1, len(ABUNDANCES) + 1)
    waves = np.sin(x @ np.cos(np.outer(np.arange(6), k)))
    return waves + 0.3 * (x[:, :1] * x[:, 5:]) - 0.1 * k


@pytest.fixture(scope="module")
def trained():
    rng = np.random.default_rng(0)
    theta = rng.uniform(LOW, HIGH, (20_000, 6))
    abundances = smooth(theta)
    abundances[::50] = np.nan  # no such star
    key = jax.random.key(0)
    return train_emulator(key, theta, abundances, (LOW, HIGH), SMALL, quiet=True)


@pytest.fixture(scope="module")
def emulator(trained):
    return trained[0]


def test_learns_a_smooth_function(emulator):
    theta = np.random.default_rng(1).uniform(LOW, HIGH, (5000, 6))
    errors = np.asarray(emulate(theta, emulator)) - smooth(theta)
    assert (errors.std(axis=0) / smooth(theta).std(axis=0)).max() < 0.01
    assert (np.abs(errors.mean(axis=0)) / smooth(theta).std(axis=0)).max() < 0.003


def test_losses_of_each_epoch(trained):
    losses = trained[1].held_out_loss
    assert losses.shape == (SMALL.fit.n_epochs,)
    assert np.isfinite(losses).all()
    assert losses[-1] < 0.3 * losses[0]


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3), (0,)])
def test_any_leading_axes(batch, emulator):
    theta = np.broadcast_to(FIDUCIAL, (*batch, 6))
    out = emulate(theta, emulator)
    assert out.shape == (*batch, len(ABUNDANCES))
    assert out.dtype == jnp.float32
    one = emulate(FIDUCIAL, emulator)
    # sums in another order, in single precision
    np.testing.assert_allclose(out, np.broadcast_to(one, out.shape), atol=1e-5)


def test_same_in_jit_and_vmap(emulator):
    theta = np.random.default_rng(2).uniform(LOW, HIGH, (7, 6))
    plain = emulate(theta, emulator)
    np.testing.assert_allclose(jax.jit(emulate)(theta, emulator), plain, atol=1e-5)
    rows = jax.vmap(emulate, (0, None))(theta, emulator)
    np.testing.assert_allclose(rows, plain, atol=1e-5)


@pytest.mark.parametrize("i", range(6), ids=PARAMETERS)
def test_nothing_outside_the_box(i, emulator):
    theta = np.stack([FIDUCIAL] * 5)
    margin = 1e-3 * (HIGH - LOW)[i]
    ends = (LOW[i] - margin, LOW[i] + margin, HIGH[i] - margin, HIGH[i] + margin)
    theta[:4, i] = ends
    theta[4, i] = np.nan
    inside = [False, True, True, False, False]
    np.testing.assert_array_equal(in_range(jnp.asarray(theta), emulator), inside)
    out = np.asarray(emulate(theta, emulator))
    np.testing.assert_array_equal(np.isfinite(out).all(axis=1), inside)
    np.testing.assert_array_equal(np.isnan(out).all(axis=1), ~np.array(inside))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(), (5,), (7,), (6, 5), (0,)])
def test_wrong_shapes(shape, emulator):
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 6\).*alpha_imf") as error:
        emulate(np.zeros(shape), emulator)
    assert str(shape) in str(error.value)


def test_gradients(emulator):
    """Those of the function that it learned, and none missing beyond the box."""
    slope = jax.jit(jax.jacobian(emulate))
    step = 1e-5
    steps = step * np.diag(HIGH - LOW)
    expected = (smooth(FIDUCIAL + steps) - smooth(FIDUCIAL - steps)).T / (2.0 * step)
    got = np.asarray(slope(FIDUCIAL, emulator)) * (HIGH - LOW)
    assert np.isfinite(got).all()
    # 1 % of the values; slopes of a network are a few times less exact
    np.testing.assert_allclose(got, expected, atol=0.05 * np.abs(expected).max())
    beyond = slope(FIDUCIAL + 100.0, emulator)
    assert not np.isnan(beyond).any()


def test_same_bits_from_disk(emulator, tmp_path):
    save_emulator(tmp_path, emulator, {"seed": 0})
    again = load_emulator(tmp_path)
    assert jax.tree.structure(again) == jax.tree.structure(emulator)
    jax.tree.map(np.testing.assert_array_equal, again, emulator)
    theta = np.random.default_rng(3).uniform(LOW, HIGH, (50, 6))
    np.testing.assert_array_equal(emulate(theta, again), emulate(theta, emulator))


def test_too_few_simulations():
    theta = np.ones((200, 6))
    abundances = np.full((200, 8), np.nan)
    abundances[:99] = 0.0
    with pytest.raises(ValueError, match="got 99 of 200"):
        train_emulator(jax.random.key(0), theta, abundances, (LOW, HIGH), SMALL)


def test_reference_recipe():
    """Buck+ 2025: 100 and 40 neurons, batches of 64, 20 epochs of 500,000."""
    assert REFERENCE.hidden == (100, 40)
    assert (REFERENCE.batch_size, REFERENCE.learning_rate) == (64, 1e-3)
    assert REFERENCE.fit.n_epochs == 20
    assert REFERENCE.fit.steps_per_epoch * 64 == pytest.approx(500_000, rel=1e-3)


# --- shipped weights

SHIPPED = {"tng": cs.CLEAN, "tng-legacy": cs.LEGACY}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_cover_the_paper_prior(name):
    shipped = load_emulator(name)
    theta = priors.sample(jax.random.key(1), priors.paper_prior(), 5000)
    assert in_range(theta, shipped).all()
    out = np.asarray(emulate(theta, shipped))
    assert np.isfinite(out).all()
    low, high = priors.box(priors.wide_prior())
    np.testing.assert_allclose(shipped.theta_low, low, rtol=1e-6)
    np.testing.assert_allclose(shipped.theta_high, high, rtol=1e-6)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "name", ["tng", pytest.param("tng-legacy", marks=pytest.mark.slow)]
)
def test_shipped_weights_against_the_simulator(name, data):
    """The numbers of the issue, on stars of a seed that no script uses."""
    key = jax.random.key(987_654)
    theta = priors.sample(key, priors.paper_prior(), 5000)
    yields = cs.load_yields("tng")
    simulated = simulate_blocks(theta, yields, SHIPPED[name], quiet=True)
    errors = np.asarray(emulate(theta, load_emulator(name))) - simulated
    errors = errors[np.isfinite(simulated).all(axis=1)]
    assert len(errors) > 4500
    assert np.sqrt(np.mean(errors**2, axis=0)).max() <= 0.003  # dex
    assert np.abs(errors.mean(axis=0)).max() <= 0.0005
    assert (np.abs(errors) <= 0.03).mean(axis=0).min() >= 0.999
