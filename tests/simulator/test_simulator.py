"""The public call of the simulator: shapes, precision, JAX transforms, switches."""

from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax import simulator
from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.simulator import CLEAN, LEGACY, Physics, load_yields, onezone, simulate
from chemsbi_jax.simulator.onezone import to_abundances
from helpers.paths import TOY

FIDUCIAL = np.array([-2.3, -2.89, -0.3, 0.55, 0.5, 8.0])
OTHERS = FIDUCIAL + 0.05 * np.arange(6)[:, None] * np.array([1, -1, 1, 1, -1, 4])
SHORT = Physics(n_steps=6)  # quick to run without compilation


@pytest.fixture(scope="module")
def toy():
    return load_yields(TOY)


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="module")
def six_stars(toy):
    return np.asarray(simulate(OTHERS, toy))


@pytest.mark.parametrize("batch", [(), (1,), (2, 3), (0,), (2, 0)])
def test_any_leading_axes(batch, toy, six_stars):
    n = int(np.prod(batch))
    out = simulate(OTHERS[:n].reshape(*batch, 6), toy)
    assert out.shape == (*batch, len(ABUNDANCES))
    assert out.dtype == jnp.float32
    # sums in another order, in single precision
    expected = six_stars[:n].reshape(out.shape)
    np.testing.assert_allclose(out, expected, rtol=0.0, atol=5e-6)


def test_stars_are_independent_of_their_neighbours(toy, six_stars):
    """A NaN of one star (SFR below 5 %) stays with it."""
    theta = OTHERS.copy()
    theta[2, 3:] = 0.2, 0.5, 13.7
    out = np.asarray(simulate(theta, toy))
    assert np.isnan(out[2]).all()
    others = [0, 1, 3, 4, 5]
    np.testing.assert_array_equal(out[others], six_stars[others])


def test_vmap_is_a_loop(toy, six_stars):
    out = jax.vmap(lambda star: simulate(star, toy))(OTHERS)
    np.testing.assert_allclose(out, six_stars, rtol=0.0, atol=5e-6)


@pytest.fixture
def one_segment(monkeypatch):
    """One scan in place of three, which is compiled in half the time."""
    monkeypatch.setattr(onezone, "_segments", lambda n, n_segments: [(0, n)])


@pytest.fixture(scope="module")
def short_run():
    """Jitted and in three scans, as always; made before any test changes that."""
    with jax.enable_x64(True):
        return simulate(FIDUCIAL, load_yields(TOY), SHORT)


@pytest.mark.thorough
def test_jitted_is_plain(x64, short_run, one_segment):
    track = onezone.evolve(jnp.asarray(FIDUCIAL), load_yields(TOY), SHORT)
    np.testing.assert_allclose(short_run, track.abundances[-1], rtol=0.0, atol=1e-12)


def test_no_second_trace_for_the_same_shape(toy, monkeypatch, one_segment):
    traced = []
    evolve = simulator.evolve
    monkeypatch.setattr(
        simulator, "evolve", lambda *args: traced.append(1) or evolve(*args)
    )
    theta = np.tile(FIDUCIAL, (7, 1))
    simulate(theta, toy, SHORT)
    n_first = len(traced)
    assert n_first >= 1
    simulate(theta + 0.1, toy, SHORT)
    simulate(jnp.asarray(theta, jnp.float32), toy, Physics(n_steps=6))  # equal, static
    assert len(traced) == n_first
    simulate(theta[:5], toy, SHORT)
    assert len(traced) > n_first


def test_integers_are_numbers_too(toy):
    theta = [-2, -3, 0, 1, 0, 8]
    out = simulate(theta, toy)
    assert np.isfinite(out).all()
    np.testing.assert_array_equal(out, simulate(np.array(theta, float), toy))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("theta", "got"),
    [
        (np.zeros(5), r"\(5,\)"),
        (np.zeros((6, 5)), r"\(6, 5\)"),
        (-2.3, r"\(\)"),
        (np.zeros((3, 0)), r"\(3, 0\)"),
    ],
    ids=["5", "6 x 5", "number", "3 x 0"],
)
@pytest.mark.parametrize("call", [simulator.simulate, simulator.simulate_track])
def test_wrong_shape(call, theta, got, toy):
    with pytest.raises(ValueError, match=rf"\(\.\.\., 6\).*alpha_imf.*got {got}"):
        call(theta, toy)


