"""Errors of the abundances of a table."""

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.columns import DEX, StarTable, numbers
from chemsbi_jax.catalog.error_columns import further_errors
from chemsbi_jax.catalog.error_words import (
    conversion_by_name,
    refuse_by_name,
    why_no_error,
)
from chemsbi_jax.catalog.layouts import hint_of_vectors
from chemsbi_jax.catalog.nulls import LEAST_NINES, is_nines
from chemsbi_jax.catalog.plausible import check_errors
from chemsbi_jax.catalog.user_columns import KEYS, flag, list_columns
from chemsbi_jax.errors import CatalogError, raise_for_rows

LARGEST_ERROR = 1.0  # dex, of all values of a table; larger ones are in percent


def require_default_error(error: float | None) -> None:
    """Refuse an error [dex] for all values that can't be one; None passes.

    Raises:
        CatalogError: it is not positive, or larger than `LARGEST_ERROR`.
    """
    if error is not None and not 0 < error <= LARGEST_ERROR:
        raise CatalogError(
            f"Expected a default error above 0 and of at most {LARGEST_ERROR:g} dex; "
            f"got {error:g}. An error in percent is multiplied by 0.00434: 7 % is "
            "0.03 dex."
        )


def read_errors(
    source: StarTable,
    name: str,
    values: Float[np.ndarray, " star"],
    default_error: float | None,
) -> tuple[Float[np.ndarray, " star"], int, tuple[str, ...]]:
    """Errors [dex] where a value is observed, how many are the default; warnings."""
    observed, warnings = np.isfinite(values), ()
    if source.has(f"e_{name}"):
        refuse_by_name(source, name)
        column = source.columns[f"e_{name}"]
        errors = numbers(source, f"e_{name}", DEX)
        # 9.99 is no error, whatever the value
        errors = np.where(is_nines(errors, errors > LEAST_NINES), np.nan, errors)
        if source.is_own(column):
            errors = np.where(errors > 0, errors, np.nan)
        empty = source.columns[name]
        refuse_not_positive(source, column, errors, observed, empty)
        warnings = check_errors(source, name, errors)
    else:
        column = f"e_{name}"
        errors = np.full(len(values), np.nan)
    lacking = observed & ~np.isfinite(errors)
    if default_error is not None:
        filled = np.where(lacking, default_error, errors)
        return filled, int(lacking.sum()), warnings
    if not source.is_own(column):
        absent = f"but has no error{_like_errors(source, name)}"
        if source.has(f"e_{name}"):
            absent = why_no_error(source, name, lacking)
        raise_for_rows(
            source.name, source.ids, lacking, column,
            f"{name} is observed {absent}; give its error in dex, or "
            "one for all with --default-error DEX (in Python, "
            "options=CatalogOptions(default_error=DEX)), or empty the value.",
        )  # fmt: skip
    return errors, 0, warnings


def _like_errors(source: StarTable, name: str) -> str:
    """What may be the missing column of errors, in brackets."""
    like = further_errors(source.table.colnames, name)
    if not like:
        used = {c for key, c in source.columns.items() if key in KEYS}
        used |= {source.id_column} if source.id_column else set()
        rest = [c for c in source.table.colnames if c not in used]
        rest = [c for c in rest if column_of(source.table, c).dtype.kind in "fiu"]
        vectors = hint_of_vectors(source.table, rest)
        rest = [c for c in rest if column_of(source.table, c).ndim == 1]
        if vectors or not rest:
            return f" (the table has no column e_{name}{vectors and ';'}{vectors[:-1]})"
        return (
            f" (the table has no column e_{name}; not read: {list_columns(rest)}; if "
            f"one has the errors, name it with --columns e_{name}=...)"
        )
    hint = flag(f"e_{name}={conversion_by_name(like[0]) or like[0]}")
    return f" (no column e_{name}; {list_columns(like)} may hold it: {hint})"


def refuse_not_positive(
    source: StarTable, column: str, errors: np.ndarray, known: np.ndarray, empty: str
) -> None:
    """Raise for an error that is zero or negative.

    Args:
        source: the table.
        column: of the errors.
        errors: of all rows.
        known: rows with a value.
        empty: the columns that are to be emptied for a missing value.
    """
    bad = known & (errors <= 0)
    value = errors[np.argmax(bad)]
    raise_for_rows(
        source.name, source.ids, bad, column,
        f"the error is {value:g}; an error must be positive (for a missing value, "
        f"empty the cell of {empty}).",
    )  # fmt: skip
