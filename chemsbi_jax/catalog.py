"""Star tables: FITS, ECSV, CSV and VOTable to `Stars`, and back."""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.table import Column, Table
from jaxtyping import Float

from chemsbi_jax.columns import (
    DEX,
    LARGEST,
    TIMES,
    CatalogError,
    StarTable,
    complain,
    numbers,
    open_columns,
)
from chemsbi_jax.constants import ABUNDANCES, T_END
from chemsbi_jax.files import whole_file
from chemsbi_jax.star_tables import read_table
from chemsbi_jax.types import Stars

__all__ = ["CatalogError", "read_stars", "require_complete", "write_stars"]

MAX_SIGMA = 5.0  # of a time from the range in which a star can be born


def read_stars(path: str | os.PathLike, *, default_error: float | None = None) -> Stars:
    """Read the stars of one galaxy from a FITS, ECSV, CSV or VOTable file.

    Columns, in any case and order: the names of `ABUNDANCES` [dex], their 1-sigma
    errors `e_<name>`, and optionally `birth_time` and `e_birth_time` (since the Big
    Bang), or else `age` and `e_age` [Gyr, or the column's unit], and an id (`IDS`).
    Missing values are NaN, masked, blank, or beyond +-20 dex or Gyr (-9999, 99, 1e20).
    A star may lack any abundance; a birth time without error keeps a NaN error.

    Args:
        path: the table; its content, else its suffix, tells the format.
        default_error: error [dex] of each observed value that has none.

    Raises:
        CatalogError: the file is no such table, or a cell of it can't be used; the
            message names file, row (1 = first star), id, column and remedy.
    """
    if default_error is not None and not 0 < default_error <= LARGEST:
        raise CatalogError(
            f"Expected a default error between 0 and {LARGEST:g} dex; got "
            f"{default_error}."
        )
    path = Path(path)
    source = open_columns(str(path), read_table(path))
    present = _present(source)
    values = np.full((len(source.ids), len(ABUNDANCES)), np.nan)
    errors = values.copy()
    for i, name in enumerate(ABUNDANCES):
        if name in present:
            values[:, i] = numbers(source, name, DEX)
            errors[:, i] = _errors(source, name, values[:, i], default_error)
    observed = np.isfinite(values)
    if not observed.any():
        raise CatalogError(
            f"{source.name}: every abundance of every star is missing (columns "
            f"{', '.join(present)}); give at least one value."
        )
    birth_time, e_birth_time = _birth_times(source)
    return Stars(values, errors, observed, birth_time, e_birth_time, source.ids)


def require_complete(
    stars: Stars, sigma: float = 0.05, atol: float = 1e-3, name: str = "star table"
) -> None:
    """Refuse stars that a network for eight abundances of one fixed error can't use.

    Args:
        stars: as read.
        sigma: error [dex] that the network was trained for.
        atol: largest difference [dex] from it.
        name: of the table, for the message.

    Raises:
        CatalogError: naming the first star and column that don't fit.
    """
    remedy = (
        f"The networks of this version support all eight abundances with {sigma:g} dex "
        "errors only"
    )
    missing = ~stars.observed
    _complain_of_stars(name, stars, missing, f"the abundance is missing. {remedy}.")
    other = np.abs(stars.errors - sigma) > atol
    first = stars.errors[np.unravel_index(np.argmax(other), other.shape)]
    _complain_of_stars(name, stars, other, f"the error is {first:g} dex. {remedy}.")


def write_stars(
    path: str | os.PathLike, stars: Stars, meta: Mapping | None = None
) -> None:
    """Write an ECSV table that `read_stars` gives back; whole or not at all."""
    table = Table(meta={"description": "Stars of one galaxy", **(meta or {})})
    table["star_id"] = Column(np.asarray(stars.ids).astype(str), description="star")
    for i, name in enumerate(ABUNDANCES):
        label = _label(name)
        _add(table, name, stars.values[:, i], u.dex, f"{label}, Asplund+2009")
        _add(table, f"e_{name}", stars.errors[:, i], u.dex, f"1 sigma of {label}")
    since = "time of birth since the Big Bang"
    _add(table, "birth_time", stars.birth_time, u.Gyr, since)
    _add(table, "e_birth_time", stars.e_birth_time, u.Gyr, f"1 sigma of the {since}")
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv")