def test_unknown_yields():
    with pytest.raises(ValueError, match="Unknown yields 'nomoto'.*tng, alternative"):
        load_yields("nomoto")


def test_track_keeps_its_leading_axes(toy, six_stars):
    track = simulator.simulate_track(OTHERS.reshape(2, 3, 6), toy)
    n_times = CLEAN.n_steps + 1
    assert track.abundances.shape == (2, 3, n_times, len(ABUNDANCES))
    assert track.gas_mass.shape == (2, 3, n_times)
    assert track.valid.shape == (2, 3)
    np.testing.assert_allclose(track.time[..., -1].ravel(), OTHERS[:, -1], rtol=1e-6)
    last = np.asarray(track.abundances)[:, :, -1].reshape(6, -1)
    np.testing.assert_allclose(last, six_stars, rtol=0.0, atol=5e-6)


def test_solar_composition_is_zero():
    """By numbers of atoms: 10^(A - 12) of hydrogen each, Asplund+ 2009."""
    solar = np.array([8.43, 7.50, 12.00, 10.93, 7.60, 7.83, 7.93, 8.69, 7.51])
    weight = [12.0107, 55.845, 1.00794, 4.002602, 24.305, 14.0067]
    weight += [20.1797, 15.9994, 28.0855]
    masses = 10.0 ** (solar - 12.0) * weight
    composition = jnp.asarray(masses / masses.sum(), jnp.float32)
    np.testing.assert_allclose(to_abundances(composition), 0.0, atol=2e-6)
    richer = to_abundances(composition.at[4].multiply(10.0))  # Mg
    expected = [1.0 if name == "mg_fe" else 0.0 for name in ABUNDANCES]
    np.testing.assert_allclose(richer, expected, atol=2e-6)


LATE = FIDUCIAL[:-1].tolist() + [13.799]  # after T_END
EARLY = FIDUCIAL[:-1].tolist() + [0.3]  # the first SN Ia within the first step
SWITCHES = {
    # name: (value, theta, smallest and largest change that makes sense [dex])
    "n_steps": (7, FIDUCIAL, 1e-4, 0.1),
    "lagged_composition": (False, FIDUCIAL, 1e-4, 0.1),
    "integrated_delay_times": (True, FIDUCIAL, 1e-3, 0.3),
    "gridded_imf": (True, FIDUCIAL, 1e-5, 0.02),
    "dropped_last_agb": (True, FIDUCIAL, 1e-5, 0.1),
    "unfloored_metallicity": (True, FIDUCIAL, 1e-5, 0.1),
    "stepwise_reservoir": (True, FIDUCIAL, 1e-5, 0.05),
    "stepwise_delay_times": (True, EARLY, 1e-5, 0.1),
    "truncated_late_run": (True, LATE, 1e-3, 0.2),
    "rounding_factors": (True, FIDUCIAL, 1e-12, 1e-6),
}


def test_all_switches_are_tried():
    assert set(SWITCHES) == {f.name for f in fields(Physics)}
    accidents = [f.name for f in fields(Physics)][3:]
    assert not any(getattr(CLEAN, name) for name in accidents)
    assert all(getattr(LEGACY, name) for name in accidents)


ONE, *OTHER_SWITCHES = SWITCHES  # each compiles the simulator
FURTHER = [pytest.param(x, marks=pytest.mark.thorough) for x in OTHER_SWITCHES]


@pytest.mark.parametrize("name", [ONE, *FURTHER])
def test_each_switch_changes_something(name, x64, short_run, one_segment):
    value, theta, smallest, largest = SWITCHES[name]
    toy = load_yields(TOY)
    changed = simulate(theta, toy, replace(SHORT, **{name: value}))
    change = jnp.abs(changed - simulate(theta, toy, SHORT)).max()
    assert smallest < float(change) < largest


def test_parameters_are_named_in_order():
    """The order of theta is part of every stored file."""
    assert PARAMETERS == (
        "alpha_imf",
        "log10_n_ia",
        "log10_sfe",
        "log10_sfr_peak",
        "outflow_fraction",
        "birth_time",
    )
