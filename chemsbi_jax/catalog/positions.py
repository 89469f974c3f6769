"""Positions on the sky in a star table, in degrees or sexagesimal."""

import re
from collections.abc import Mapping

import numpy as np
from astropy.table import Column, Table
from jaxtyping import Float

from chemsbi_jax.catalog.cells import column_of, data_of, mask_of

PAIRS = (("ra", "dec"), ("raj2000", "dej2000"), ("_ra", "_de"), ("radeg", "dedeg"),
         ("ra_icrs", "de_icrs"), ("ra_deg", "dec_deg"), ("_raj2000", "_dej2000"),
         ("ra_gaia", "dec_gaia"), ("gaia_ra", "gaia_dec"), ("raj", "decj"),
         ("ra_j2000", "dec_j2000"), ("ra_obj", "dec_obj"), ("alpha_j2000",
         "delta_j2000"), ("l", "b"), ("glon", "glat"))  # fmt: skip
PARTS = ("rah", "ram", "ras", "ded", "dem", "des")  # of the CDS; the sign is in "de-"
SEXAGESIMAL = re.compile(
    r"([+-]?)(\d{1,3})[\s:hd°]+(\d{1,2})[\s:m'′]+(\d{1,2}(?:\.\d*)?)[s\"″]?"
)

Degrees = Float[np.ndarray, " star"]


def positions(
    table: Table, columns: Mapping[str, str]
) -> tuple[Degrees, Degrees] | None:
    """Longitude and latitude on the sky [deg], NaN where missing; None without columns.

    Args:
        table: as read.
        columns: lower-case name -> name in the table.
    """
    for pair in PAIRS:
        if not all(key in columns for key in pair):
            continue
        ra, dec = (column_of(table, columns[key]) for key in pair)
        if all(x.ndim == 1 and x.dtype.kind in "fi" for x in (ra, dec)):
            return _filled(ra), _filled(dec)
        if all(x.ndim == 1 and x.dtype.kind in "SUO" for x in (ra, dec)):
            return 15.0 * _angles(ra), _angles(dec)
    cells = {key: columns[key] for key in (*PARTS, "de-") if key in columns}
    if not all(key in cells for key in PARTS):
        return None
    parts = {key: column_of(table, name) for key, name in cells.items()}
    if any(parts[key].dtype.kind not in "fi" for key in PARTS):
        return None
    h, m, s, d, dm, ds = (_filled(parts[key]) for key in PARTS)
    sign = parts.get("de-")
    is_south = d < 0 if sign is None else np.char.strip(_text(sign)) == "-"
    size = np.abs(d) + dm / 60.0 + ds / 3600.0
    return 15.0 * (h + m / 60.0 + s / 3600.0), np.where(is_south, -size, size)


def _angles(cells: Column) -> Degrees:
    """12:34:56.7 as 12.58; NaN for other text."""
    found = np.full(len(cells), np.nan)
    for i, text in enumerate(_text(cells)):
        match = SEXAGESIMAL.fullmatch(text.strip())
        if match:
            size = float(match[2]) + float(match[3]) / 60.0 + float(match[4]) / 3600.0
            found[i] = -size if match[1] == "-" else size
    return found


def _text(cells: Column) -> np.ndarray:
    data = data_of(cells)
    data = np.char.decode(data, "utf-8", "replace") if data.dtype.kind == "S" else data
    return np.where(mask_of(cells), "", data.astype(str))


def _filled(cells: Column) -> Degrees:
    return np.ma.filled(np.ma.asarray(cells, float), np.nan)
