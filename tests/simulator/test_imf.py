"""IMF, lifetimes, delay times and star formation against quadrature and algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from chemsbi_jax.constants import SNIA_DELAY, SNIA_SLOPE, T_END, T_SNIA_END
from chemsbi_jax.simulator import CLEAN, LEGACY, Physics
from chemsbi_jax.simulator.delay_times import snia_numbers
from chemsbi_jax.simulator.imf import SMALL_POWER, fraction_above, make_imf
from chemsbi_jax.simulator.lifetimes import log10_turnoff_mass
from chemsbi_jax.simulator.star_formation import star_formation

INTEGRATED = Physics(integrated_delay_times=True)
SLOPES = (-3.8, -2.6, -2.3, -2.0 - 1e-4, -2.0, -2.0 + 1e-4, -1.7, -0.8)


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


def chabrier(mass, slope):
    """Number of stars per unit mass, as in Chabrier 2003, Table 1."""
    if mass > 1.0:
        return 0.237912 * mass**slope
    return 0.852464 / mass * np.exp(-(np.log10(mass / 0.079) ** 2) / (2 * 0.69**2))


def mass_between(low, high, slope):
    """By quadrature in log mass, where the integrand is smooth."""
    return quad(
        lambda u: np.exp(2 * u) * chabrier(np.exp(u), slope),
        np.log(low),
        np.log(high),
        epsabs=0.0,
        epsrel=1e-12,
    )[0]


def above(mass, slope, physics=CLEAN):
    slope = jnp.asarray(slope)
    return fraction_above(jnp.log10(mass), make_imf(slope, physics), physics)


@pytest.mark.parametrize("slope", SLOPES)
def test_imf_against_quadrature(slope):
    masses = (1.0, 2.5, 8.0, 27.5, 80.0, 99.0)
    total = mass_between(0.1, 1.0, slope) + mass_between(1.0, 100.0, slope)
    expected = [mass_between(m, 100.0, slope) / total for m in masses]
    # closed form; cancellation near 100 Msun and the quadrature leave 1e-11
    np.testing.assert_allclose(above(np.array(masses), slope), expected, rtol=1e-10)


def test_imf_is_normalised_as_published():
    """The constants of Chabrier hold for the standard slope, to their digits."""
    assert float(make_imf(jnp.asarray(-2.3), CLEAN).total) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("physics", "expected"),
    [
        (CLEAN, (0.40012, 0.22578, 0.11425)),
        (LEGACY, (0.39779, 0.22382, 0.11298)),
    ],
    ids=["clean", "legacy"],
)
def test_imf_share_of_massive_stars(physics, expected):
    got = [float(above(8.0, slope, physics)) for slope in (-2.0, -2.3, -2.6)]
    assert got == pytest.approx(expected, abs=1e-5)  # digits of the published numbers


@pytest.mark.parametrize("slope", [-2.0, -2.0 - SMALL_POWER, -2.0 + SMALL_POWER])
def test_imf_gradient_through_slope_minus_two(slope):
    def quadrature(slope):
        total = mass_between(0.1, 1.0, slope) + mass_between(1.0, 100.0, slope)
        return mass_between(8.0, 100.0, slope) / total

    h = 1e-3  # error of the difference h^2 = 1e-6, of the quadrature 1e-12 / h
    expected = (quadrature(slope + h) - quadrature(slope - h)) / (2 * h)
    got = jax.grad(lambda a: above(8.0, a))(slope)
    assert float(got) == pytest.approx(expected, rel=1e-5)


def test_imf_series_meets_the_closed_form():
    """No step where one takes over from the other."""
    edge = -2.0 + SMALL_POWER
    left, right = float(above(8.0, edge - 1e-12)), float(above(8.0, edge + 1e-12))
    assert left == pytest.approx(right, rel=1e-11)


def lifetime(log10_mass, zeta):
    """log10 years, Portinari+ 1998 as fitted in Chempy."""
    m = log10_mass
    return (
        10.0153615 - 3.91089893 * m + 0.99947209 * m**2
        - 0.03601771 * zeta - 0.31139679 * m * zeta + 0.09109059 * m**2 * zeta
        - 0.03218365 * zeta**2 - 0.01323112 * m * zeta**2
    )  # fmt: skip


@pytest.mark.parametrize("metallicity", [1e-5, 1e-3, 0.02, 0.05])
def test_turnoff_mass_inverts_the_lifetime(metallicity):
    ages = jnp.log10(jnp.array([0.05, 0.5, 3.0, 9.0]))
    mass = log10_turnoff_mass(ages, jnp.asarray(metallicity), CLEAN)
    assert (np.diff(mass) < 0.0).all()
    np.testing.assert_allclose(
        lifetime(mass, np.log10(metallicity)), ages + 9.0, rtol=1e-12
    )


def test_the_sun_lives_ten_billion_years():
    mass = 10 ** log10_turnoff_mass(jnp.asarray(1.0), jnp.asarray(0.0134), CLEAN)
    assert float(mass) == pytest.approx(1.0, abs=0.05)


def test_lifetimes_of_pristine_stars_are_those_of_the_floor():
    def mass(metallicity):
        return log10_turnoff_mass(jnp.asarray(-0.5), metallicity, CLEAN)

    pristine, floor = mass(jnp.asarray(0.0)), mass(jnp.asarray(1e-5))
    assert float(pristine) == pytest.approx(float(floor), abs=1e-14)
    assert np.isfinite(jax.grad(mass)(0.0))


@pytest.mark.parametrize(
    ("physics", "tolerance"),
    # sampled and smooth: 27 + 1/2 points stand for 27 points, 0.1 % of the sum
    [(INTEGRATED, 1e-12), (LEGACY, 1e-11), (CLEAN, 5e-3)],
    ids=["integrated", "legacy", "clean"],
)
def test_all_sn_ia_explode_within_their_time(physics, tolerance):
    numbers = snia_numbers(
        jnp.asarray(-2.89), jnp.asarray(T_SNIA_END / physics.n_steps), physics
    )
    assert float(numbers.sum()) == pytest.approx(10**-2.89, rel=tolerance)


def test_integrated_delay_times_against_quadrature():
    dt = 0.3
    total = quad(lambda t: t**-SNIA_SLOPE, SNIA_DELAY, T_SNIA_END)[0]
    edges = np.maximum(dt * np.arange(CLEAN.n_steps + 1), SNIA_DELAY)
    expected = [
        quad(lambda t: t**-SNIA_SLOPE, a, b)[0] / total
        for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]
    numbers = snia_numbers(jnp.asarray(0.0), jnp.asarray(dt), INTEGRATED)
    np.testing.assert_allclose(numbers, expected, rtol=1e-9)


def test_sampled_delay_times_follow_the_power_law():
    numbers = snia_numbers(jnp.asarray(0.0), jnp.asarray(0.3), CLEAN)
    steps = np.arange(1, CLEAN.n_steps + 1)
    np.testing.assert_allclose(numbers / numbers[0], steps**-SNIA_SLOPE, rtol=1e-12)


def test_no_sn_ia_before_the_delay():
    dt = SNIA_DELAY / 3.5
    for physics in (CLEAN, LEGACY, INTEGRATED):
        numbers = snia_numbers(jnp.asarray(0.0), jnp.asarray(dt), physics)
        assert (numbers[:3] == 0.0).all()
        assert (numbers[3:] > 0.0).all()


@pytest.mark.parametrize(
    ("physics", "tolerance"),
    # sampling a Gamma law at 27 points, and up to a whole step that is not counted
    [(CLEAN, 5e-3), (LEGACY, 0.02)],
    ids=["clean", "legacy"],
)
def test_star_formation(physics, tolerance):
    peak, birth_time = 3.2, 9.0
    history = star_formation(jnp.log10(peak), jnp.asarray(birth_time), physics)
    assert float(history.formed.sum()) == pytest.approx(1.0, abs=1e-14)
    time = np.linspace(0.0, birth_time, physics.n_steps + 1)
    assert time[np.argmax(history.formed)] == pytest.approx(peak, abs=time[1])

    def share(t):
        return 1.0 - (1.0 + t / peak) * np.exp(-t / peak)

    expected = share(T_END) / share(birth_time)  # all stars formed until today
    assert float(history.reservoir) == pytest.approx(expected, rel=tolerance)
    assert bool(history.ongoing)
