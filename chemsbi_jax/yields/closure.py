"""Closure: tests that a table's numbers can be what its columns claim.

Each of them finds a fault that a published package has
(`tests/yields/test_yield_faults.py`).
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool

from chemsbi_jax.constants import IMF_M_MAX
from chemsbi_jax.yields.errors import YieldsError
from chemsbi_jax.yields.parts import CHANNELS, Models, Part

TOLERANCE = 0.01  # of the mass ejected; tables are printed with 3 to 5 digits
MAX_IRON = 0.05  # net Fe of AGB stars, in units of the Fe that they return
IRON_SHARE = 0.095  # of the metals at birth (Anders & Grevesse 1989), without X0
EXPLODED_IRON = 0.02  # Msun of new Fe, more than any star makes that collapses whole
MAX_REMNANT = 0.2  # of the initial mass, left by a star that explodes, with fallback
MIN_REMNANT = 1.1  # Msun, lighter than any neutron star
MAX_STEP = 0.22  # of the initial mass: remnant minus what its neighbours' would give


def checked(part: Part) -> Part:
    """The part itself.

    Raises:
        YieldsError: its numbers cannot be right; names the model and the test.
    """
    faults = find_faults(part)
    if faults:
        more = f" ({len(faults) - 1} more faults)" if len(faults) > 1 else ""
        raise YieldsError(
            f"{part.name}: this {CHANNELS[part.channel]} table ({part.paper}; "
            f"{part.source}) is broken: {faults[0]}{more}. Use another part "
            "(cs.list_yields())."
        )
    return part


def find_faults(part: Part) -> list[str]:
    """A sentence for each test that a model fails; none for a sound part.

    The ejected mass must not exceed the star's; H, He and metals must sum to it (where
    the table has all of them), and X0 to 1; net yields must sum to 0; no star makes
    hydrogen or destroys more of an element than it was born with; an exploded star
    leaves a neutron star or a small black hole, and remnants are smooth in mass; AGB
    stars make no iron.
    """
    tests = {
        "sn2": (
            _mass,
            _explosions,
            _elements,
            _birth,
            _hydrogen,
            _destroyed,
            _remnants,
        ),
        "agb": (_mass, _iron, _elements, _birth, _hydrogen, _destroyed, _remnants),
        "sn_ia": (_mass, _elements),
    }[part.channel]
    return [
        f"Z = {m.metallicity:g}: {fault}"
        for test in tests
        for m in part.models
        for fault in test(part, m)
    ]


def _mass(part: Part, m: Models) -> Iterator[str]:
    if not (np.diff(m.masses) > 0.0).all():
        yield f"expected ascending masses, each once; got {m.masses.tolist()}"
    for star, ejected in zip(m.masses, m.ejected, strict=True):
        if not 0.0 <= ejected <= star * (1.0 + TOLERANCE):
            yield f"{star:g} Msun eject {ejected:.3g} Msun"


def _elements(part: Part, m: Models) -> Iterator[str]:
    """NaN, of a gross mass that is not known, compares as sound."""
    for star, ejected, gross, net in zip(
        m.masses, m.ejected, m.gross, m.net, strict=True
    ):
        if abs(gross.sum() - ejected) > TOLERANCE * ejected:
            yield (
                f"H, He and metals of {star:g} Msun sum to {gross.sum():.3g}, not to "
                f"the {ejected:.3g} Msun ejected"
            )
        if part.channel != "sn_ia" and abs(net.sum()) > TOLERANCE * ejected:
            yield f"the net yields of {star:g} Msun sum to {net.sum():.3g} Msun, not 0"


def _birth(part: Part, m: Models) -> Iterator[str]:
    total = m.initial.sum()
    if abs(total - 1.0) > TOLERANCE:
        yield f"the mass fractions at birth sum to {total:.3g}, not to 1"


def _hydrogen(part: Part, m: Models) -> Iterator[str]:
    net = m.net[:, part.elements.index("H")]
    for star, made, ejected in zip(m.masses, net, m.ejected, strict=True):
        if made > 1e-6 * star:
            yield f"{star:g} Msun make {made:.2g} Msun of hydrogen"
        if -made > ejected * (1.0 + TOLERANCE):
            yield f"{star:g} Msun lose {-made:.3g} Msun of H, ejecting {ejected:.3g}"


def _destroyed(part: Part, m: Models) -> Iterator[str]:
    """Gross yields below 0 by more than the rounding of net yields."""
    low = m.gross < -1e-3 * m.initial * m.ejected[:, None] - 1e-9 * m.masses[:, None]
    for i, j in np.argwhere(low):
        yield (
            f"{m.masses[i]:g} Msun destroy more {part.elements[j]} than they were born "
            f"with ({m.gross[i, j]:.2g} Msun are ejected)"
        )


def _remnants(part: Part, m: Models) -> Iterator[str]:
    """Smooth in mass between neighbours of one fate, explosion or collapse."""
    remnant, exploded = m.masses - m.ejected, _exploded(part, m)
    for i in range(1, len(remnant) - 1):
        sides = [i - 1, i + 1]
        between = np.interp(m.masses[i], m.masses[sides], remnant[sides])
        is_step = abs(remnant[i] - between) > MAX_STEP * m.masses[i]
        if is_step and (exploded[sides] == exploded[i]).all():
            yield (
                f"{m.masses[i]:g} Msun leave {remnant[i]:.3g} Msun, their neighbours "
                f"{between:.3g}"
            )


def _exploded(part: Part, m: Models) -> Bool[np.ndarray, " mass"]:
    if "Fe" not in part.elements:
        return np.zeros(len(m.masses), bool)
    return m.net[:, part.elements.index("Fe")] > EXPLODED_IRON


def _explosions(part: Part, m: Models) -> Iterator[str]:
    table = zip(m.masses, m.masses - m.ejected, _exploded(part, m), strict=True)
    for star, left, exploded in table:
        if exploded and left > MAX_REMNANT * star:
            what = "as if there were no wind"
            yield f"{star:g} Msun explode, but leave {left:.3g} Msun, {what}"
        if exploded and left < MIN_REMNANT and star <= IMF_M_MAX:
            yield f"{star:g} Msun leave {left:.3g} Msun, less than a neutron star"


def _iron(part: Part, m: Models) -> Iterator[str]:
    if "Fe" not in part.elements:
        return
    i = part.elements.index("Fe")
    born = m.initial[i]
    born = IRON_SHARE * m.metallicity if np.isnan(born) else born
    for star, net, ejected in zip(m.masses, m.net[:, i], m.ejected, strict=True):
        if abs(net) > MAX_IRON * born * ejected:
            yield f"AGB stars of {star:g} Msun make {net:.2g} Msun of iron"
