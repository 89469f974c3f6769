r"""Initial mass function: Chabrier 2003 with a free slope above 1 Msun.

Number of stars per unit mass: log-normal below 1 Msun and
:math:`0.237912\,m^{\alpha}` above. Only stars above 1 Msun return anything, so all
that is needed is the share of the mass in stars heavier than some `m >= 1`.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from chemsbi_jax.constants import (
    IMF_LOGNORMAL_AMPLITUDE,
    IMF_LOGNORMAL_MEDIAN,
    IMF_LOGNORMAL_WIDTH,
    IMF_M_MAX,
    IMF_M_MIN,
    IMF_POWER_AMPLITUDE,
)
from chemsbi_jax.simulator.physics import Physics

LOG10_M_MAX = math.log10(IMF_M_MAX)
SMALL_POWER = 1e-3  # below it four terms of the series are exact to 1e-11

# The grid of the original: 5000 equidistant masses, both ends included
N_GRID = 5000
GRID_STEP = (IMF_M_MAX - IMF_M_MIN) / (N_GRID - 1)  # Msun


class Imf(NamedTuple):
    """IMF of one galaxy."""

    alpha_imf: Float[Array, ""]  # high-mass slope of dN/dm, negative
    total: Float[Array, ""]  # mass of the unnormalised IMF


def make_imf(alpha_imf: Float[Array, ""], physics: Physics) -> Imf:
    """The IMF for one slope, normalised over 0.1 to 100 Msun."""
    zero = jnp.zeros_like(alpha_imf)
    if physics.gridded_imf:
        # the last grid point counts in the norm although no star there ever explodes
        last = IMF_POWER_AMPLITUDE * IMF_M_MAX ** (alpha_imf + 1.0)
        return Imf(alpha_imf, _low_mass_sum() + _mass_sum(zero, alpha_imf) + last)
    return Imf(alpha_imf, _low_mass_integral() + _mass_integral(zero, alpha_imf))


def fraction_above(
    log10_mass: Float[Array, "*b"], imf: Imf, physics: Physics
) -> Float[Array, "*b"]:
    """Share of the stellar mass in stars above a mass of at least 1 Msun."""
    mass_above = _mass_sum if physics.gridded_imf else _mass_integral
    return mass_above(log10_mass, imf.alpha_imf) / imf.total


def _mass_integral(log10_mass: Array, alpha_imf: Array) -> Array:
    r""":math:`A \int_m^{100} m'^{\alpha+1} dm'`, smooth through alpha = -2."""
    depth = math.log(10.0) * (LOG10_M_MAX - log10_mass)
    power = alpha_imf + 2.0
    return IMF_POWER_AMPLITUDE * IMF_M_MAX**power * _saturation(power, depth)


def _saturation(power: Array, depth: Array) -> Array:
    """(1 - exp(-power depth)) / power, with its limit `depth` at power 0."""
    is_small = jnp.abs(power) < SMALL_POWER
    safe = jnp.where(is_small, 1.0, power)
    x = power * depth
    series = depth * (1.0 - x / 2.0 + x * x / 6.0 - x * x * x / 24.0)
    return jnp.where(is_small, series, -jnp.expm1(-safe * depth) / safe)


def _low_mass_integral() -> float:
    """Mass of the log-normal part, 0.1 to 1 Msun, in closed form."""
    width = IMF_LOGNORMAL_WIDTH * math.log(10.0)
    centre = math.log(IMF_LOGNORMAL_MEDIAN)

    def primitive(mass: float) -> float:
        z = (math.log(mass) - centre - width**2) / width
        return 0.5 * math.erf(z / math.sqrt(2.0))

    scale = math.sqrt(2.0 * math.pi) * width * math.exp(centre + width**2 / 2.0)
    return IMF_LOGNORMAL_AMPLITUDE * scale * (primitive(1.0) - primitive(IMF_M_MIN))


def _low_mass_sum() -> float:
    """Plain sum of the log-normal part over the grid masses below 1 Msun."""
    masses = (IMF_M_MIN + GRID_STEP * j for j in range(N_GRID))
    offsets = (math.log10(m / IMF_LOGNORMAL_MEDIAN) for m in masses if m < 1.0)
    width = IMF_LOGNORMAL_WIDTH
    return sum(
        IMF_LOGNORMAL_AMPLITUDE * math.exp(-0.5 * (x / width) ** 2) for x in offsets
    )


def _mass_sum(log10_mass: Array, alpha_imf: Array) -> Array:
    """Plain sum over the grid masses in [m, 100), by Euler-Maclaurin."""
    first = jnp.ceil((10.0**log10_mass - IMF_M_MIN) / GRID_STEP)
    mass = jnp.minimum(IMF_M_MIN + GRID_STEP * first, IMF_M_MAX)
    power = alpha_imf + 1.0
    integral = _mass_integral(jnp.log10(mass), alpha_imf) / GRID_STEP
    ends = (mass**power - IMF_M_MAX**power) / 2.0
    slopes = IMF_M_MAX ** (power - 1.0) - mass ** (power - 1.0)
    correction = ends + GRID_STEP / 12.0 * power * slopes
    return integral + IMF_POWER_AMPLITUDE * correction
