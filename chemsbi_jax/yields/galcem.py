"""Tables of the package galcem 0.0.2b0: Limongi & Chieffi, Karakas, Iwamoto, FRUITY.

They are read from the installed package at run time (its licence is GPL-3; nothing of
it is copied here).
"""

import csv
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from chemsbi_jax.yields.elements import SYMBOLS
from chemsbi_jax.yields.errors import YieldsError
from chemsbi_jax.yields.packages import packaged
from chemsbi_jax.yields.parts import Models, Part, explosion, from_gross, from_net

SOURCE = "galcem 0.0.2b0"
LC18 = "Limongi & Chieffi 2018, ApJS 237, 13"
IWAMOTO = "Iwamoto+ 1999, ApJS 125, 439"
KARAKAS = "Karakas 2010, MNRAS 403, 1413"
LIMONGI_SETS = {
    "r": "recommended: above 25 Msun only the wind",
    "i": "mass cut by [Ni/Fe] = 0.2, above 25 Msun only the wind",
    "m": "mixing and fallback in all stars, 0.07 Msun of 56Ni",
    "f": "0.07 Msun of 56Ni from all stars",
}
# In sets I and F the solar star of 15 Msun and 150 km/s is cut inside of its neutron
# star (0.88 Msun are left, 1.35 Msun of Ni ejected): it is left out
CUT_TOO_DEEP = {("i", 150, "015a150"), ("f", 150, "015a150")}
KARAKAS_METALLICITIES = ("0.0001", "0.004", "0.008", "0.02")
# Z = 0.02 has a model of 6.5 Msun too; without it the stars up to 8 Msun are those of
# 6 Msun at every metallicity, and no jump of the mass enters the interpolation in Z
KARAKAS_M_MAX = 6.0  # Msun


def _folder(*parts: str) -> Path:
    return packaged("galcem", "input", "yields", *parts)


def limongi(which: str, velocity: int) -> Part:
    """Core collapse of rotating stars (Limongi & Chieffi 2018).

    Z is the sum of the initial metals: the stars of [Fe/H] < 0 are alpha-enhanced.
    One star is left out (`CUT_TOO_DEEP`).

    Args:
        which: set r, i, m or f (`LIMONGI_SETS`).
        velocity: initial rotation, 0, 150 or 300 km/s.
    """
    path = _folder("snii", "lc18", f"tab_{which.upper()}", "tab_yieldstot_ele_exp.dec")
    models, symbols = [], ()
    for header, rows in _limongi_blocks(path):
        if not header[4].endswith(f"{velocity:03d}"):
            continue
        symbols = tuple(row[0] for row in rows)
        table = np.array([[float(x) for x in row[3:]] for row in rows])
        kept = [(which, velocity, label) not in CUT_TOO_DEEP for label in header[4:]]
        masses = np.array([float(label[:3]) for label in header[4:]])[kept]
        is_metal = np.array([symbol not in ("H", "He") for symbol in symbols])
        metallicity = float(table[is_metal, 0].sum())
        models.append(
            from_gross(metallicity, masses, table[:, 0], table[:, 1:].T[kept])
        )
    return Part(
        f"lc18{which}_v{velocity}", "sn2", LC18, f"{SOURCE}, {LIMONGI_SETS[which]}",
        symbols, tuple(models[::-1]),
    )  # fmt: skip


def _limongi_blocks(path: Path) -> Iterator[tuple[list[str], list[list[str]]]]:
    """Header and rows of each block: one metallicity and velocity, a row an element."""
    for block in path.read_text().split("  ele ")[1:]:
        header, *rows = ([*line.split()] for line in block.splitlines())
        yield ["ele", *header], [row for row in rows if row]


def karakas() -> Part:
    """AGB stars (Karakas 2010).

    Of two models of 6 Msun at Z = 1e-4 it is the first (VICE has their sum).
    """
    tables = [_karakas_models(z) for z in KARAKAS_METALLICITIES]
    return Part(
        "k10", "agb", KARAKAS, SOURCE, tables[0][0], tuple(m for _, m in tables)
    )


def _karakas_models(metallicity: str) -> tuple[tuple[str, ...], Models]:
    path = _folder("lims", "k10", f"Z{metallicity}.dat")
    stars: dict[float, tuple[float, dict]] = {}
    for line in path.read_text().splitlines():
        if not re.match(r"[\d.]", line):
            continue
        cells = line.split(",")
        mass, final = float(cells[0]), float(cells[2])
        if mass > KARAKAS_M_MAX:
            continue
        known, species = stars.setdefault(mass, (final, {}))
        if known != final:  # it is the second model of this mass
            continue
        number = int(cells[4])
        net, initial = species.get(number, (0.0, 0.0))
        species[number] = net + float(cells[6]), initial + float(cells[10])
    # 0: the neutrons, and "g", all that is heavier than nickel
    numbers = sorted(set().union(*(s for _, s in stars.values())) - {0})
    masses = np.array(sorted(stars))
    table = np.array([[stars[m][1][n] for n in numbers] for m in masses])
    ejected = masses - np.array([stars[m][0] for m in masses])
    models = from_net(
        float(metallicity), masses, table[0, :, 1], table[..., 0], ejected
    )
    return tuple(SYMBOLS[n - 1] for n in numbers), models


def iwamoto(model: str) -> Part:
    """Deflagrations and delayed detonations of a white dwarf (Iwamoto+ 1999)."""
    table = _iwamoto_table()
    if model.upper() not in table:
        raise YieldsError(f"Expected a model of {', '.join(table)}; got {model!r}.")
    symbols = tuple(table[model.upper()])
    ejecta = np.array([table[model.upper()][s] for s in symbols])
    return Part(model, "sn_ia", IWAMOTO, SOURCE, symbols, explosion(ejecta))


@cache
def _iwamoto_table() -> dict[str, dict[str, float]]:
    """Model -> element -> Msun, summed over the isotopes after all decays."""
    lines = _folder("snia", "i99", "table3.dat").read_text().splitlines()
    rows = list(csv.reader(line for line in lines if not line.startswith("#")))
    names = [name.strip() for name in rows[0]]
    table: dict[str, dict[str, float]] = {name: {} for name in names[3:]}
    for row in rows[1:]:
        symbol = row[1].strip()
        for name, cell in zip(names[3:], row[3:], strict=False):
            table[name][symbol] = table[name].get(symbol, 0.0) + float(cell)
    return table


def fruity_gross() -> dict[tuple[float, float], dict[str, float]]:
    """(Mass, Z) of non-rotating FRUITY stars -> element -> Msun ejected in all."""
    stars = {}
    for path in sorted(_folder("lims", "c15", "data").glob("*_000_*.txt")):
        label = re.search(r"_m(\d+)p(\d+)z(\w+?)_000", path.name)
        if label is None:
            raise YieldsError(f"{path}: expected the mass and metallicity in the name.")
        mass, z = float(f"{label[1]}.{label[2]}"), label[3]
        key = mass, 0.014 if z == "sun" else float(z.replace("m", "e-"))
        ejecta: dict[str, float] = {}
        for line in path.read_text().splitlines()[1:]:
            if words := line.split():
                symbol = SYMBOLS[int(words[2]) - 1]
                ejecta[symbol] = ejecta.get(symbol, 0.0) + float(words[3])
        stars[key] = ejecta
    return stars
