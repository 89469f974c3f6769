"""Star tables to `Stars`, with a report of used and dropped rows."""

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from chemsbi_jax.catalog.column_names import KEYS, Choice, choose_columns
from chemsbi_jax.catalog.columns import (
    StarTable,
    lower_names,
    open_columns,
    refuse_duplicates,
)
from chemsbi_jax.catalog.derive import derive, merge_case_pairs
from chemsbi_jax.catalog.formats import read_table
from chemsbi_jax.catalog.layouts import refuse_long_layout, split_vectors
from chemsbi_jax.catalog.limits import find_limits, not_followed
from chemsbi_jax.catalog.meaning import meaning_of
from chemsbi_jax.catalog.not_one_galaxy import refuse_summary_rows, warn_of_galaxies
from chemsbi_jax.catalog.report import Report
from chemsbi_jax.catalog.rows import drop_rows, find_cuts, unique_ids, warn_of_giants
from chemsbi_jax.catalog.several_tables import HDU_NOTE
from chemsbi_jax.catalog.shipped import table_of
from chemsbi_jax.catalog.solar import OURS, solar_shift
from chemsbi_jax.catalog.survey_columns import note_other_flags
from chemsbi_jax.catalog.surveys import SURVEYS, Survey
from chemsbi_jax.catalog.text_tables import NOTES
from chemsbi_jax.catalog.times import read_birth_times
from chemsbi_jax.catalog.unused_columns import note_unused
from chemsbi_jax.catalog.user_columns import abundances_without
from chemsbi_jax.catalog.value_errors import require_default_error
from chemsbi_jax.catalog.values import present_columns, read_abundances
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError, CatalogWarning
from chemsbi_jax.options import CatalogOptions
from chemsbi_jax.types import AbundanceNames, Stars

WARNING = "Warning: "
"""How a note begins that is a warning."""

__all__ = [
    "Catalog",
    "CatalogError",
    "CatalogOptions",
    "read_catalog",
    "read_stars",
]


class Catalog(NamedTuple):
    """Stars of one galaxy and how they were read."""

    stars: Stars
    report: Report


def read_stars(
    path: str | os.PathLike,
    *,
    default_error: float | None = None,
    abundances: Sequence[str] = ABUNDANCES,
) -> Stars:
    """Read every row of a table with our own column names; see `read_catalog`.

    Columns, in any case and order: the names of `abundances` [dex], their 1-sigma
    errors `e_<name>`, and optionally `birth_time` and `e_birth_time` (since the Big
    Bang), or else `age` and `e_age` [Gyr, or the column's unit], and an id (`IDS`).
    Missing values are NaN, masked, blank, or beyond +-20 dex or Gyr (-9999, 99, 1e20).
    A star may lack any abundance; a birth time without error keeps a NaN error.

    Args:
        path: the table, or "example" (the shipped one); its content sets the format.
        default_error: error [dex] of each observed value that has none.
        abundances: columns of the result, such as `Yields.abundances`.

    Raises:
        CatalogError: the file is no such table, or a cell of it can't be used; the
            message names file, row (1 = first star), id, column and remedy.

    Warns:
        CatalogWarning: a column is doubtful, or birth times without errors are not
            used by any method.
    """
    options = CatalogOptions(survey="none", default_error=default_error)
    opened = _open(Path(path), options, abundances, is_strict=True)
    refuse_duplicates(opened.source)
    read = _measure(opened, options)
    for text in (*opened.source.warnings, *read.warnings):
        warnings.warn(f"{opened.source.name}: {text}", CatalogWarning, stacklevel=2)
    return read.stars


