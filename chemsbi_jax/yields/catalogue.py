"""Parts by name: who published them, where their tables lie, and how they are read."""

import difflib
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

from chemsbi_jax.yields import crimsons, galcem, vice
from chemsbi_jax.yields.closure import checked
from chemsbi_jax.yields.elements import SIXTEEN
from chemsbi_jax.yields.errors import YieldsError
from chemsbi_jax.yields.packages import vice_path
from chemsbi_jax.yields.parts import CHANNELS, Part, traceable

VELOCITIES = (0, 150, 300)  # km/s
IWAMOTO = ("w7", "w70", "wdd1", "wdd2", "wdd3", "cdd1", "cdd2")
SEITENZAHL = (
    "N1", "N3", "N5", "N10", "N20", "N40", "N100", "N100H", "N100L", "N100_Z0P5",
    "N100_Z0P1", "N100_Z0P01", "N150", "N200", "N300C", "N1600", "N1600C",
)  # fmt: skip
# core and shell in units of 0.1 and 0.01 Msun, then the metallicity in units of the Sun
GRONOW = tuple(
    f"{star}_{z}"
    for star in (
        "M08_03", "M08_05", "M08_10", "M09_03", "M09_05", "M09_10", "M10_02", "M10_03",
        "M10_05", "M10_10", "M11_05",
    )
    for z in ("001", "01", "1", "3")
)  # fmt: skip


class Entry(NamedTuple):
    """How to get a part."""

    channel: str  # a key of `CHANNELS`
    paper: str
    source: str
    read: Callable[..., Part]  # takes the path of VICE's source if it is from there


class YieldRecord(NamedTuple):
    """One line of the list of yields; ranges are empty where it is not available."""

    name: str
    channel: str  # "sn2", "agb", "sn_ia", or "set" for a complete one
    paper: str
    source: str
    available: bool  # its tables are on this machine
    note: str  # why it is not available, or which net yields are taken as 0, or ""
    masses: tuple[float, ...] = ()  # Msun; of one SN Ia what it ejects
    metallicities: tuple[float, ...] = ()  # mass fractions of metals
    elements: tuple[str, ...] = ()  # out of `elements.SIXTEEN`


def _core_collapse() -> dict[str, Entry]:
    nomoto = {
        name: Entry(
            "sn2", crimsons.NOMOTO, crimsons.SOURCE, partial(crimsons.nomoto, share)
        )
        for name, share in (("nkt13", 0.0), ("nkt13hn50", 0.5))
    }
    lc18 = {
        f"lc18{s}_v{v}": Entry(
            "sn2", galcem.LC18, galcem.SOURCE, partial(galcem.limongi, s, v)
        )
        for s in galcem.LIMONGI_SETS
        for v in VELOCITIES
    }
    sukhbold = {
        f"s16{e.lower()}": Entry(
            "sn2", vice.SUKHBOLD, vice.SOURCE, partial(vice.sukhbold, e)
        )
        for e in ("N20", "W18", "W18F")
    }
    return nomoto | lc18 | sukhbold


def _agb() -> dict[str, Entry]:
    return {
        "k10": Entry("agb", galcem.KARAKAS, galcem.SOURCE, galcem.karakas),
        "c15": Entry("agb", vice.CRISTALLO, vice.SOURCE, vice.cristallo),
        "v13": Entry("agb", vice.VENTURA, vice.SOURCE, vice.ventura),
        "k16": Entry("agb", vice.KARAKAS16, vice.SOURCE, vice.karakas16),
    }


def _sn_ia() -> dict[str, Entry]:
    iwamoto = {
        name: Entry(
            "sn_ia", galcem.IWAMOTO, galcem.SOURCE, partial(galcem.iwamoto, name)
        )
        for name in IWAMOTO
    }
    studies = (
        ("seitenzahl13", vice.SEITENZAHL, SEITENZAHL),
        ("gronow21", vice.GRONOW, GRONOW),
    )
    others = {
        model.lower(): Entry(
            "sn_ia",
            paper,
            vice.SOURCE,
            partial(vice.sn_ia, f"{study}/{model}", model.lower(), paper),
        )
        for study, paper, models in studies
        for model in models
    }
    return iwamoto | others


PARTS = _core_collapse() | _agb() | _sn_ia()
"""Name -> where the part comes from and how it is read."""

BROKEN = ("k16",)
"""Parts that the closure tests refuse: listed, but not proposed."""


def load_part(
    name: str, channel: str | None = None, vice_source: Path | None = None
) -> Part:
    """One channel of one study, read and checked for closure.

    Args:
        name: a key of `PARTS`, such as "nkt13".
        channel: the channel that it must be of; any by default.
        vice_source: archive or folder of VICE; by default that in `CHEMSBI_VICE`.

    Raises:
        YieldsError: the name is unknown or of another channel, its package or VICE's
            tables are not there, or its numbers cannot be right.
    """
    entry = PARTS.get(name)
    if entry is None or channel not in (None, entry.channel):
        names = [n for n, e in PARTS.items() if channel in (None, e.channel)]
        names = [n for n in names if n not in BROKEN]
        article = "an" if channel == "agb" else "a"
        kind = f"{article} {CHANNELS[channel]} part" if channel else "a part"
        is_of = f", which is {CHANNELS[entry.channel]}" if entry else ""
        raise YieldsError(
            f"Expected {kind} ({near(name, names)}); got {name!r}{is_of}. "
            "cs.list_yields() lists all."
        )
    if entry.source != vice.SOURCE:
        return _load(name)
    return _load(name, path=vice_source or vice_path())


@lru_cache(maxsize=128)
def _load(name: str, **path: Path | None) -> Part:
    return checked(PARTS[name].read(**path))


def near(name: str, names: list[str]) -> str:
    """The names nearest to a wrong one, or the first ones."""
    close = difflib.get_close_matches(name.lower(), names, n=6, cutoff=0.5)
    return ", ".join(close or names[:6]) + ", ..."


def record(name: str, vice_source: Path | None = None) -> YieldRecord:
    """What is known of a part; whether it can be used here."""
    entry = PARTS[name]
    about = name, entry.channel, entry.paper, entry.source
    try:
        part = load_part(name, None, vice_source)
    except YieldsError as error:
        return YieldRecord(*about, False, str(error))
    masses = sorted({float(x) for m in part.models for x in m.masses})
    metallicities = () if entry.channel == "sn_ia" else part.models
    return YieldRecord(
        *about,
        True,
        _assumed(part),
        tuple(masses),
        tuple(m.metallicity for m in metallicities),
        traceable(part, SIXTEEN),
    )


def _assumed(part: Part) -> str:
    """Elements that a part lacks and counts as untouched, in a sentence."""
    lacking = [e for e in traceable(part, SIXTEEN) if e not in part.elements]
    if part.channel != "agb" or not lacking:
        return ""
    return f"net yields of {', '.join(lacking)} are taken as 0: not in its table"
