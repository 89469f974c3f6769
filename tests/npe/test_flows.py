"""Conditional flows: contract, densities and draws."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.distributions import StandardNormal, Transformed
from jax.scipy.stats import norm

from chemsbi_jax.npe import (
    MafFlow,
    SplineFlow,
)

SMALL = SplineFlow(embedding=(24, 1), hidden=(24,), n_bins=4)
FLOWS = {"spline": SMALL, "maf": MafFlow(n_transforms=1)}


@eqx.filter_jit
def call(method, *arrays):
    """A method of a flow, compiled."""
    return method(*arrays)


def shaken(flow, key, by: float = 0.4):
    """The flow with noise on its weights: a new one is too simple to test."""
    leaves, structure = jax.tree.flatten(flow)
    keys = jax.random.split(key, len(leaves))
    moved = [
        x + by * jax.random.normal(k, x.shape) if eqx.is_inexact_array(x) else x
        for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


@pytest.fixture(scope="module")
def star():
    return jax.random.normal(jax.random.key(8), (8,))


@pytest.fixture(scope="module", params=FLOWS.values(), ids=FLOWS)
def pair(request, star):
    """The flow of two parameters of one star; not trained, but not simple."""
    flow = request.param.build(jax.random.key(1), 2, 8, 0)
    by = 0.4 if isinstance(request.param, SplineFlow) else 0.1
    return shaken(flow, jax.random.key(2), by).given(star)


@pytest.mark.thorough
def test_flowjaxs_contract(star):
    flow = shaken(SMALL.build(jax.random.key(3), 4, 8, 2), jax.random.key(4))
    condition = jnp.concatenate([star, jnp.array([0.3, -0.7])])
    x = jnp.array([0.5, -1.0, 2.0, 0.1])
    assert flow.shape == (4,)
    assert flow.cond_shape == (10,)

    @jax.jit
    def both(x, condition):
        forward = flow.transform_and_log_det(x, condition)
        return forward, flow.inverse_and_log_det(forward[0], condition)

    (y, log_det), (x_again, log_det_back) = both(x, condition)
    np.testing.assert_allclose(x_again, x, atol=1e-4)
    assert float(log_det) == pytest.approx(-float(log_det_back), abs=1e-4)
    jacobian = jax.jit(jax.jacfwd(flow.transform))(x, condition)
    np.testing.assert_allclose(np.triu(jacobian, 1), 0.0)  # autoregressive
    expected = np.linalg.slogdet(np.asarray(jacobian, float))[1]
    assert float(log_det) == pytest.approx(expected, abs=1e-3)
    density = Transformed(StandardNormal((4,)), flow).log_prob(y, condition)
    assert float(density) == pytest.approx(
        float(norm.logpdf(x).sum() - log_det), abs=1e-3
    )


def test_a_new_spline_flow_is_the_identity(star):
    flow = SMALL.build(jax.random.key(3), 2, 8, 0).given(star)
    noise = jnp.array([[-2.0, 0.3], [1.0, 3.0]])
    np.testing.assert_allclose(flow.draw(noise, noise[:0]), noise, atol=1e-4)


def test_draws_have_the_density_of_their_noise(pair):
    """Change of variables: the density of draws, by autodiff through `draw`."""
    noise = jax.random.normal(jax.random.key(5), (2, 50))

    def by_jacobian(noise):
        one = partial(_draw_one, pair)
        jacobians = jax.vmap(jax.jacfwd(one), -1)(noise)
        change = jnp.linalg.slogdet(jacobians)[1]
        return jax.vmap(one, -1, -1)(noise), norm.logpdf(noise).sum(axis=0) - change

    values, expected = call(by_jacobian, noise)
    got = call(pair.log_prob, values, values[:0])
    np.testing.assert_allclose(got, expected, atol=2e-3)  # float32 through two splines


def _draw_one(flow, noise):
    return flow.draw(noise, noise[:0])


def test_density_is_one_in_total(pair):
    """On a grid that follows the draws; the tails beyond it hold below 1e-4."""
    draws = pair.draw(
        jax.random.normal(jax.random.key(6), (2, 4000)), jnp.zeros((0, 4000))
    )
    low, high = draws.min(axis=1), draws.max(axis=1)
    margin = 0.4 * (high - low)
    first, second = (
        jnp.linspace(a, b, 1200)
        for a, b in zip(low - margin, high + margin, strict=True)
    )
    rows = jnp.broadcast_to(second, (1200, 1200))
    found = np.exp(np.asarray(call(pair.log_prob_columns, first, rows), float))
    total = found.sum() * float((first[1] - first[0]) * (second[1] - second[0]))
    assert total == pytest.approx(1.0, abs=5e-3)  # kinks at the knots, and the tails


def test_columns_are_points(pair):
    first = jnp.linspace(-2.0, 2.0, 7)
    second = first[:, None] + jnp.linspace(-1.0, 1.0, 5)
    got = call(pair.log_prob_columns, first, second)
    assert got.shape == (7, 5)
    points = jnp.stack([jnp.broadcast_to(first[:, None], (7, 5)), second]).reshape(
        2, -1
    )
    expected = call(pair.log_prob, points, points[:0]).reshape(7, 5)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)