def read_catalog(
    path: str | os.PathLike,
    options: CatalogOptions = CatalogOptions(),
    abundances: Sequence[str] = ABUNDANCES,
) -> Catalog:
    """Read a star table of a survey, or of your own, with a report of its rows.

    As `read_stars`, and: other spellings of the columns ([Mg/Fe], MG_FE_ERR), the
    columns and flags of surveys (`surveys`), [X/H] in place of [X/Fe], columns of
    limits, Parquet. A row is dropped, and listed in the report, if its survey advises
    against the star, no abundance is observed, or its star stands in an earlier row
    that is used (`identity`). Columns that resemble ours and are not read, and flags
    that are not applied, are named in the report.

    Args:
        path: FITS, VOTable, text of any delimiter, machine-readable table of the AAS or
            CDS, or Parquet, which needs pyarrow.
        options: any `CatalogOptions`.
        abundances: columns of the stars, such as `Yields.abundances`; the report names
            those of the table that are not among them.

    Raises:
        CatalogError: as `read_stars`; or an option does not fit the table; or no row
            can be used.
    """
    opened = _open(Path(path), options, abundances)
    source, survey = opened.source, opened.choice.survey
    stars, no_iron, notes, doubts = _measure(opened, options)
    cuts, impossible = find_cuts(source, survey if options.quality else None)
    of_survey = tuple(cuts)
    empty = np.asarray(~stars.observed.any(axis=1))
    cuts["[X/H] is observed, but not [Fe/H]"] = empty & no_iron
    cuts["no abundance is observed"] = empty
    reasons, dropped, repeats = drop_rows(source, cuts, (stars.values, stars.errors))
    used = np.ones(len(stars.ids), bool)
    used[dropped.rows - 1] = False
    if not used.any():
        listed = "; ".join(f"{reason} ({n})" for reason, n in reasons.items())
        raise CatalogError(
            f"{source.name}: no star can be used: {listed}. --no-quality keeps stars "
            "that a survey advises against."
        )
    stars = stars.take(used)._replace(ids=unique_ids(stars.ids, used))
    doubts += [*repeats, *warn_of_galaxies(source)]
    doubts += warn_of_giants(source, stars, used)
    notes = (*opened.notes, *source.notes, *opened.choice.notes, *notes, *impossible)
    flags = _not_followed(opened, options)
    warned = _all_warnings(opened, doubts, flags)
    if survey is None:
        notes += note_unused(opened.names, opened.choice, (*notes, *warned, *reasons))
    else:
        notes += note_other_flags(survey, source, opened.names, opened.choice.beside)
    rows = (source.name, len(used), int(used.sum()), reasons, dropped)
    n_by_survey = sum(reasons.get(reason, 0) for reason in of_survey)
    report = Report(*rows, notes, warned, flags, n_by_survey)
    return Catalog(stars, report)


def _all_warnings(
    opened: "_Opened", doubts: list[str], flags: tuple[str, ...]
) -> tuple[str, ...]:
    """Each warning once, in the order of the work."""
    first = (*opened.source.warnings, *opened.warnings, *opened.choice.warnings)
    if not all(flag.lower().startswith(("snr", "s/n")) for flag in flags):
        doubts = [
            f"Columns of flags or limits that were not applied: {', '.join(flags)}. "
            "Remove bad stars, and empty bad values, before you read the table.",
            *doubts,
        ]
    return tuple(dict.fromkeys((*first, *doubts)))


class _Opened(NamedTuple):
    """A table whose columns are chosen."""

    source: StarTable
    choice: Choice
    names: dict[str, str]  # lower-case name -> name in the table, as it was read
    notes: tuple[str, ...]  # of the layout
    warnings: tuple[str, ...]


class _Read(NamedTuple):
    """All rows of a table."""

    stars: Stars
    no_iron: Bool[np.ndarray, " row"]  # as in `Measured`
    notes: list[str]
    warnings: list[str]


