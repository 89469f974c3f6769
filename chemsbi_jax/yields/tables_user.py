"""A user's own yield table: one JSON file, read and checked.

The file, with lists shortened (`tests/toy_yields.json` is a whole one)::

    {
      "sn2": {
        "metallicities": [0.0, 0.004, 0.02],
        "masses": [10, 20, 40],
        "ejected": [[8.6, 18.3, 36.0], [...], [...]],
        "net": {"C": [[0.1, 0.3, 0.5], [...], [...]], "Fe": ..., "H": ...}
      },
      "agb": {the same keys},
      "sn_ia": {"mass": 1.374, "ejecta": {"C": 0.05, "Fe": 0.74, "H": 0, ...}}
    }

`metallicities`: mass fraction of metals, linear and ascending; 0 is allowed.
`masses`: initial masses in Msun, ascending. Core-collapse supernovae ("sn2") count
    from 8 to 100 Msun, AGB stars ("agb") from 1 to 8 Msun; other masses are dropped.
`ejected`: Msun that a star returns in all, a row a metallicity, a column a mass.
`net`: Msun of each element newly made minus destroyed, in the same layout; negative
    where the star eats the element (H). The rest of the ejecta has the composition
    that the star was born with.
`sn_ia`: Msun of each element in one supernova, and the Msun of all its ejecta.

The elements are the file's choice out of C, Fe, H, He, Mg, N, Ne, O, Si, Na, Al, S,
Ca, Ti, Mn and Ni, the same in every table, with H, He and Fe among them. What the stars
make beyond them is lost to the gas. Further keys (e.g. "reference") are allowed beside
the three of the top level, and are not read.

A channel that is not one's own has the name of a published part instead of a table
(`cs.list_yields()`): `{"sn2": {...}, "agb": "k10", "sn_ia": "w7"}`.
"""

import json
import logging
import os
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from chemsbi_jax.errors import InputError
from chemsbi_jax.yields.catalogue import load_part
from chemsbi_jax.yields.elements import NEEDED, SIXTEEN, Elements, in_order
from chemsbi_jax.yields.mass_bins import StellarModels, bin_models
from chemsbi_jax.yields.parts import CHANNELS, MASS_RANGE, to_sn_ia, to_source
from chemsbi_jax.yields.types import SNIaYields, SourceYields, Yields

log = logging.getLogger("chemsbi_jax")

ROUNDING = 1e-6  # relative; tables are printed with few digits


class _Table:
    """One JSON object and where it stands, so that every complaint can name it."""

    def __init__(self, path: Path, keys: tuple[str, ...], content: Any) -> None:
        self.path, self.keys, self.content = path, keys, content
        if not isinstance(content, dict):
            raise self.error("expected an object (key: value)", _describe(content))

    def error(self, expected: str, got: str, *keys: str) -> InputError:
        place = ".".join((*self.keys, *keys)) or "the file"
        return InputError(f"{self.path}: {place}: {expected}; got {got}.")

    def __getitem__(self, key: str) -> Any:
        if key not in self.content:
            keys = ", ".join(self.content) or "none"
            raise self.error("missing key", f"the keys {keys}", key)
        return self.content[key]

    def table(self, key: str) -> "_Table":
        return _Table(self.path, (*self.keys, key), self[key])

    def array(self, key: str, shape: tuple[int | None, ...]) -> np.ndarray:
        """Finite numbers of a given shape; None stands for any length but 0."""
        size = " x ".join("n" if n is None else str(n) for n in shape) or "one"
        expected = f"expected {size} finite numbers"
        try:
            array = np.asarray(self[key], dtype=float)
        except (TypeError, ValueError, OverflowError):
            raise self.error(expected, _describe(self[key]), key) from None
        fits = array.ndim == len(shape) and all(
            n > 0 if want is None else n == want
            for n, want in zip(array.shape, shape, strict=True)
        )
        if not fits:
            raise self.error(expected, f"shape {array.shape}", key)
        if not np.isfinite(array).all():
            bad = array[~np.isfinite(array)][0]
            raise self.error(expected, f"{bad}", key)
        return array

    def by_element(
        self, elements: Elements, shape: tuple[int, ...]
    ) -> Float[np.ndarray, "... element"]:
        """One array of `shape` an element, stacked in their order."""
        self.require_only(elements)
        return np.stack([self.array(e, shape) for e in elements], axis=-1)

    def require_only(self, elements: Elements) -> None:
        unknown = [key for key in self.content if key not in elements]
        if unknown:
            known = ", ".join(elements)
            raise self.error(f"expected the elements {known}", f"{unknown[0]!r}")


