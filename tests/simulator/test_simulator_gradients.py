"""Gradients of the clean simulator through all six inputs, over the prior.

Reference: central differences in double precision. Steps of 1e-7 leave an error of
1e-8 (rounding over the step). The clean model is continuous with kinks: where infall
stops, the reservoir is empty, or a turn-off mass passes the edge of a bin. Where a
step straddles one, the gradient has to be that of one of its sides; the steps are so
short that this may happen to one or two of the 6000 differences.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax import priors
from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.simulator import CLEAN, load_yields, onezone, simulate
from helpers.paths import TOY

N_DRAWS = 1000
STEP = 1e-7
MAX_KINKS = 3
SFE, BIRTH_TIME = PARAMETERS.index("log10_sfe"), PARAMETERS.index("birth_time")

cases = pytest.mark.parametrize(
    "name",
    [TOY, pytest.param("tng", marks=[pytest.mark.slow, pytest.mark.tables])],
    ids=["toy", "tng"],
)


@pytest.fixture
def yields_of(request):
    """A loader that skips where the published tables are not there."""

    def load(name):
        if name == "tng":
            request.getfixturevalue("data")
        return load_yields(name)

    return load


def draws(key):
    return np.asarray(priors.sample(key, priors.paper_prior(), N_DRAWS))


@jax.jit
def forward_jacobian(theta, yields):
    """(param, star, element): one direction after the other, all stars at once."""

    def slope(direction):
        tangent = jnp.broadcast_to(direction, theta.shape)
        return jax.jvp(lambda t: simulate(t, yields), (theta,), (tangent,))[1]

    return jax.lax.map(slope, jnp.eye(len(PARAMETERS)))


@jax.jit
def gradient_of_weighted_sum(theta, yields, weights):
    return jax.grad(lambda t: jnp.sum(simulate(t, yields) @ weights))(theta)


def one_sided_differences(theta, yields):
    """Slopes (param, star, element) to the right and to the left of each theta."""
    middle = np.asarray(simulate(np.concatenate([theta, theta]), yields))[:N_DRAWS]
    right, left = [], []
    for direction in np.eye(len(PARAMETERS)):
        both = np.concatenate([theta + STEP * direction, theta - STEP * direction])
        up, down = np.split(np.asarray(simulate(both, yields)), 2)
        right.append((up - middle) / STEP)
        left.append((middle - down) / STEP)
    return np.stack(right), np.stack(left)


@cases
def test_gradients_over_the_prior(name, yields_of, key, monkeypatch):
    with jax.enable_x64(True):
        yields, theta = yields_of(name), draws(key)
        if name == TOY:  # one scan in place of three, compiled in half the time
            monkeypatch.setattr(onezone, "_segments", lambda n, n_segments: [(0, n)])
        right, left = one_sided_differences(theta, yields)
        got = np.asarray(forward_jacobian(theta, yields))
    assert np.isfinite(got).all()
    assert_agrees(got, right, left)
    assert_every_parameter_counts(got, theta)


def assert_agrees(jacobian, right, left):
    def is_close(slope, tolerance=1e-6):
        error = np.abs(jacobian - slope)
        return (error <= tolerance * (1.0 + np.abs(slope))).all(axis=-1)

    at_kink = ~is_close((right + left) / 2.0)
    assert at_kink.sum() <= MAX_KINKS
    one_side = is_close(right, 1e-5) | is_close(left, 1e-5)  # curvature adds 1e-6
    assert one_side[at_kink].all()


def assert_every_parameter_counts(jacobian, theta):
    """Some abundance of every star answers to every parameter, with one exception.

    Where all gas would turn to stars in less than a step (sfe dt >= 1) the model takes
    in the gas that the stars need, whatever the efficiency: 0.4 % of the prior.
    """
    largest = np.abs(jacobian).max(axis=-1)
    gas_used = 10.0 ** theta[:, SFE] * theta[:, BIRTH_TIME] / CLEAN.n_steps
    is_limited = gas_used >= 1.0
    assert is_limited.mean() < 0.01
    assert (largest[SFE, is_limited] == 0.0).all()
    is_free = ~is_limited
    for i in range(len(PARAMETERS)):
        assert (largest[i, is_free if i == SFE else slice(None)] > 1e-6).all()


@pytest.mark.slow
@cases
def test_reverse_is_forward(name, yields_of, key):
    weights = np.arange(1.0, len(ABUNDANCES) + 1.0)
    with jax.enable_x64(True):
        yields, theta = yields_of(name), draws(key)
        forward = np.asarray(forward_jacobian(theta, yields)) @ weights
        reverse = np.asarray(gradient_of_weighted_sum(theta, yields, weights))
    np.testing.assert_allclose(reverse.T, forward, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@cases
def test_single_precision(name, yields_of, key):
    """Rounding of 6e-8, and near a kink the slope of the other side."""
    with jax.enable_x64(True):
        theta = draws(key)
        double = np.asarray(forward_jacobian(theta, yields_of(name)))
    yields, theta = yields_of(name), jnp.asarray(theta, jnp.float32)
    single = np.asarray(forward_jacobian(theta, yields))
    reverse = gradient_of_weighted_sum(theta, yields, jnp.ones(len(ABUNDANCES)))
    assert single.dtype == reverse.dtype == np.float32
    assert np.isfinite(single).all()
    assert np.isfinite(reverse).all()
    difference = np.abs(single - double)
    assert np.median(difference) < 1e-6
    assert np.percentile(difference, 99) < 1e-5
    assert difference.max() < 1e-2