def _open(
    path: Path,
    options: CatalogOptions,
    abundances: Sequence[str],
    is_strict: bool = False,
) -> _Opened:
    require_default_error(options.default_error)
    columns = AbundanceNames(abundances)
    without = abundances_without(options.without, columns)
    presets = [preset for preset in SURVEYS if preset.name == options.survey]
    path = table_of(path)
    table = read_table(path, options.hdu, presets[0].hdu if presets else None)
    name = str(path)
    meta = table.meta or {}
    notes = [meta[HDU_NOTE]] if HDU_NOTE in meta else []
    notes += meta.get(NOTES, [])
    refuse_long_layout(name, table)
    doubts: list[str] = []
    if not is_strict:
        notes += merge_case_pairs(table)
        split, doubts = split_vectors(table, columns)
        notes += split
    names = lower_names(name, table)
    asked = (options.survey, options.columns, without)
    choice = choose_columns(name, names, *asked, columns)
    source = open_columns(name, table, choice.columns, choice.id_column)
    source = source._replace(
        own=choice.own,
        is_strict=is_strict,
        limits=choice.limits,
        abundances=columns,
    )
    source, made = derive(source, choice, options.age_unit)
    marked = [note for note in notes if note.startswith(WARNING)]
    notes = [note for note in notes if note not in marked]
    doubts += [note.removeprefix(WARNING) for note in marked]
    return _Opened(source, choice, names, (*notes, *made), tuple(doubts))


def _measure(opened: _Opened, options: CatalogOptions) -> _Read:
    source, survey = opened.source, opened.choice.survey
    without = abundances_without(options.without, source.abundances)
    measured = read_abundances(
        source,
        survey,
        default_error=options.default_error,
        without=without,
        quality=options.quality,
    )
    observed = np.asarray(np.isfinite(measured.values))
    if not observed.any():
        raise CatalogError(
            f"{source.name}: every abundance of every star is missing (columns "
            f"{', '.join(present_columns(source).values())}); give at least one value."
        )
    refuse_summary_rows(source, measured.values)
    times = read_birth_times(source, options.age_unit)
    notes = [*measured.notes, *times.notes]
    if without:
        notes.append(f"Left out as asked: {', '.join(without)}.")
    if options.solar_from is not None:
        _refuse_absolute(opened)
    values, sun = _on_our_scale(
        measured.values, survey, options.solar_from, source.abundances
    )
    stars = Stars(
        values, measured.errors, observed, times.birth_time, times.e_birth_time,
        source.ids, measured.fe_covariance, source.abundances,
    )  # fmt: skip
    doubts = [*measured.warnings, *times.warnings]
    return _Read(stars, measured.no_iron, [*notes, *sun], doubts)


def _on_our_scale(
    values: np.ndarray,
    survey: Survey | None,
    solar_from: str | None,
    abundances: tuple[str, ...],
) -> tuple[np.ndarray, list[str]]:
    """Values on the solar scale of the model, and a note."""
    if solar_from is None:
        return values, [survey.solar] if survey else []
    shift = solar_shift(solar_from, abundances)
    has_any = np.asarray(np.isfinite(values).any(axis=0))
    seen = zip(abundances, shift, has_any, strict=True)
    listed = ", ".join(f"{name} {dex:+.3f}" for name, dex, any_ in seen if any_)
    return values + shift, [f"From the solar scale {solar_from} to {OURS}: {listed}."]


def _refuse_absolute(opened: _Opened) -> None:
    """A(X) does not depend on a solar scale, so nothing is to be converted from one."""
    choice = opened.choice
    used = [c for key, c in choice.columns.items() if key in KEYS]
    used += [c for x in choice.conversions.values() for c in x.columns]
    absolute = [c for c in used if (m := meaning_of(c)) and m.quantity[:2] == "a_"]
    if absolute:
        raise CatalogError(
            f"{opened.source.name}, column {absolute[0]!r}: absolute abundances have "
            "no solar scale, and the Sun of asplund2009 is subtracted; leave out "
            "--solar-from."
        )


def _not_followed(opened: _Opened, options: CatalogOptions) -> tuple[str, ...]:
    """Flags without effect; with a survey's rules, those of the user's values."""
    used = {c for key, c in opened.choice.columns.items() if key in KEYS}
    limits = opened.choice.limits
    followed = {c for key, c in limits.items() if find_limits(opened.source, key).notes}
    names = opened.names
    if opened.choice.survey is not None and options.quality:
        names = {k: c for k, c in names.items() if c in opened.choice.beside}
    return not_followed(opened.source, names, used | followed)
