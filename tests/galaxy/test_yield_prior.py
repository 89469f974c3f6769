"""Prior of the yield factors: scales, correlations, and slopes with [Fe/H]."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS, YIELD_FACTORS
from chemsbi_jax.emulator import emulate_yields, load_yield_emulator
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, physical, unpack
from chemsbi_jax.galaxy.hierarchical.yield_prior import (
    HIGHEST_IRON,
    IRON,
    SN2_IRON,
    SPREAD_FILE,
    default_scale,
    forward_with_slopes,
    mixing_matrix,
)
from chemsbi_jax.galaxy.hierarchical.yield_slopes import fit_slopes, slope_scales

N = len(YIELD_FACTORS)


@pytest.fixture(scope="module")
def emulator():
    return load_yield_emulator()


def theta_of(n):
    latents = jax.random.normal(jax.random.key(3), (n, 6))
    return cs.priors.from_normal(cs.paper_prior(), 0.8 * latents)


def test_scales_are_the_distances_of_the_published_sets():
    rows = json.loads(SPREAD_FILE.read_text())["details"]
    sets = next(
        r["sets"] for r in rows if (r["channel"], r["element"]) == ("sn2", "Mg")
    )
    away = [x - sets["tng"] for name, x in sets.items() if name != "tng"]
    expected = np.sqrt(np.mean(np.square(away)))
    assert default_scale("sn2_mg") == pytest.approx(expected)
    assert default_scale("sn2_fe") == SN2_IRON
    assert default_scale("sn2_mg_slope") < default_scale("sn2_mg")


def test_factors_of_the_same_layers_are_correlated():
    mixing = mixing_matrix(SHARED_FACTORS)
    correlation = mixing @ mixing.T
    np.testing.assert_allclose(np.diag(correlation), 1.0)
    at = {name: i for i, name in enumerate(SHARED_FACTORS)}
    assert correlation[at["sn2_ne"], at["sn2_mg"]] > 0.6
    for name in ("sn2_fe", *SHARED_FACTORS[N:]):
        others = np.delete(correlation[at[name]], at[name])
        np.testing.assert_array_equal(others, 0.0)
    assert correlation[at["sn2_c"], at["agb_c"]] == 0.0


def test_drawn_factors_have_scale_and_correlation():
    layout = make_layout(SharedErrors(), SHARED_FACTORS)
    psi = np.asarray(jax.random.normal(jax.random.key(0), (20_000, len(layout.scale))))
    draws = physical(psi, layout, cs.paper_prior())
    yields = draws[:, layout.slices()["yields"]]
    scales = [default_scale(f) for f in SHARED_FACTORS]
    np.testing.assert_allclose(yields.std(axis=0), scales, rtol=0.03)
    mixing = mixing_matrix(SHARED_FACTORS)
    np.testing.assert_allclose(np.corrcoef(yields.T), mixing @ mixing.T, atol=0.03)
    one = unpack(jnp.asarray(psi[0]), layout)
    np.testing.assert_allclose(one.factors, yields[0], atol=1e-5)


def test_a_held_factor_is_zero_and_leaves_the_others():
    scales = {f: default_scale(f) for f in SHARED_FACTORS} | {"sn2_ne": 0.0}
    layout = make_layout(SharedErrors(yields=scales), SHARED_FACTORS)
    psi = np.asarray(jax.random.normal(jax.random.key(1), (2000, len(layout.scale))))
    yields = physical(psi, layout, cs.paper_prior())[:, layout.slices()["yields"]]
    at = SHARED_FACTORS.index("sn2_ne")
    np.testing.assert_array_equal(yields[:, at], 0.0)
    assert yields[:, at + 1].std() == pytest.approx(default_scale("sn2_mg"), rel=0.1)


def test_one_number_leaves_the_slopes(emulator):
    layout = make_layout(SharedErrors(yields=0.05), SHARED_FACTORS)
    scales = np.asarray(layout.scale)[layout.slices()["yields"]]
    np.testing.assert_allclose(scales[:N], 0.05)
    np.testing.assert_allclose(
        scales[N:], [default_scale(f) for f in SHARED_FACTORS[N:]]
    )
    held = make_layout(SharedErrors(yields=0.0), SHARED_FACTORS)
    np.testing.assert_array_equal(held.scale[held.slices()["yields"]], 0.0)


def test_slopes_add_to_the_factors_by_metallicity(emulator):
    forward, theta = forward_with_slopes(emulator), theta_of(50)
    shared = jnp.zeros((50, len(SHARED_FACTORS)))
    plain = emulate_yields(theta, shared[:, :N], emulator)
    np.testing.assert_array_equal(forward(theta, shared), plain)
    oxygen = SHARED_FACTORS.index("sn2_o")
    sloped = shared.at[:, oxygen].set(0.1)
    sloped = sloped.at[:, SHARED_FACTORS.index("sn2_o_slope")].set(0.2)
    iron = jnp.clip(plain[:, IRON], None, HIGHEST_IRON)
    by_hand = shared[:, :N].at[:, oxygen].set(0.1 + 0.2 * iron)
    expected = emulate_yields(theta, by_hand, emulator)
    np.testing.assert_allclose(forward(theta, sloped), expected, atol=1e-6)
    assert np.nanmax(np.abs(expected - plain)) > 0.05


def test_factors_beyond_the_training_are_its_end(emulator):
    forward, theta = forward_with_slopes(emulator), theta_of(20)
    shared = jnp.zeros((20, len(SHARED_FACTORS)))
    end = shared[:, :N].at[:, 2].set(emulator.factor_limit[2])
    beyond = forward(theta, shared.at[:, 2].set(5.0))
    np.testing.assert_allclose(beyond, emulate_yields(theta, end, emulator), atol=1e-6)


@pytest.mark.tables
@pytest.mark.thorough
@pytest.mark.parametrize("name", ["tng", "alternative"])
def test_slopes_between_sets(data, emulator, name):
    yields = cs.load_yields(name)
    fit = fit_slopes(jax.random.key(0), yields, emulator, cs.paper_prior(), 300)
    if name == "tng":  # nothing to correct but the errors of the emulator
        assert fit.constant_rms < 0.01
        assert np.abs(fit.factors[[0, 2, 4, 5]]).max() < 0.02
    else:
        assert fit.sloped_rms < 0.8 * fit.constant_rms
        scales = slope_scales([fit, fit])
        assert scales["sn2_mg_slope"] == pytest.approx(abs(fit.factors[N + 4]))
