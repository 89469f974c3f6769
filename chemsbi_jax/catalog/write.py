"""`Stars` to a table that `read_stars` gives back."""

import os
from collections.abc import Mapping

import numpy as np
from astropy import units as u
from astropy.table import Column, Table

from chemsbi_jax.catalog.over_h import covariance_columns
from chemsbi_jax.storage.files import whole_file
from chemsbi_jax.types import Stars


def write_stars(
    path: str | os.PathLike, stars: Stars, meta: Mapping | None = None
) -> None:
    """Write an ECSV table that `read_stars` reads, atomically."""
    table = Table(meta={"description": "Stars of one galaxy", **(meta or {})})
    table["star_id"] = Column(np.asarray(stars.ids).astype(str), description="star")
    for i, name in enumerate(stars.abundances):
        label = _label(name)
        _add(table, name, stars.values[:, i], u.dex, f"{label}, Asplund+2009")
        _add(table, f"e_{name}", stars.errors[:, i], u.dex, f"1 sigma of {label}")
    since = "time of birth since the Big Bang"
    _add(table, "birth_time", stars.birth_time, u.Gyr, since)
    _add(table, "e_birth_time", stars.e_birth_time, u.Gyr, f"1 sigma of the {since}")
    for name, shared in covariance_columns(stars).items():
        text = "variance of [Fe/H] that the [X/Fe] of the star share"
        _add(table, name, shared, u.dex**2, text)
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv")


def _add(
    table: Table, name: str, values: np.ndarray, unit: u.UnitBase, description: str
) -> None:
    table[name] = Column(np.asarray(values), unit=unit, description=description)


def _label(name: str) -> str:
    over, under = name.split("_")
    return f"[{over.capitalize()}/{under.capitalize()}]"
