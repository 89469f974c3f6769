"""A yield set by its name: a complete one, three parts, or a file of the user's."""

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import jax.numpy as jnp

from chemsbi_jax.errors import InputError
from chemsbi_jax.yields.catalogue import PARTS, YieldRecord, load_part, near, record
from chemsbi_jax.yields.elements import SIXTEEN, Elements, in_order
from chemsbi_jax.yields.parts import CHANNELS, to_sn_ia, to_source, traceable
from chemsbi_jax.yields.tables_alternative import load_alternative
from chemsbi_jax.yields.tables_tng import load_tng
from chemsbi_jax.yields.tables_user import read_user_table
from chemsbi_jax.yields.types import SourceYields, Yields

SETS = {
    "tng": load_tng,
    "alternative": load_alternative,
    "alternative-reference": partial(load_alternative, corrected=False),
}
"""Name of a complete set -> its loader."""


def load_yields(
    name: str | os.PathLike,
    elements: Iterable[str] | None = None,
    vice: Path | None = None,
) -> Yields:
    """A yield set, ready for the simulator, in JAX's default precision.

    Args:
        name: one of
            "tng": the yields of IllustrisTNG;
            "alternative": Nomoto 2013, Karakas & Lugaro 2016, Thielemann 2003;
            "alternative-reference": the same with the error in the AGB net yields
                that Chempy makes (`tables_alternative.load_alternative`), for
                comparison with published work only;
            three parts, core collapse + AGB + SN Ia, such as "nkt13+k10+w7"
                (`list_yields`);
            a path to a JSON file of one's own, described in `tables_user`.
        elements: what to trace, with H, He and Fe; by default all that the set has.
            Na, Al, S, Ca, Ti, Mn and Ni can be left out without a change of the
            others. The nine default elements make up gas mass and metallicity: fewer
            of them change the results (by 0.02 dex without Ne, N and C).
        vice: archive or folder of VICE's source, which some parts come from; by default
            that in the environment variable `CHEMSBI_VICE`.

    Raises:
        InputError: the name is unknown, a part's tables are not there or broken, an
            element is not in them, or the user's table is unusable.
        chemsbi_jax.storage.datasets.DatasetError: a published file cannot be had.
    """
    wanted = None if elements is None else in_order(elements)
    yields = _load(name, wanted, vice)
    return yields if wanted is None else select_elements(yields, wanted)


def list_yields(vice: Path | None = None) -> tuple[YieldRecord, ...]:
    """All sets and parts by name, also those whose tables are not on this machine.

    Tables of the complete sets that are not there are downloaded.

    Args:
        vice: archive or folder of VICE's source; by default that in `CHEMSBI_VICE`.
    """
    about = {
        "tng": "Pillepich+ 2018, MNRAS 473, 4077",
        "alternative": "Philcox & Rybizki 2019, ApJ 887, 9",
        "alternative-reference": "Philcox & Rybizki 2019, as Chempy computes it",
    }
    sets = tuple(_set_record(name, paper) for name, paper in about.items())
    return sets + tuple(record(name, vice) for name in PARTS)


def select_elements(yields: Yields, elements: Iterable[str]) -> Yields:
    """The same set with fewer elements traced.

    Raises:
        InputError: the set does not have one of them, or H, He or Fe is left out.
    """
    wanted = in_order(elements)
    missing = [e for e in wanted if e not in yields.elements]
    if missing:
        raise InputError(
            f"Expected elements of this yield set ({', '.join(yields.elements)}); got "
            f"{missing[0]!r}."
        )
    columns = jnp.array([yields.elements.index(e) for e in wanted])

    def of(source: SourceYields) -> SourceYields:
        return source._replace(net=source.net[..., columns])

    return Yields(
        of(yields.sn2),
        of(yields.agb),
        yields.sn_ia._replace(ejecta=yields.sn_ia.ejecta[columns]),
        wanted,
    )


def _load(
    name: str | os.PathLike, wanted: Elements | None, vice: Path | None
) -> Yields:
    text = str(name)
    if text in SETS:
        return SETS[text]()
    if Path(name).exists() or Path(name).suffix == ".json":
        return read_user_table(name, vice)
    if "+" in text:
        return _from_parts(text, wanted, vice)
    is_path = isinstance(name, Path) or Path(name).suffix
    if is_path or len(Path(name).parts) != 1:
        return read_user_table(name, vice)
    raise InputError(
        f"Unknown yields {name!r}: expected {', '.join(SETS)}, three parts "
        "(core collapse + AGB + SN Ia, such as nkt13+k10+w7; near the name: "
        f"{near(text, [*SETS, *PARTS])}), or the path of a JSON file."
    )


def _from_parts(name: str, wanted: Elements | None, vice: Path | None) -> Yields:
    names = name.split("+")
    if len(names) != len(CHANNELS):
        raise InputError(
            f"Expected yields of three parts ({' + '.join(CHANNELS.values())}), such "
            f"as nkt13+k10+w7; got {len(names)} in {name!r}."
        )
    parts = [load_part(n, c, vice) for n, c in zip(names, CHANNELS, strict=True)]
    common = set(SIXTEEN).intersection(*(traceable(p, SIXTEEN) for p in parts))
    elements = wanted or in_order(common)
    sn2, agb, sn_ia = parts
    return Yields(
        to_source(sn2, elements),
        to_source(agb, elements),
        to_sn_ia(sn_ia, elements),
        elements,
    )


def _set_record(name: str, paper: str) -> YieldRecord:
    source = "experiments/download.py"
    try:
        yields = SETS[name]()
    except OSError as error:
        return YieldRecord(name, "set", paper, source, False, str(error))
    metallicities = tuple(float(10.0**z) for z in yields.sn2.log10_metallicity)
    return YieldRecord(
        name, "set", paper, source, True, "", (), metallicities, tuple(yields.elements)
    )