def read_user_table(path: str | os.PathLike, vice: Path | None = None) -> Yields:
    """Read a yield table in the layout described at the top of this module.

    Args:
        path: the file.
        vice: archive or folder of VICE's source, for parts by name that need it; by
            default that in `CHEMSBI_VICE`.

    Raises:
        InputError: the table is unusable; names the file, the key, what was expected
            and what came.
    """
    path = Path(os.path.expanduser(path))  # unlike Path's, leaves unknown users alone
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot read the yield table: {error}.") from error
    except (ValueError, RecursionError) as error:  # broken JSON, or not text at all
        raise InputError(f"{path}: expected a JSON file; got {error}.") from error
    table = _Table(path, (), content)
    elements = _elements(table)
    sn2, agb = (_stars(table, c, elements, vice) for c in ("sn2", "agb"))
    return Yields(sn2, agb, _explosion(table, elements, vice), elements)


def _stars(
    table: _Table, channel: str, elements: Elements, vice: Path | None
) -> SourceYields:
    """The file's own table, or the published part that it names."""
    if isinstance(table[channel], str):
        return to_source(load_part(table[channel], channel, vice), elements)
    return _source(table.table(channel), elements, channel)


def _explosion(table: _Table, elements: Elements, vice: Path | None) -> SNIaYields:
    """The file's own table of SNe Ia, or the published part that it names."""
    if isinstance(table["sn_ia"], str):
        return to_sn_ia(load_part(table["sn_ia"], "sn_ia", vice), elements)
    return _sn_ia(table.table("sn_ia"), elements)


def _elements(table: _Table) -> Elements:
    """Those of the first channel that is the file's own."""
    own = [channel for channel in CHANNELS if not isinstance(table[channel], str)]
    if not own:
        raise table.error(
            "expected a table in at least one channel",
            "three names; load them without a file, as nkt13+k10+w7",
        )
    first = table.table(own[0]).table("ejecta" if own[0] == "sn_ia" else "net")
    first.require_only(SIXTEEN)
    for needed in NEEDED:
        first[needed]
    return in_order(first.content)


def _source(table: _Table, elements: Elements, channel: str) -> SourceYields:
    m_min, m_max = MASS_RANGE[channel]
    metallicities = _ascending(table, "metallicities")
    if metallicities[0] < 0.0 or metallicities[-1] >= 1.0:
        worst = metallicities[0] if metallicities[0] < 0.0 else metallicities[-1]
        raise table.error(
            "expected mass fractions from 0 to below 1", f"{worst}", "metallicities"
        )
    masses = _masses(table, m_min, m_max)
    shape = (len(metallicities), len(masses))
    ejected = table.array("ejected", shape)
    wrong = (ejected < 0.0) | (ejected > masses)
    if wrong.any():
        z, m = np.argwhere(wrong)[0]
        raise table.error(
            f"expected 0 to {masses[m]} Msun for a star of that mass",
            f"{ejected[z, m]}",
            "ejected",
        )
    net = _net(table.table("net"), elements, ejected)
    return bin_models(
        [
            StellarModels(z, masses, n / masses[:, None], e / masses)
            for z, n, e in zip(metallicities, net, ejected, strict=True)
        ],
        m_min,
        m_max,
    )


def _masses(table: _Table, m_min: float, m_max: float) -> Float[np.ndarray, " mass"]:
    masses = _ascending(table, "masses")
    if masses[0] <= 0.0:
        raise table.error("expected positive masses [Msun]", f"{masses[0]}", "masses")
    used = (masses >= m_min) & (masses <= m_max)
    if not used.any():
        raise table.error(
            f"expected masses from {m_min:g} to {m_max:g} Msun",
            f"{masses[0]:g} to {masses[-1]:g}",
            "masses",
        )
    if not used.all():
        log.info("%s: masses %s are not used", table.path, masses[~used].tolist())
    return masses


def _net(
    table: _Table, elements: Elements, ejected: Float[np.ndarray, "z mass"]
) -> Float[np.ndarray, "z mass element"]:
    net = table.by_element(elements, ejected.shape)
    wrong = np.abs(net) > ejected[..., None] * (1.0 + ROUNDING)
    if wrong.any():  # most likely another unit, or total yields of a tiny ejected mass
        z, m, e = np.argwhere(wrong)[0]
        raise table.error(
            f"expected at most the {ejected[z, m]} Msun ejected",
            f"{net[z, m, e]}",
            elements[e],
        )
    return net


def _sn_ia(table: _Table, elements: Elements) -> SNIaYields:
    mass = float(table.array("mass", ()))
    ejecta = table.table("ejecta").by_element(elements, ())
    if (ejecta < 0.0).any():
        raise table.error("expected masses >= 0", f"{ejecta.min()}", "ejecta")
    if ejecta.sum() > mass * (1.0 + ROUNDING):
        raise table.error(
            f"expected at least the {ejecta.sum():g} Msun of its elements",
            f"{mass:g}",
            "mass",
        )
    return SNIaYields(ejecta=jnp.asarray(ejecta), mass=jnp.asarray(mass))


def _ascending(table: _Table, key: str) -> Float[np.ndarray, " n"]:
    values = table.array(key, (None,))
    if (np.diff(values) <= 0.0).any():
        raise table.error(
            "expected ascending numbers, each once", f"{values.tolist()}", key
        )
    return values


def _describe(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
