"""Draws of the flow of all shared latents."""

import equinox as eqx
import jax
import numpy as np
import pytest

from chemsbi_jax.npe.joint_flow import draw_joint, new_joint_flow


@pytest.fixture(scope="module")
def flow():
    return new_joint_flow(jax.random.key(1), 5, 3, 2, 8, 4)


def test_draws_latent_by_latent_are_those_of_flowjax(flow, key):
    context = np.array([0.5, -1.0, 2.0], np.float32)
    draws = eqx.filter_jit(draw_joint)(key, flow, 300, context)
    expected = eqx.filter_jit(lambda f: f.sample(key, (300,), context))(flow)
    np.testing.assert_allclose(draws, expected, atol=2e-4)
    assert np.abs(draws - draw_joint(key, flow, 300, -context)).max() > 0.1
