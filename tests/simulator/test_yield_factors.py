"""Scaled yields: mass, identity, sources; the simulator with them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.constants import ABUNDANCES, ELEMENTS, PARAMETERS
from chemsbi_jax.simulator import simulate
from chemsbi_jax.simulator.yield_factors import (
    FACTORS,
    scale_yields,
    simulate_factors,
)
from helpers.paths import TOY

FIDUCIAL = np.array([-2.3, -2.89, -0.3, 0.55, 0.5, 8.0])
CHANNELS = {"sn2": "sn2", "agb": "agb", "snia": "sn_ia"}
HYDROGEN = ELEMENTS.index("H")
ZERO = np.zeros(len(FACTORS))


@pytest.fixture(scope="module")
def yields():
    return cs.load_yields(TOY)


@pytest.fixture(scope="module")
def theta():
    return priors.sample(jax.random.key(3), priors.paper_prior(), 16)


def made(yields, channel):
    """Newly made mass (..., element) of one channel."""
    source = getattr(yields, CHANNELS[channel])
    return np.asarray(source.ejecta if channel == "snia" else source.net, float)


def one_factor(name, value):
    return ZERO + value * np.eye(len(FACTORS))[FACTORS.index(name)]


def test_names_of_the_factors():
    channels, symbols = zip(*(name.split("_") for name in FACTORS), strict=True)
    assert set(channels) == set(CHANNELS)
    assert {s.capitalize() for s in symbols} <= set(ELEMENTS) - {"H", "He"}
    assert len(set(FACTORS)) == len(FACTORS)


def test_zero_factors_change_no_bit(yields):
    jax.tree.map(np.testing.assert_array_equal, scale_yields(yields, ZERO), yields)


def test_mass_is_conserved(yields):
    factors = np.linspace(-0.6, 0.6, len(FACTORS))
    scaled = scale_yields(yields, factors)
    for channel in CHANNELS:
        before, after = made(yields, channel), made(scaled, channel)
        assert np.abs(after - before).max() > 1e-4
        # single precision, of masses up to 1
        np.testing.assert_allclose(after.sum(-1), before.sum(-1), atol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, scaled.sn_ia.mass, yields.sn_ia.mass)
    for kind in ("sn2", "agb"):
        same = getattr(scaled, kind)._replace(net=0), getattr(yields, kind)
        jax.tree.map(np.testing.assert_array_equal, same[0], same[1]._replace(net=0))


@pytest.mark.parametrize("name", FACTORS)
def test_a_factor_acts_on_its_element_and_channel(name, yields):
    channel, symbol = name.split("_")
    element = ELEMENTS.index(symbol.capitalize())
    scaled = scale_yields(yields, one_factor(name, 0.3))
    for other in CHANNELS:
        before, after = made(yields, other), made(scaled, other)
        if other != channel:
            np.testing.assert_array_equal(after, before)
            continue
        gain = np.where(before[..., element] > 0.0, 10.0**0.3, 1.0)
        expected = gain * before[..., element]
        np.testing.assert_allclose(after[..., element], expected, rtol=1e-6)
        rest = [i for i in range(len(ELEMENTS)) if i not in (element, HYDROGEN)]
        np.testing.assert_array_equal(after[..., rest], before[..., rest])


def test_destroyed_material_is_not_scaled(yields):
    net = yields.agb.net.at[..., ELEMENTS.index("C")].set(-0.01)
    less = yields._replace(agb=yields.agb._replace(net=net))
    scaled = scale_yields(less, one_factor("agb_c", 0.5))
    np.testing.assert_array_equal(scaled.agb.net, net)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(), (10,), (12,), (1, 11)])
def test_wrong_shape_of_factors(shape, yields):
    with pytest.raises(ValueError, match=r"shape \(11,\).*sn2_c") as error:
        scale_yields(yields, np.zeros(shape))
    assert str(shape) in str(error.value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("n_theta", "n_factors"), [(5, 11), (6, 10)])
def test_wrong_shapes_of_stars(n_theta, n_factors, yields):
    with pytest.raises(ValueError, match=r"alpha_imf.*sn2_c"):
        simulate_factors(np.ones(n_theta), np.zeros(n_factors), yields)


def test_simulator_at_zero_factors(yields, theta):
    plain = simulate(theta, yields)
    np.testing.assert_array_equal(simulate_factors(theta, ZERO, yields), plain)


def test_each_star_has_its_own_factors(yields, theta):
    """Rows as with a yield set each; leading axes broadcast."""
    factors = 0.3 * np.random.default_rng(0).normal(size=(3, 1, len(FACTORS)))
    out = simulate_factors(theta, factors, yields)
    assert out.shape == (3, len(theta), len(ABUNDANCES))
    for row, phi in zip(out, factors[:, 0], strict=True):
        alone = simulate(theta, scale_yields(yields, phi))
        np.testing.assert_allclose(row, alone, atol=2e-5)  # sums in another order


def x_h(theta, factors, yields):
    """[X/H] in dex, in the order of ABUNDANCES."""
    out = simulate_factors(theta, factors, yields)
    iron = ABUNDANCES.index("fe_h")
    fe_h = out[..., iron, None]
    return jnp.where(jnp.arange(len(ABUNDANCES)) == iron, out, out + fe_h)


@pytest.fixture(scope="module")
def slopes(yields):
    """Derivatives of [X/H] by theta and by the factors, exact by forward mode."""
    jacobian = jax.jit(jax.jacfwd(x_h, argnums=(0, 1)))
    return jacobian(jnp.asarray(FIDUCIAL), jnp.zeros(len(FACTORS)), yields)


@pytest.mark.thorough
def test_jacobian_against_finite_differences(slopes, yields):
    step = 0.03  # dex; small against curvature, large against single precision
    steps = step * np.eye(len(FACTORS))
    ends = np.asarray(x_h(FIDUCIAL, np.stack([steps, -steps]), yields), float)
    expected = ((ends[0] - ends[1]) / (2.0 * step)).T
    np.testing.assert_allclose(slopes[1], expected, atol=2e-3)


@pytest.mark.thorough
def test_shares_of_an_element_add_up(slopes, yields):
    """Factors on all sources of iron: [Fe/H] moves as they do, but for feedback.

    The toy set's AGB stars make no iron, so two factors cover all of it; iron is a few
    per cent of the metals that set lifetimes and yields.
    """
    assert (made(yields, "agb")[..., ELEMENTS.index("Fe")] <= 1e-6).all()
    common = one_factor("sn2_fe", 1.0) + one_factor("snia_fe", 1.0)
    share = np.asarray(slopes[1])[ABUNDANCES.index("fe_h")] @ common
    assert share == pytest.approx(1.0, abs=0.03)


@pytest.mark.thorough
def test_gradients_are_finite(slopes):
    assert slopes[0].shape == (len(ABUNDANCES), len(PARAMETERS))
    assert all(np.isfinite(s).all() for s in slopes)
    own = np.abs(np.asarray(slopes[1])).max(axis=0)
    assert (own > 0.0).all(), "each factor changes an abundance"
