"""Stellar lifetimes: the fit to Portinari+ 1998 that Chempy uses, and its inverse."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from chemsbi_jax.constants import IMF_M_MAX, IMF_M_MIN
from chemsbi_jax.simulator.physics import Physics

LOG10_Z_MIN = -5.0  # the fit is quadratic in log10 Z and collapses far below
LOG10_Z_TINY = -30.0  # where the original has no floor: keeps the logarithm finite
TINY = 1e-12

# log10(lifetime / yr) = sum_ij COEFFICIENTS[i][j] L^i zeta^j, L = log10(m / Msun)
COEFFICIENTS = (
    (10.0153615, -0.03601771, -0.03218365),
    (-3.91089893, -0.31139679, -0.01323112),
    (0.99947209, 0.09109059, 0.0),
)
GYR_IN_LOG10_YR = 9.0


def log10_turnoff_mass(
    log10_age: Float[Array, "*b"], metallicity: Float[Array, ""], physics: Physics
) -> Float[Array, "*b"]:
    """log10 mass [Msun] of the stars that die at an age [log10 Gyr]."""
    zeta = log10_metallicity(metallicity, physics)
    c0, c1, c2 = ((a + b * zeta + c * zeta * zeta) for a, b, c in COEFFICIENTS)
    d = c0 - log10_age - GYR_IN_LOG10_YR
    # the root of c2 L^2 + c1 L + d = 0 that stays finite when c2 -> 0
    root = jnp.sqrt(jnp.maximum(c1 * c1 - 4.0 * c2 * d, TINY))
    log10_mass = 2.0 * d / (root - c1)
    return jnp.clip(log10_mass, math.log10(IMF_M_MIN), math.log10(IMF_M_MAX))


def log10_metallicity(
    metallicity: Float[Array, ""], physics: Physics
) -> Float[Array, ""]:
    """log10 Z, not below -5: finite, with a finite gradient, in pristine gas."""
    if physics.unfloored_metallicity:
        zeta = jnp.log10(jnp.maximum(metallicity, 10.0**LOG10_Z_TINY))
        return jnp.where(metallicity > 0.0, zeta, LOG10_Z_MIN)
    return jnp.log10(jnp.maximum(metallicity, 10.0**LOG10_Z_MIN))
