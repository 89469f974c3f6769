r"""SN Ia delay times: a power law :math:`t^{-1.12}` after 40 Myr (Maoz+ 2010)."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from chemsbi_jax.constants import SNIA_DELAY, SNIA_SLOPE, T_SNIA_END
from chemsbi_jax.simulator.physics import Physics

ZETA_SLOPE = 8.91921655749934  # Riemann zeta function of SNIA_SLOPE
ONSET_STEEPNESS = 8.0  # of the ramp that replaces the jump at birth_time 1.08 Gyr


def snia_numbers(
    log10_n_ia: Float[Array, ""], dt: Float[Array, ""], physics: Physics
) -> Float[Array, " age"]:
    """SNe Ia per Msun of stars that explode in each of the first age steps.

    Args:
        log10_n_ia: log10 of the number of SNe Ia per Msun within 13.8 Gyr.
        dt: length of a step [Gyr].
        physics: `integrated_delay_times` integrates the power law over each step;
            otherwise it is sampled at the end of the step, as in Chempy.
    """
    share = _integrated if physics.integrated_delay_times else _sampled
    return 10.0**log10_n_ia * share(dt, physics)


def _integrated(dt: Array, physics: Physics) -> Array:
    def exploded(time: Array | float) -> Array:
        late = jnp.maximum(time, SNIA_DELAY)
        return SNIA_DELAY ** (1.0 - SNIA_SLOPE) - late ** (1.0 - SNIA_SLOPE)

    times = dt * jnp.arange(physics.n_steps + 1)
    return jnp.diff(exploded(times)) / exploded(T_SNIA_END)


def _sampled(dt: Array, physics: Physics) -> Array:
    steps = jnp.arange(1, physics.n_steps + 1, dtype=dt.dtype)
    rate = steps**-SNIA_SLOPE * _onset(steps * dt, physics)
    # the sum of all terms, less what the onset took away from the first ones
    total = _power_sum(_n_total(dt, physics), physics) - jnp.sum(
        steps**-SNIA_SLOPE - rate
    )
    return rate / total


def _n_total(dt: Array, physics: Physics) -> Array:
    if physics.stepwise_delay_times:
        return jnp.ceil(T_SNIA_END / dt)
    return T_SNIA_END / dt + 0.5  # what the whole number is on average


def _onset(time: Array, physics: Physics) -> Array:
    """Share of the full rate: a step at the delay, or a ramp of +-6 % around it."""
    if physics.stepwise_delay_times:
        return jnp.where(time >= SNIA_DELAY, 1.0, 0.0)
    return jnp.clip(0.5 + ONSET_STEEPNESS * (1.0 - SNIA_DELAY / time), 0.0, 1.0)


def _power_sum(n: Array, physics: Physics) -> Array:
    """Sum of i^-1.12 for i = 1 ... n, by Euler-Maclaurin; `n` may be fractional."""
    tail = n ** (1.0 - SNIA_SLOPE) / (SNIA_SLOPE - 1.0)
    ends = 0.5 * n**-SNIA_SLOPE
    if physics.stepwise_delay_times:  # counts exactly, so two more terms show
        s = SNIA_SLOPE
        ends = ends - s / 12.0 * n ** (-s - 1.0)
        ends = ends + s * (s + 1.0) * (s + 2.0) / 720.0 * n ** (-s - 3.0)
    return ZETA_SLOPE - tail + ends