def _add(
    table: Table, name: str, values: np.ndarray, unit: u.UnitBase, description: str
) -> None:
    table[name] = Column(np.asarray(values), unit=unit, description=description)


def _label(name: str) -> str:
    over, under = name.split("_")
    return f"[{over.capitalize()}/{under.capitalize()}]"


def _present(source: StarTable) -> list[str]:
    present = [name for name in ABUNDANCES if source.has(name)]
    if present:
        return present
    if any(source.has(f"true_{name}") for name in ABUNDANCES):
        raise CatalogError(
            f"{source.name}: the table has only noise-free values (columns true_*), "
            "which are not observed abundances; add noise once and write the result "
            f"into columns {', '.join(ABUNDANCES)}."
        )
    raise CatalogError(
        f"{source.name}: no column holds an abundance; expected some of "
        f"{', '.join(ABUNDANCES)} (in any case); got "
        f"{', '.join(source.table.colnames)}."
    )


def _errors(
    source: StarTable,
    name: str,
    values: Float[np.ndarray, " star"],
    default_error: float | None,
) -> Float[np.ndarray, " star"]:
    """Errors where a value is observed, NaN elsewhere [dex]."""
    observed = np.isfinite(values)
    if source.has(f"e_{name}"):
        column = source.columns[f"e_{name}"]
        errors = numbers(source, f"e_{name}", DEX)
        _refuse_not_positive(source, column, errors, observed)
    else:
        column = f"e_{name}"
        errors = np.full(len(values), np.nan)
    if default_error is not None:
        errors = np.where(np.isfinite(errors), errors, default_error)
    absent = "" if source.has(f"e_{name}") else f" (the table has no column {column})"
    complain(
        source.name, source.ids, observed & ~np.isfinite(errors), column,
        f"{name} is observed but has no error{absent}; give its error in dex, or one "
        "for all with --default-error 0.05.",
    )  # fmt: skip
    return np.where(observed, errors, np.nan)


def _refuse_not_positive(
    source: StarTable, column: str, errors: np.ndarray, known: np.ndarray
) -> None:
    bad = known & (errors <= 0)
    value = errors[np.argmax(bad)]
    complain(
        source.name, source.ids, bad, column,
        f"the error is {value:g}; an error must be positive (a missing value has an "
        "empty cell as value or as error).",
    )  # fmt: skip


def _birth_times(
    source: StarTable,
) -> tuple[Float[np.ndarray, " star"], Float[np.ndarray, " star"]]:
    """Birth times and errors [Gyr since the Big Bang]; from ages if need be."""
    name = next((name for name in ("birth_time", "age") if source.has(name)), None)
    unknown = np.full(len(source.ids), np.nan)
    if name is None:
        return unknown, unknown
    times = numbers(source, name, TIMES)
    known = np.isfinite(times)
    sigma = unknown
    if source.has(f"e_{name}"):
        sigma = numbers(source, f"e_{name}", TIMES)
        _refuse_not_positive(source, source.columns[f"e_{name}"], sigma, known)
        sigma = np.where(known, sigma, np.nan)
    beyond = np.maximum(-times, times - T_END)  # Gyr out of the range
    bad = known & (beyond > MAX_SIGMA * np.nan_to_num(sigma))
    value = times[np.argmax(bad)]
    complain(
        source.name, source.ids, bad, source.columns[name],
        f"{value:g} Gyr is no {name.replace('_', ' ')} between 0 and {T_END:.1f} Gyr; "
        "correct it, or leave the cell empty if it is not known.",
    )  # fmt: skip
    return (T_END - times if name == "age" else times), sigma


def _complain_of_stars(name: str, stars: Stars, bad: np.ndarray, problem: str) -> None:
    if not bad.any():
        return
    columns = np.nonzero(bad)[1]
    names = [ABUNDANCES[i] for i in np.unique(columns)]
    complain(
        name, stars.ids, bad.any(axis=1), ABUNDANCES[columns[0]],
        f"{problem} Such columns: {', '.join(names)}.",
    )  # fmt: skip
