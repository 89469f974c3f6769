"""Abundances of a table's stars, with their errors."""

from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.catalog.columns import (
    DEX,
    StarTable,
    bare_limits,
    count_large,
    count_marks,
    flagged,
    limit_cells,
    numbers,
)
from chemsbi_jax.catalog.layouts import hint_of_vectors
from chemsbi_jax.catalog.limits import find_limits
from chemsbi_jax.catalog.lookalikes import hint_of_names
from chemsbi_jax.catalog.over_h import (
    Covariance,
    compare_twice,
    lack_iron,
    note_of_iron,
    read_covariance,
    subtract_iron,
)
from chemsbi_jax.catalog.plausible import BEYOND, check_abundance, check_slopes
from chemsbi_jax.catalog.surveys import Survey
from chemsbi_jax.catalog.user_columns import OVER_H, list_columns
from chemsbi_jax.catalog.value_errors import read_errors
from chemsbi_jax.catalog.zero_point import doubt_below_iron
from chemsbi_jax.errors import CatalogError


class Measured(NamedTuple):
    """What was measured, in the order of `StarTable.abundances`."""

    values: Float[np.ndarray, "star element"]  # dex; NaN where not observed
    errors: Float[np.ndarray, "star element"]  # dex, 1 sigma; NaN where not observed
    fe_covariance: Covariance | None  # dex^2, see `Stars`
    no_iron: Bool[np.ndarray, " star"]  # [X/H] is observed without [Fe/H]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


class _Column(NamedTuple):
    values: np.ndarray
    errors: np.ndarray
    counts: dict[str, int]  # what was done -> to how many values
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


_LIMITS = "Limits (<, >), taken as not observed"
_FLAGGED = "Values with a bad flag, taken as not observed"
_MARKS = "Numbers for a missing value, such as -9999, taken as not observed"
_LARGE = "Numbers beyond 20 dex that repeat, taken as not observed"
_LIMITED_ERRORS = "Errors that are limits, as <0.05, replaced by the default error"
_UNUSABLE = "Values without a positive error, taken as not observed"
_UNCHECKED = "Values without a quality flag (the table has no such column)"


def read_abundances(
    source: StarTable,
    survey: Survey | None = None,
    *,
    default_error: float | None = None,
    without: Collection[str] = (),
    quality: bool = True,
) -> Measured:
    """[Fe/H] and [X/Fe]; from [X/H] where a table has that.

    [X/Fe] = [X/H] - [Fe/H], with the error sqrt(e_xh^2 + e_feh^2); the variance of
    [Fe/H], which all [X/Fe] of a star then share, is kept.

    Args:
        source: table with its columns.
        survey: whose flags make values "not observed". Its values without a positive
            error are not observed either; without a survey, these raise.
        default_error: error [dex] of each observed value that has none.
        without: abundances to leave out.
        quality: whether to look at the survey's flags.

    Raises:
        CatalogError: a cell can't be used, or [X/H] without [Fe/H].
    """
    present = present_columns(source)
    survey_flags = survey if quality else None
    every = source.abundances
    values = np.full((len(source.ids), len(every)), np.nan)
    errors = values.copy()
    counts: dict[str, list[str]] = {}
    over_h = [n for n, key in present.items() if key != n and n not in without]
    used = {name: key for name, key in present.items() if name not in without}
    notes, warnings = ([], []) if source.is_survey else compare_twice(source, used)
    for name, key in present.items():
        if name in without and not (name == "fe_h" and over_h):
            continue
        column = _read(source, key, survey_flags, default_error)
        i = every.index(name)
        values[:, i], errors[:, i] = column.values, column.errors
        for what, n in column.counts.items():
            counts.setdefault(what, []).append(f"{key} ({n})")
        notes += column.notes
        warnings += column.warnings
    notes += [f"{what}: {', '.join(which)}." for what, which in counts.items()]
    covariance, no_iron = read_covariance(source), lack_iron(values, every, over_h)
    notes += note_of_iron(no_iron)
    if over_h:
        covariance, note = subtract_iron(source, present, (values, errors), without)
        notes.append(note)
    if not source.is_survey:
        more, doubts = _compare_all(source, present, used, values)
        notes, warnings = [*notes, *more], [*warnings, *doubts]
    left_out = [i for i, name in enumerate(every) if name in without]
    values[:, left_out] = errors[:, left_out] = np.nan
    return Measured(values, errors, covariance, no_iron, tuple(notes), tuple(warnings))


