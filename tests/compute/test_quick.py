"""Programs that compile quickly give the same numbers, also inside other programs."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.compute import devices, quick

X = np.linspace(-2.0, 2.0, 64, dtype=np.float32)
ROUNDING = 2e-6  # of float32, after 64 additions in another order


@pytest.fixture
def unknown_options(monkeypatch):
    """Options that the compiler refuses show where they arrive."""
    monkeypatch.setattr(quick, "accepted_options", lambda: {"xla_no_such_option": 1})


def curve(x, scale):
    """A small program."""
    return jnp.cumsum(jnp.exp(-scale * x**2) * jnp.sin(x), axis=-1)


def test_a_quick_program_gives_the_numbers_of_a_plain_one():
    found = quick.quick_jit(curve)(X, 0.3)
    np.testing.assert_allclose(found, eqx.filter_jit(curve)(X, 0.3), rtol=ROUNDING)


def test_a_quick_program_takes_arguments_that_are_no_arrays():
    repeat = quick.quick_jit(lambda x, n: jnp.tile(x, n))
    assert repeat(X, 3).shape == (3 * len(X),)


@pytest.mark.usefixtures("unknown_options")
def test_the_compiler_gets_the_options():
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        quick.quick_jit(curve)(X, 0.3)


@pytest.mark.usefixtures("unknown_options")
def test_a_step_over_all_devices_gets_them_if_it_is_quick():
    plain = devices.spread(curve)(X, 0.3)
    assert np.isfinite(plain).all()
    with pytest.raises(jax.errors.JaxRuntimeError, match="xla_no_such_option"):
        devices.spread(curve, quick=True)(X, 0.3)


def _in_scan(function):
    return lambda x: jax.lax.scan(lambda c, x: (c, function(x)), 0.0, x[None])[1][0]


@pytest.mark.parametrize("outer", [jax.jit, jax.vmap, _in_scan, eqx.filter_jit])
def test_a_quick_program_of_constants_runs_inside_another_one(outer):
    """No argument shows that a transformation is going on."""
    inner = quick.quick_jit(curve)
    found = outer(lambda x: x + inner(X, 0.3))(X[None])
    np.testing.assert_allclose(np.ravel(found), X + inner(X, 0.3), rtol=ROUNDING)


@pytest.mark.parametrize("outer", [jax.jit, jax.grad])
def test_a_quick_program_may_close_over_what_is_traced(outer):
    def of(scale):
        return quick.quick_jit(lambda: curve(X, scale).sum())()

    expected = outer(lambda scale: curve(X, scale).sum())(0.3)
    assert float(outer(of)(0.3)) == pytest.approx(float(expected), rel=10 * ROUNDING)


@pytest.mark.parametrize("outer", [jax.jit, jax.vmap, eqx.filter_jit])
def test_a_quick_program_runs_inside_another_one(outer):
    inner = quick.quick_jit(curve)
    found = outer(lambda x: inner(x, 0.3))(X[None])
    np.testing.assert_allclose(found[0], jnp.asarray(inner(X, 0.3)), rtol=ROUNDING)


def test_a_quick_program_has_a_gradient():
    slope = jax.grad(lambda s: quick.quick_jit(curve)(X, s).sum())(0.3)
    expected = jax.grad(lambda s: curve(X, s).sum())(0.3)
    assert float(slope) == pytest.approx(float(expected), rel=10 * ROUNDING)


def test_every_option_is_one_of_this_version():
    if jax.default_backend() != "cpu":
        pytest.skip("options of the CPU")
    assert quick.accepted_options() == dict(quick.OPTIONS)


def test_an_option_of_another_version_is_left_out(monkeypatch):
    options = {"xla_no_such_option": 1, "xla_backend_optimization_level": 1}
    monkeypatch.setattr(quick, "OPTIONS", options)
    accepted = quick.accepted_options.__wrapped__()
    assert accepted == {"xla_backend_optimization_level": 1}
    found = eqx.filter_jit(curve, compiler_options=accepted)(X, 0.3)
    assert np.isfinite(found).all()


def test_no_other_device_gets_the_options(monkeypatch):
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert quick.accepted_options.__wrapped__() == {}
