"""The gas budget of one zone: stars form, die and enrich the gas they form from."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from chemsbi_jax.constants import METALS, PRIMORDIAL_H, PRIMORDIAL_HE, SNIA_WD_MASS
from chemsbi_jax.simulator.delay_times import snia_numbers
from chemsbi_jax.simulator.imf import make_imf
from chemsbi_jax.simulator.physics import Physics
from chemsbi_jax.simulator.ssp import mass_bins, ssp_ejecta
from chemsbi_jax.simulator.star_formation import StarFormation, star_formation
from chemsbi_jax.yields.elements import ATOMIC_WEIGHT, NINE, SOLAR, Elements
from chemsbi_jax.yields.types import Yields

NEED_FACTOR, INFALL_FACTOR = 1.0 + 1e-7, 1.0 + 1e-8  # of the original's gas budget
RESCUE_FACTOR = 1.01  # gas per star formed where the Schmidt law alone gives too little
TINY = 1e-30


class Gas(NamedTuple):
    """The zone between two steps; masses in units of all stars formed."""

    mass: Float[Array, ""]  # of the interstellar gas
    composition: Float[Array, " element"]  # its mass fractions
    previous: Float[Array, " element"]  # mass fractions one step before
    reservoir: Float[Array, " element"]  # mass of each element outside
    coming: Float[Array, "age element"]  # ejecta already on their way, by step


class Track(NamedTuple):
    """The zone over time; masses in units of all stars formed until `birth_time`."""

    time: Float[Array, " time"]  # Gyr since the Big Bang
    abundances: Float[Array, "time element"]  # dex, order of `Yields.abundances`
    composition: Float[Array, "time traced"]  # mass fractions, `Yields.elements`
    gas_mass: Float[Array, " time"]
    reservoir: Float[Array, "time traced"]  # mass of each element outside
    formed: Float[Array, " time"]  # mass of stars formed at this point
    infall: Float[Array, " time"]  # mass that came in from the reservoir
    ejecta: Float[Array, "time traced"]  # mass of each element returned by stars
    last: Int[Array, ""]  # index of the point at which the star is born
    valid: Bool[Array, ""]  # a star can be born there


Step = Callable[[Gas, tuple[Array, ...]], tuple[Gas, tuple[Array, ...]]]
"""(gas, inputs of a step) -> gas after it, and what is recorded"""


def evolve(theta: Float[Array, " param"], yields: Yields, physics: Physics) -> Track:
    """Follow the gas of one galaxy until the birth of one star (Rybizki+ 2017)."""
    alpha_imf, log10_n_ia, log10_sfe, log10_sfr_peak, outflow_fraction, birth_time = (
        theta
    )
    history = star_formation(log10_sfr_peak, birth_time, physics)
    imf = make_imf(alpha_imf, physics)
    bins = mass_bins(yields.sn2, imf, physics), mass_bins(yields.agb, imf, physics)
    log10_age = jnp.log10(history.dt * jnp.arange(1, physics.n_steps + 1))
    gas_per_star = 1.0 / (10.0**log10_sfe * history.dt)  # Schmidt law, exponent 1
    explosions = _snia_explosions(log10_n_ia, history, physics)
    snia, elements = _snia_ejecta(yields), yields.elements

    def step(gas: Gas, now: tuple[Array, ...]) -> tuple[Gas, tuple[Array, ...]]:
        formed_before, formed, exploding = now
        unprocessed = gas.previous if physics.lagged_composition else gas.composition
        returned = ssp_ejecta(
            log10_age[: gas.coming.shape[0]],
            metal_fraction(gas.composition, elements),
            unprocessed,
            imf,
            bins,
            yields,
            physics,
        )
        coming = gas.coming + formed_before * jnp.diff(returned, axis=0, prepend=0.0)
        ejecta = coming[0] + exploding * snia
        arrived = gas._replace(coming=_advance(coming))
        after, infall = _exchange(
            arrived, ejecta, formed, gas_per_star, outflow_fraction, elements, physics
        )
        record = (after.mass, after.composition, after.reservoir, infall, ejecta)
        return after, record

    start = _initial_gas(history, gas_per_star, elements, physics)
    inputs = (history.formed[:-1], history.formed[1:], explosions)
    records = _scan_in_segments(step, start, inputs)
    return _make_track(start, records, history, elements)


def observed(track: Track, physics: Physics) -> Float[Array, " element"]:
    """Abundances [dex] of the star born at the end; NaN if there is no such star."""
    last = jnp.where(physics.truncated_late_run, track.last, physics.n_steps)
    return jnp.where(track.valid, track.abundances[last], jnp.nan)


def metal_fraction(
    composition: Float[Array, "*b traced"], elements: Elements = NINE
) -> Float[Array, "*b"]:
    """Metallicity Z: the mass fraction of the metals among the nine main elements."""
    is_metal = jnp.array([e in METALS for e in elements])
    return jnp.sum(jnp.where(is_metal, composition, 0.0), axis=-1)


def to_abundances(
    composition: Float[Array, "*b traced"], elements: Elements = NINE
) -> Float[Array, "*b element"]:
    """[X/Fe] and [Fe/H] in dex (Asplund+ 2009) in the order of the elements, without H.

    Elements without any mass give a very low, finite number.
    """
    dtype, hydrogen, iron = composition.dtype, elements.index("H"), elements.index("Fe")
    weight = jnp.array([ATOMIC_WEIGHT[e] for e in elements], dtype)
    number = jnp.maximum(composition, TINY) / weight
    solar = jnp.array([SOLAR[e] for e in elements], dtype) - SOLAR["H"]
    x_h = jnp.log10(number / number[..., hydrogen, None]) - solar
    fe_h = x_h[..., iron, None]
    x_fe = jnp.where(jnp.arange(len(elements)) == iron, x_h, x_h - fe_h)
    return jnp.delete(x_fe, hydrogen, axis=-1)


def _snia_explosions(
    log10_n_ia: Array, history: StarFormation, physics: Physics
) -> Array:
    """Number of SNe Ia in each step, of all the stars formed before."""
    numbers = snia_numbers(log10_n_ia, history.dt, physics)
    return jnp.convolve(history.formed[:-1], numbers)[: physics.n_steps]


def _snia_ejecta(yields: Yields) -> Array:
    """Gain of the gas per SN Ia [Msun]; the accreted fuel is taken from hydrogen."""
    hydrogen, sn_ia = yields.elements.index("H"), yields.sn_ia
    return sn_ia.ejecta.at[hydrogen].add(SNIA_WD_MASS - sn_ia.mass)


def _initial_gas(
    history: StarFormation, gas_per_star: Array, elements: Elements, physics: Physics
) -> Gas:
    primordial = _primordial(elements, history.formed.dtype)
    factor = NEED_FACTOR if physics.rounding_factors else 1.0
    needed = history.formed[0] * jnp.maximum(factor, gas_per_star)
    mass = needed - history.formed[0]
    coming = jnp.zeros((physics.n_steps, len(primordial)), history.formed.dtype)
    return Gas(
        mass, primordial, primordial, primordial * (history.reservoir - mass), coming
    )


def _exchange(
    gas: Gas,
    ejecta: Array,
    formed: Array,
    gas_per_star: Array,
    outflow_fraction: Array,
    elements: Elements,
    physics: Physics,
) -> tuple[Gas, Array]:
    """Ejecta arrive, gas falls in until stars can form, stars form."""
    inside = gas.mass * gas.composition + (1.0 - outflow_fraction) * ejecta
    accreted = _primordial(elements, formed.dtype) * formed  # from the cosmic web
    outside = gas.reservoir + outflow_fraction * ejecta + accreted
    total, available = _gas_mass(inside, elements), _gas_mass(outside, elements)
    factor = INFALL_FACTOR if physics.rounding_factors else 1.0
    infall = jnp.maximum((formed * gas_per_star - total) * factor, 0.0)
    too_little = infall + total <= formed
    infall = jnp.where(too_little, RESCUE_FACTOR * (formed - total), infall)
    infall = jnp.minimum(infall, available)
    moved = infall * outside / available
    inside = inside + moved
    total = _gas_mass(inside, elements)
    after = Gas(
        mass=total - formed,
        composition=inside / total,
        previous=gas.composition,
        reservoir=outside - moved,
        coming=gas.coming,
    )
    return after, infall


def _gas_mass(masses: Array, elements: Elements) -> Array:
    """Mass of the nine main elements; the others are traced without weight.

    So the gas, its metallicity and the abundances of the nine do not depend on which
    others are traced.
    """
    counted = [i for i, e in enumerate(elements) if e in NINE]
    return jnp.sum(
        masses if len(counted) == len(elements) else masses[jnp.array(counted)]
    )


def _primordial(elements: Elements, dtype: jnp.dtype) -> Float[Array, " traced"]:
    """Mass fractions of the gas before there were stars."""
    fractions = {"H": PRIMORDIAL_H, "He": PRIMORDIAL_HE}
    return jnp.array([fractions.get(e, 0.0) for e in elements], dtype)


def _advance(coming: Array) -> Array:
    return jnp.concatenate([coming[1:], jnp.zeros_like(coming[:1])])


def _scan_in_segments(
    step: Step, start: Gas, inputs: tuple[Array, ...], n_segments: int = 3
) -> tuple[Array, ...]:
    """`lax.scan` whose ages shrink with the time that is left: a quarter faster."""
    n = inputs[0].shape[0]
    gas, records = start, []
    for first, last in _segments(n, n_segments):
        gas = gas._replace(coming=gas.coming[: n - first])
        now = tuple(x[first:last] for x in inputs)
        gas, record = lax.scan(step, gas, now)
        records.append(record)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), *records)


def _segments(n: int, n_segments: int) -> list[tuple[int, int]]:
    edges = [round(i * n / n_segments) for i in range(n_segments + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))


def _make_track(
    start: Gas, records: tuple, history: StarFormation, elements: Elements
) -> Track:
    zero = jnp.zeros_like(start.mass)
    first = (start.mass, start.composition, start.reservoir, zero, start.coming[0])
    mass, composition, reservoir, infall, ejecta = jax.tree.map(
        lambda a, b: jnp.concatenate([a[None], b]), first, records
    )
    steps = jnp.arange(len(mass))
    sound = (mass >= 0.0) & jnp.all(composition >= 0.0, axis=-1)
    valid = history.ongoing & jnp.all(sound | (steps > history.last))
    return Track(
        time=steps * history.dt,
        abundances=to_abundances(composition, elements),
        composition=composition,
        gas_mass=mass,
        reservoir=reservoir,
        formed=history.formed,
        infall=infall,
        ejecta=ejecta,
        last=history.last,
        valid=valid,
    )