def _compare_all(
    source: StarTable,
    present: dict[str, str],
    used: dict[str, str],
    values: Float[np.ndarray, "star el"],
) -> tuple[list[str], list[str]]:
    """Notes and warnings of all abundances together."""
    every = source.abundances
    doubts = [*check_slopes(present, values, every)]
    doubts += doubt_below_iron(source.columns, used, values, every)
    notes, more = _find_empty(source, used, values)
    return notes, [*doubts, *more]


def _find_empty(
    source: StarTable, used: Mapping[str, str], values: Float[np.ndarray, "star el"]
) -> tuple[list[str], list[str]]:
    """A note of columns without any value; a warning if [Fe/H] is one of them."""
    any_value = np.asarray(np.isfinite(values).any(axis=0)).tolist()
    has: dict[str, bool] = dict(zip(source.abundances, any_value, strict=True))
    empty = [
        source.columns.get(key, key) for name, key in used.items() if not has[name]
    ]
    notes = [f"Columns without any value: {', '.join(empty)}."] if empty else []
    if "fe_h" not in used or has["fe_h"]:
        return notes, []
    return notes, ["No star has [Fe/H], so the metallicity of the stars is not used."]


def present_columns(source: StarTable) -> dict[str, str]:
    """Abundances of a table -> the column, [X/Fe] or [X/H], that gives them.

    Raises:
        CatalogError: there is none.
    """
    present = {}
    for name in source.abundances:
        key = next((k for k in (name, OVER_H.get(name, name)) if source.has(k)), None)
        if key is not None:
            present[name] = key
    if present:
        return present
    if any(source.has(f"true_{name}") for name in source.abundances):
        raise CatalogError(
            f"{source.name}: the table has only noise-free values (columns true_*), "
            "which are not observed abundances; add noise once and write the result "
            f"into columns {', '.join(source.abundances)}."
        )
    remedy = f"Name them with --columns fe_h=..., if they are there.{_hint(source)}"
    if source.is_strict:
        remedy = "read_catalog reads other names, and read_stars only these."
    raise CatalogError(
        f"{source.name}: no column holds an abundance; expected some of "
        f"{', '.join(source.abundances)} (in any case); got "
        f"{list_columns(source.table.colnames)}. {remedy}"
    )


def _hint(source: StarTable) -> str:
    """What may hold abundances in a table without a column of them."""
    names = {name.lower(): name for name in source.table.colnames}
    return hint_of_names(names) + hint_of_vectors(source.table, source.table.colnames)


def _read(
    source: StarTable, key: str, survey: Survey | None, default_error: float | None
) -> _Column:
    limits, notes, doubts = find_limits(source, key)
    checked = check_abundance(source, key, numbers(source, key, DEX))
    counts = {**checked.counts}
    is_own = source.is_own(source.columns[key])
    if not is_own:  # the documentation of a survey names its codes
        counts[_MARKS] = count_marks(source, key)
    what = BEYOND if is_own else _LARGE
    counts[what] = counts.get(what, 0) + count_large(source, key, DEX)
    limits |= bare_limits(source, f"e_{key}") if source.has(f"e_{key}") else False
    counts[_LIMITS] = int((limits & np.isfinite(checked.values)).sum())
    counts[_LIMITS] += int(limit_cells(source, key).sum())
    values = np.where(limits, np.nan, checked.values)
    if survey is not None and key not in survey.unflagged:
        flags = survey.flag.format(key)
        observed = np.isfinite(values)
        if source.has(flags):
            bad = observed & flagged(source, flags, survey.flag_bits)
            values = np.where(bad, np.nan, values)
            counts[_FLAGGED] = int(bad.sum())
        else:
            counts[_UNCHECKED] = int(observed.sum())
    errors, n_assumed, warnings = read_errors(source, key, values, default_error)
    if default_error is not None:
        error = f"whose error was set to {default_error:g} dex"
        what = f"Values without an error of their own, {error}"
        counts[what] = n_assumed
        counts[_LIMITED_ERRORS] = _count_limits(source, f"e_{key}", values)
    good = np.isfinite(values) & np.isfinite(errors)
    counts[_UNUSABLE] = int((np.isfinite(values) & ~good).sum())
    return _Column(
        np.where(good, values, np.nan),
        np.where(good, errors, np.nan),
        {what: n for what, n in counts.items() if n},
        (*checked.notes, *notes),
        (*checked.warnings, *doubts, *warnings),
    )


def _count_limits(
    source: StarTable, column: str, values: Float[np.ndarray, " star"]
) -> int:
    """Errors of observed values that are given as a limit."""
    if not source.has(column):
        return 0
    return int((limit_cells(source, column) & np.isfinite(values)).sum())
