"""Star tables to `Stars`, with a report of what became of the rows; and back."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy import units as u
from astropy.table import Column, Table

from chemsbi_jax.catalog.column_names import Choice, choose_columns
from chemsbi_jax.catalog.columns import (
    LARGEST,
    StarTable,
    lower_names,
    open_columns,
    refuse_duplicates,
)
from chemsbi_jax.catalog.formats import HDU_NOTE, read_table
from chemsbi_jax.catalog.report import Report
from chemsbi_jax.catalog.rows import drop_rows, find_cuts, warn_of_giants
from chemsbi_jax.catalog.solar import OURS, solar_shift
from chemsbi_jax.catalog.surveys import SURVEYS
from chemsbi_jax.catalog.values import (
    present_columns,
    read_abundances,
    read_birth_times,
)
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError
from chemsbi_jax.options import CatalogOptions
from chemsbi_jax.storage.files import whole_file
from chemsbi_jax.types import Stars

__all__ = [
    "Catalog",
    "CatalogError",
    "CatalogOptions",
    "read_catalog",
    "read_stars",
    "write_stars",
]


class Catalog(NamedTuple):
    """Stars of one galaxy and how they were read."""

    stars: Stars
    report: Report


def read_stars(path: str | os.PathLike, *, default_error: float | None = None) -> Stars:
    """Read every row of a table with our own column names; see `read_catalog`.

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
    options = CatalogOptions(survey="none", default_error=default_error)
    source, choice = _open(Path(path), options)
    refuse_duplicates(source)
    return _measure(source, choice, options)[0]


def read_catalog(
    path: str | os.PathLike, options: CatalogOptions = CatalogOptions()
) -> Catalog:
    """Read a star table of a survey, or of your own, and say what became of its rows.

    As `read_stars`, and: other spellings of the columns ([Mg/Fe], MG_FE_ERR), the
    columns and flags of surveys (`surveys`), [X/H] in place of [X/Fe], Parquet. A row
    is dropped, and listed in the report, if its survey advises against the star, no
    abundance is observed, or its id stands in an earlier row that is used.

    Args:
        path: FITS, ECSV, CSV, VOTable or Parquet, which needs pyarrow.
        options: any `CatalogOptions`.

    Raises:
        CatalogError: as `read_stars`; or an option does not fit the table; or no row
            can be used.
    """
    source, choice = _open(Path(path), options)
    stars, notes = _measure(source, choice, options)
    cuts, unmade = find_cuts(source, choice.survey if options.quality else None)
    cuts["no abundance is observed"] = ~stars.observed.any(axis=1)
    reasons, dropped = drop_rows(source, cuts)
    used = np.ones(len(stars.ids), bool)
    used[dropped.rows - 1] = False
    if not used.any():
        listed = "; ".join(f"{reason} ({n})" for reason, n in reasons.items())
        raise CatalogError(
            f"{source.name}: no star can be used: {listed}. --no-quality keeps what a "
            "survey advises against."
        )
    stars = Stars(*(part[used] for part in stars))
    warnings = warn_of_giants(source, stars, used)
    n_used = int(used.sum())
    notes = (*choice.notes, *notes, *unmade)
    report = Report(
        source.name, len(used), n_used, reasons, dropped, notes, tuple(warnings)
    )
    return Catalog(stars, report)


def _open(path: Path, options: CatalogOptions) -> tuple[StarTable, Choice]:
    error = options.default_error
    if error is not None and not 0 < error <= LARGEST:
        raise CatalogError(
            f"Expected a default error between 0 and {LARGEST:g} dex; got {error}."
        )
    presets = [preset for preset in SURVEYS if preset.name == options.survey]
    table = read_table(path, options.hdu, presets[0].hdu if presets else None)
    name = str(path)
    names = lower_names(name, table)
    choice = choose_columns(name, names, options.survey, options.columns)
    if HDU_NOTE in table.meta:
        choice = choice._replace(notes=(table.meta[HDU_NOTE], *choice.notes))
    source = open_columns(name, table, choice.columns, choice.id_column)
    return source._replace(is_survey=choice.survey is not None), choice


def _measure(
    source: StarTable, choice: Choice, options: CatalogOptions
) -> tuple[Stars, list[str]]:
    """All rows, and notes."""
    without = _without(options.without)
    measured = read_abundances(
        source,
        choice.survey,
        default_error=options.default_error,
        without=without,
        quality=options.quality,
    )
    observed = np.isfinite(measured.values)
    if not observed.any():
        raise CatalogError(
            f"{source.name}: every abundance of every star is missing (columns "
            f"{', '.join(present_columns(source).values())}); give at least one value."
        )
    times = read_birth_times(source)
    notes = [*measured.notes, *times.notes]
    if without:
        notes.append(f"Left out as asked: {', '.join(without)}.")
    values = measured.values
    if options.solar_from is not None:
        shift = solar_shift(options.solar_from)
        values = values + shift
        seen = zip(ABUNDANCES, shift, observed.any(axis=0), strict=True)
        listed = ", ".join(f"{name} {dex:+.3f}" for name, dex, any_ in seen if any_)
        notes.append(f"From the solar scale {options.solar_from} to {OURS}: {listed}.")
    elif choice.survey is not None:
        notes.append(choice.survey.solar)
    stars = Stars(
        values, measured.errors, observed, times.birth_time, times.e_birth_time,
        source.ids,
    )  # fmt: skip
    return stars, notes


def _without(text: str) -> list[str]:
    names = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [name for name in names if name not in ABUNDANCES]
    if unknown:
        raise CatalogError(
            f"Expected --without with some of {', '.join(ABUNDANCES)}; got "
            f"{', '.join(unknown)}."
        )
    return names


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
