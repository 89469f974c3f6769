"""Errors whose name says that they are not in dex or Gyr, and how to convert them."""

import re

import numpy as np

from chemsbi_jax.catalog.cell_words import MISSING_WORDS
from chemsbi_jax.catalog.cells import column_of, mask_of
from chemsbi_jax.catalog.columns import StarTable
from chemsbi_jax.catalog.user_columns import flag
from chemsbi_jax.errors import CatalogError

LN = 1.0 / np.log(10.0)
"""dex for a natural logarithm of 1, or for a relative error of 1."""
PERCENT = 0.01 * LN  # dex for 1 % of a number ratio
INVERSE = ("inv", "inverse")
# words of a name -> conversion to dex, and to the unit of a time
KINDS = (
    (("ivar", "invvar"), "1/sqrt({error})", "1/sqrt({error})"),
    (("var", "variance"), "sqrt({error})", "sqrt({error})"),
    (
        ("percent", "percentage", "perc", "pct", "%"),
        f"{{error}}*{PERCENT:.5f}",
        "{value}*{error}*0.01",
    ),
    (
        ("ln", "rel", "relative", "relerr", "frac", "fraction", "fractional"),
        f"{{error}}*{LN:.4f}",
        "{value}*{error}",
    ),
    (("mdex",), "{error}*0.001", ""),
)


def why_no_error(source: StarTable, name: str, lacking: np.ndarray) -> str:
    """Why the first of some rows has no error, for a message.

    Args:
        source: the table, with a column of errors.
        name: of the value.
        lacking: rows with a value and without an error.
    """
    cells = column_of(source.table, source.columns[f"e_{name}"])
    row = int(np.argmax(lacking))
    text = str(cells[row]).strip()
    if cells.ndim != 1 or mask_of(cells)[row] or text.lower() in MISSING_WORDS:
        return "but has no error"
    return f"but its error {text} was taken as missing (a limit, or too large)"


def conversion_by_name(column: str, time: str = "") -> str:
    """The conversion of a column of errors that is called percent, variance, ...

    Args:
        column: its name.
        time: the column of the time that it belongs to; "" for an abundance.

    Returns:
        What --columns takes, or "" if the name says nothing of the kind.

    >>> conversion_by_name("e_[Fe/H] (%)")
    'e_[Fe/H] (%)*0.00434'
    >>> conversion_by_name("e_age_percent", time="age")
    'age*e_age_percent*0.01'
    """
    words = set(re.split(r"[^a-z0-9%]+", column.strip().lower().replace("%", "_%_")))
    if words & {*INVERSE} and words & {"var", "variance"}:
        words.add("ivar")
    for names, of_dex, of_time in KINDS:
        pattern = of_time if time else of_dex
        if words & {*names} and pattern:
            return pattern.format(error=column, value=time)
    return ""


def refuse_by_name(source: StarTable, key: str, time: str = "") -> None:
    """Raise for a column of errors whose name says that it is not in dex or Gyr.

    Args:
        source: table with its columns.
        key: our name of the value.
        time: the column of the time that it belongs to; "" for an abundance.
    """
    name = f"e_{key}"
    original = source.columns[name]
    conversion = "" if name in source.made else conversion_by_name(original, time)
    if not conversion:
        return
    unit = "a unit of time" if time else "dex"
    raise CatalogError(
        f"{source.name}, column {original!r}: by its name it is no error in {unit}. "
        f"Convert: {flag(f'{name}={conversion}')}. If it is in {unit}, rename the "
        "column."
    )
