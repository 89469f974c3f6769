r"""Star-formation history: a Gamma law :math:`t\,e^{-t/t_p}`, and the gas it needs."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from chemsbi_jax.constants import MIN_SFR_FRACTION, T_END
from chemsbi_jax.simulator.physics import Physics

SFR_FLOOR = 1e-10  # 1/Gyr, at t = 0, so that the first step has some gas


class StarFormation(NamedTuple):
    """Stars formed at each time point until the birth of the observed star."""

    dt: Float[Array, ""]  # Gyr, length of a step
    formed: Float[Array, " time"]  # mass formed per point, sums to 1
    reservoir: Float[Array, ""]  # mass of the gas reservoir at the start
    last: Int[Array, ""]  # index of the point at which the star is born
    ongoing: Bool[Array, ""]  # enough star formation at birth to form the star


def star_formation(
    log10_sfr_peak: Float[Array, ""], birth_time: Float[Array, ""], physics: Physics
) -> StarFormation:
    """History up to `birth_time` [Gyr] with its maximum at 10^`log10_sfr_peak` Gyr.

    The reservoir holds the mass of all stars formed until today. A star is born only
    while the rate is above 5 % of its mean until today.
    """
    n = physics.n_steps
    peak = 10.0**log10_sfr_peak
    dt = birth_time / n
    last = jnp.asarray(n)
    if physics.truncated_late_run:
        last = jnp.where(birth_time > T_END, n - 1, n)
    steps = jnp.arange(n + 1)
    rate = jnp.where(steps <= last, _rate(steps * dt, peak), 0.0)
    so_far = jnp.sum(rate)
    n_today, today = _until_today(birth_time, peak, so_far, physics)
    ongoing = rate[last] * n_today >= MIN_SFR_FRACTION * today
    return StarFormation(dt, rate / so_far, today / so_far, last, ongoing)


def _rate(time: Array, peak: Array) -> Array:
    rate = time / peak**2 * jnp.exp(-time / peak)
    return jnp.where(time > 0.0, rate, SFR_FLOOR)


def _until_today(
    birth_time: Array, peak: Array, so_far: Array, physics: Physics
) -> tuple[Array, Array]:
    """Number of steps, and sum of the rates over them, continued until today."""
    n = physics.n_steps
    dt = birth_time / n
    if physics.stepwise_reservoir:
        n_today = jnp.floor(n * T_END / birth_time)
        return n_today, jnp.maximum(
            SFR_FLOOR + _sum_of_rates(n_today, dt, peak), so_far
        )
    later = (_formed_after(birth_time, peak) - _formed_after(T_END, peak)) / dt
    return n * T_END / birth_time, so_far + jnp.maximum(later, 0.0)


def _formed_after(time: Array | float, peak: Array) -> Array:
    return (1.0 + time / peak) * jnp.exp(-time / peak)


def _sum_of_rates(n: Array, dt: Array, peak: Array) -> Array:
    """Closed form of the sum of the rates at the points 1 ... n."""
    ratio = jnp.exp(-dt / peak)
    less = -jnp.expm1(-dt / peak)  # 1 - ratio
    return dt / peak**2 * ratio * (1.0 - ratio**n * (1.0 + n * less)) / less**2
