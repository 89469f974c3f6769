"""[X/H] in place of [X/Fe]: the difference, and the error of [Fe/H] that it shares."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.catalog.columns import DEX, StarTable, numbers, plain_numbers
from chemsbi_jax.catalog.lookalikes import hint_of_iron
from chemsbi_jax.catalog.user_columns import OVER_H, flag, label
from chemsbi_jax.errors import CatalogError, counted
from chemsbi_jax.types import Stars

COVARIANCE = "fe_covariance"  # column [dex^2] of all [X/Fe]; "_o_fe" is that of [O/Fe]
SAME = 0.02  # dex; three values that are rounded to 0.01 differ by 0.015 at most
MARK = 9.0  # dex; 9.99 stands for "missing"
_CONTAIN_IRON = (
    "Their errors all contain the error of [Fe/H]: exact, robust and NUTS compare "
    "[X/H], whose errors are independent. The networks (flow, gaussian) take the "
    "errors sqrt(e_xh^2 + e_feh^2) as independent; flow corrects the mean for this."
)

Covariance = Float[np.ndarray, " star"] | Float[np.ndarray, "star element"]
Numbers = Float[np.ndarray, "star element"]


def subtract_iron(
    source: StarTable,
    present: Mapping[str, str],
    numbers: tuple[Numbers, Numbers],
    without: Collection[str],
) -> tuple[Covariance | None, str]:
    """Turn [X/H] into [X/Fe] in place.

    Args:
        source: the table.
        present: abundance -> the column that gives it, [X/Fe] or [X/H].
        numbers: values and errors [dex], in the order of the table, changed here.
        without: abundances that are left out.

    Returns:
        The variance of [Fe/H] in the errors of [X/Fe] [dex^2], one number a star if all
        of them share it, else one for each abundance; None if [Fe/H] is left out. And
        a note.

    Raises:
        CatalogError: there is no [Fe/H].
    """
    values, errors = numbers
    over_h = [n for n, key in present.items() if key != n and n not in without]
    keys = ", ".join(present[n] for n in over_h)
    if "fe_h" not in present:
        raise CatalogError(
            f"{source.name}: expected a column fe_h, to turn {keys} into [X/Fe]; got "
            f"none. {hint_of_iron({c.lower(): c for c in source.table.colnames})}"
        )
    iron, *columns = [source.abundances.index(n) for n in ("fe_h", *over_h)]
    for i in columns:
        values[:, i] -= values[:, iron]
        errors[:, i] = np.hypot(errors[:, i], errors[:, iron])
        errors[:, i] = np.where(np.isfinite(values[:, i]), errors[:, i], np.nan)
    start = f"[X/Fe] is [X/H] - [Fe/H] for {keys}"
    if "fe_h" in without:
        return None, (
            f"{start}, with the error sqrt(e_xh^2 + e_feh^2). These errors count as "
            "independent, though they share that of [Fe/H]."
        )
    note = f"{start}. {_CONTAIN_IRON}"
    covariance = np.nan_to_num(errors[:, iron]) ** 2
    others = [n for n in present if n not in ("fe_h", *over_h, *without)]
    if not others:
        return covariance, note
    each = np.zeros(values.shape)
    each[:, columns] = covariance[:, None]
    return each, (
        f"{note} The table gives [X/Fe] itself for {', '.join(others)}, whose errors "
        "count as independent of that of [Fe/H]."
    )


def compare_twice(
    source: StarTable, present: Mapping[str, str]
) -> tuple[list[str], list[str]]:
    """Notes and warnings about [X/H] columns that stand beside [X/Fe] of the element.

    [X/Fe] is read, if [X/H] - [Fe/H] is the same.

    Raises:
        CatalogError: it is not the same, so the two compete for one abundance.
    """
    twice = [
        n for n, key in present.items() if key == n and source.has(OVER_H.get(n, ""))
    ]
    notes, warnings = [], []
    for name in twice:
        column, other = source.columns[name], source.columns[OVER_H[name]]
        ratio, over_h = (_known(source, key) for key in (name, OVER_H[name]))
        iron = _known(source, "fe_h")
        apart = np.nan_to_num(np.abs(over_h - iron - ratio))
        if (apart > SAME).any():
            row = int(np.argmax(apart))
            raise CatalogError(
                f"{source.name}: columns {column!r} and {other!r} both give "
                f"{label(name)}, but {label(OVER_H[name])} - [Fe/H] and {label(name)} "
                f"differ by more than {SAME} dex in {int((apart > SAME).sum())} rows, "
                f"the most in row {row + 1} ({apart[row]:.3f} dex). Choose one with "
                f"{flag(f'{name}={column}')} or {flag(f'{OVER_H[name]}={other}')}, "
                f"remove the other, or leave both out with --without {name}."
            )
        notes.append(f"Not read, as {column} holds the same: {other}.")
        more = int((np.isfinite(over_h) & ~np.isfinite(ratio)).sum())
        if more:
            warnings.append(
                f"{more} rows have {other} and no {column}, and {other} was not read: "
                f"{flag(f'{OVER_H[name]}={other}')} reads it in place of {column}."
            )
    return notes, warnings


def _known(source: StarTable, key: str) -> Float[np.ndarray, " star"]:
    """Values [dex] for a comparison; NaN where missing, or where there are none."""
    if not source.has(key):
        return np.full(len(source.ids), np.nan)
    try:
        values = numbers(source, key, DEX)
    except CatalogError:  # reported where the column is read, if it is
        return np.full(len(source.ids), np.nan)
    return np.where(np.abs(values) < MARK, values, np.nan)


def covariance_columns(stars: Stars) -> dict[str, Float[np.ndarray, " star"]]:
    """Columns of a table that hold `Stars.fe_covariance` [dex^2]."""
    shared = stars.fe_covariance
    if shared is None:
        return {}
    if shared.ndim == 1:
        return {COVARIANCE: shared}
    each = zip(stars.abundances, shared.T, strict=True)
    return {f"{COVARIANCE}_{name}": column for name, column in each if column.any()}


def read_covariance(source: StarTable) -> Covariance | None:
    """The columns of `covariance_columns`; None if there are none."""
    if source.has(COVARIANCE):
        return np.nan_to_num(plain_numbers(source, COVARIANCE))
    names = [f"{COVARIANCE}_{name}" for name in source.abundances]
    if not any(source.has(name) for name in names):
        return None
    none = np.zeros(len(source.ids))
    each = [plain_numbers(source, n) if source.has(n) else none for n in names]
    return np.nan_to_num(np.stack(each, axis=1))


def lack_iron(
    values: Float[np.ndarray, "star element"],
    abundances: Sequence[str],
    over_h: Collection[str],
) -> Bool[np.ndarray, " star"]:
    """Rows with an [X/H], but without [Fe/H]."""
    others = [abundances.index(name) for name in over_h if name != "fe_h"]
    if not others or "fe_h" not in abundances:
        return np.zeros(len(values), bool)
    iron = np.isfinite(values[:, abundances.index("fe_h")])
    return np.asarray(np.isfinite(values[:, others]).any(axis=1) & ~iron)


def note_of_iron(no_iron: Bool[np.ndarray, " star"]) -> list[str]:
    """A note of rows with [X/H] and without [Fe/H], if there are any."""
    n = int(no_iron.sum())
    text = f"{counted(n, 'row')} without [Fe/H]: [X/H] was not used there."
    return [text] if n else []
