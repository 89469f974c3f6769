"""Rational-quadratic splines against their definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.npe.spline import (
    INTERVAL,
    make_spline,
    n_raw,
    spline_forward,
    spline_inverse,
)

N_BINS = 5


@pytest.fixture
def splines(key):
    """A hundred different ones along the last axis."""
    return make_spline(2.0 * jax.random.normal(key, (n_raw(N_BINS), 100)))


def test_spline_and_back(splines, points):
    y, log_det = spline_forward(points, splines)
    x, log_det_back = spline_inverse(y, splines)
    slope = np.exp(np.asarray(log_det))
    # single precision of y, which a flat piece (slopes down to 1e-3) blows up in x
    error = np.abs(x - points)
    assert np.quantile(error * np.minimum(slope, 1.0), 0.999) < 1e-4
    assert np.median(error) < 2e-6
    plain = np.abs(log_det) < 1.0
    assert plain.mean() > 0.2
    gap = np.abs(log_det + log_det_back)[plain]
    assert np.quantile(gap, 0.999) < 5e-3


def test_spline_derivative_is_autodiffs(splines):
    x = jnp.linspace(-4.4, 4.4, 100)
    slopes = jax.jit(jax.grad(lambda x: spline_forward(x, splines)[0].sum()))(x)
    np.testing.assert_allclose(
        spline_forward(x, splines)[1], jnp.log(slopes), atol=1e-4
    )


def test_spline_rises(splines, points):
    y, _ = spline_forward(points, splines)
    assert (np.diff(y, axis=0) >= 0.0).all()


def test_spline_is_the_identity_outside(splines):
    x = jnp.broadcast_to(jnp.array([-50.0, -4.6, 4.6, 50.0])[:, None], (4, 100))
    for function in (spline_forward, spline_inverse):
        y, log_det = function(x, splines)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(log_det, 0.0)


def test_spline_is_continuous_at_its_ends(splines):
    near = INTERVAL - 1e-4
    for x in (near, -near):
        y, log_det = spline_forward(jnp.full(100, x), splines)
        np.testing.assert_allclose(y, x, atol=1e-3)  # slopes of up to ten
        assert np.median(np.abs(log_det)) < 0.05  # slope 1 at both ends


def test_a_new_spline_is_the_identity(points):
    spline = make_spline(jnp.zeros((n_raw(N_BINS), 100)))
    y, log_det = spline_forward(points, spline)
    np.testing.assert_allclose(y, points, atol=1e-5)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-4)  # SLOPE_OFFSET has four digits
