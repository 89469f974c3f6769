"""The columns that a user names: --columns "fe_h=FE_H,age=10**logAge"."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from chemsbi_jax.catalog.expressions import Expression, parse_expression
from chemsbi_jax.catalog.meaning import (
    COUNT,
    ELEMENTS_READ,
    ERROR,
    FLAG,
    LIMIT,
    VALUE,
    Meaning,
    element_of,
    meaning_of,
)
from chemsbi_jax.catalog.time_names import ln_age
from chemsbi_jax.constants import ABUNDANCES, ALL_ABUNDANCES
from chemsbi_jax.errors import CatalogError
from chemsbi_jax.yields.elements import SOLAR

OVER_H = {name: f"{name.split('_')[0]}_h" for name in ALL_ABUNDANCES if name != "fe_h"}
"""[X/Fe] -> [X/H]."""

VALUES = (*ALL_ABUNDANCES, *OVER_H.values(), "birth_time", "age")
ID, LOGG = "id", "logg"
KEYS = (*VALUES, *(f"e_{name}" for name in VALUES), LOGG, ID)
"""What --columns can name, if the model has all abundances."""

SUN = {element.lower(): value for element, value in SOLAR.items()}
"""Element in lower case -> 12 + log10(n_X / n_H) of the Sun, Asplund+2009."""


class UserColumns(NamedTuple):
    """What the user named."""

    columns: dict[str, str]  # our name -> name in the table
    conversions: dict[str, Expression]  # our name -> conversion
    notes: tuple[str, ...]


def keys_of(abundances: Sequence[str]) -> tuple[str, ...]:
    """What --columns can name for a model with these abundances."""
    over_h = (OVER_H[name] for name in abundances if name in OVER_H)
    values = (*abundances, *over_h, "birth_time", "age")
    return (*values, *(f"e_{name}" for name in values), LOGG, ID)


def parse_columns(
    file: str,
    names: Mapping[str, str],
    text: str,
    abundances: Sequence[str] = ABUNDANCES,
) -> UserColumns:
    """Columns and conversions by our names; case does not matter.

    Args:
        file: its name, for messages.
        names: lower-case name -> name in the table.
        text: "fe_h=FE_H,age=10**logAge", see `expressions`.
        abundances: those of the model.

    Raises:
        CatalogError: a part is no pair, its name is not ours, there is no such column,
            or the column's name contradicts the quantity.
    """
    asked: dict[str, str] = {}
    conversions: dict[str, Expression] = {}
    notes: list[str] = []
    keys = keys_of(abundances)
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, column = (word.strip() for word in part.partition("="))
        key = key.lower()
        if key in asked or key in conversions:
            raise CatalogError(
                f"Expected {key} once in --columns; got it twice. Remove one of them."
            )
        if not equals or not column or key not in keys:
            raise CatalogError(
                f"Expected --columns like fe_h=FE_H,e_fe_h=FE_H_ERR with names of "
                f"{', '.join(keys)}; got {part!r}."
            )
        if column.lower() in names:
            asked[key] = names[column.lower()]
        elif key == ID or not any(mark in column for mark in "+-*/("):
            raise CatalogError(
                f"{file}: no column {column!r} of --columns {part}"
                f"{_nearest(column, names)}; the table has {', '.join(names.values())}."
            )
        else:
            conversions[key] = parse_expression(column, names)
    for key, column in asked.items():
        notes += _check_meaning(file, key, column, names, asked)
    for key, conversion in conversions.items():
        _refuse_difference(file, key, conversion)
    return UserColumns(asked, conversions, tuple(notes))


def _nearest(column: str, names: Mapping[str, str]) -> str:
    """The name that a misspelled one is most like, in brackets."""
    near = get_close_matches(column.lower(), names, n=1)
    return f" (did you mean {names[near[0]]}?)" if near else ""


def _check_meaning(
    file: str,
    key: str,
    column: str,
    names: Mapping[str, str],
    asked: Mapping[str, str],
) -> list[str]:
    """Refuse a column whose name contradicts the user's mapping, or return a note."""
    meaning = meaning_of(column)
    if meaning is None or key in (ID, LOGG) or column.lower() == key:
        return []
    wanted = key.removeprefix("e_")
    if key != wanted:  # an error: of another value?
        if meaning.quantity == "log_age" and wanted in asked:
            raise _another(
                file, key, column, f"{wanted}=10**{_value_of(column, names)}"
            )
        _refuse_other_error(file, key, column, meaning)
        return []
    if meaning.role == ERROR:
        raise _another(file, key, column, f"e_{key}={column}", "an error")
    if meaning.role == COUNT:
        raise _another(file, key, column, "", "a number of lines")
    if meaning.role in (LIMIT, FLAG):
        raise _another(file, key, column, "", f"a {meaning.role}")
    if meaning.quantity == wanted:
        return []
    return _other_quantity(file, key, column, meaning, names)


def _refuse_other_error(file: str, key: str, column: str, meaning: Meaning) -> None:
    """Refuse an abundance in place of an error, and the error of another element."""
    if meaning.role == VALUE and not meaning.qualifier:
        raise _another(file, key, column, f"{meaning.quantity}={column}")
    wanted, element = element_of(key.removeprefix("e_")), element_of(meaning.quantity)
    is_error = meaning.role == ERROR and wanted in ELEMENTS_READ
    if is_error and element in ELEMENTS_READ and element != wanted:
        name = label(f"e_{meaning.quantity}")
        raise _another(file, key, column, f"e_{meaning.quantity}={column}", name)


def _other_quantity(
    file: str, key: str, column: str, meaning: Meaning, names: Mapping[str, str]
) -> list[str]:
    element, wanted = element_of(meaning.quantity), element_of(key)
    is_time = key in ("age", "birth_time")
    if is_time:
        remedy = {
            "log_age": f"age=10**{column}",
            "ln_age": ln_age(column),
            "scale_factor": f"birth_time=cosmic_time({column})",
            "redshift": f"birth_time=cosmic_time(1/(1+{column}))",
            "age": f"age={column}",
            "birth_time": f"birth_time={column}",
        }.get(meaning.quantity, "")
        raise _another(file, key, column, remedy)
    if meaning.quantity == "m_h" and key == "fe_h":
        over = next((c for c in names.values() if _is(c, "fe_m")), None)
        more = (
            f" {over} looks like the difference [Fe/M]: fe_h={column}+{over} adds it."
            if over
            else ""
        )
        return [f"[M/H] ({column}) was taken for [Fe/H].{more}"]
    if meaning.quantity == f"{wanted}_m":
        return [f"[{wanted.capitalize()}/M] ({column}) was taken for {label(key)}."]
    if meaning.quantity == f"a_{wanted}" and not key.endswith("_h"):
        raise _another(file, key, column, f"{wanted}_h={column}-{SUN[wanted]:.2f}")
    if meaning.quantity == f"a_{wanted}":
        return []  # the solar value is subtracted where the numbers are read
    if element == wanted:
        raise _another(file, key, column, f"{meaning.quantity}={column}")
    raise _another(file, key, column, "")


def _another(
    file: str, key: str, column: str, remedy: str, looks_like: str = ""
) -> CatalogError:
    meaning = meaning_of(column)
    looks_like = looks_like or label(meaning.quantity if meaning else column)
    advice = f"Did you mean {flag(remedy)}? " if remedy else ""
    return CatalogError(
        f"{file}, column {column!r}: --columns {key}={column} takes it for "
        f"{label(key)}, but by its name it is {looks_like}. {advice}If the flag is "
        "right, rename the column."
    )


def _refuse_difference(file: str, key: str, conversion: Expression) -> None:
    """[X/Fe] as a difference of two columns would lose their common error of iron."""
    meanings = [meaning_of(column) for column in conversion.columns]
    wanted = element_of(key)
    if key not in OVER_H or len(meanings) != 2:
        return
    quantities = [m.quantity if m else "" for m in meanings]
    if sorted(quantities) != sorted(["fe_h", f"{wanted}_h"]):
        return
    column = conversion.columns[quantities.index(f"{wanted}_h")]
    raise CatalogError(
        f"{file}: --columns {key}={conversion.text} subtracts [Fe/H], and would lose "
        f"the error that it shares with [Fe/H]. Give --columns {wanted}_h={column}: "
        "[Fe/H] is subtracted then, with its error."
    )


def _is(column: str, quantity: str) -> bool:
    meaning = meaning_of(column)
    return meaning is not None and meaning.quantity == quantity


def _value_of(column: str, names: Mapping[str, str]) -> str:
    """The column of log ages beside its error's."""
    same = (c for c in names.values() if c != column and _is(c, "log_age"))
    return next(same, column)


def flag(text: str) -> str:
    """--columns with a text, in quotes where a shell needs them.

    >>> flag("age=10**logAge")
    '--columns "age=10**logAge"'
    """
    is_plain = all(c.isalnum() or c in "_=,.+-/" for c in text)
    return f"--columns {text}" if is_plain else f'--columns "{text}"'


def label(quantity: str) -> str:
    """How the field writes a quantity of `meaning` or one of our names.

    >>> label("e_mg_fe"), label("a_o")
    ('the error of [Mg/Fe]', 'A(O), on the scale 12 + log10(n_O/n_H)')
    """
    if quantity.startswith("e_"):
        return f"the error of {label(quantity[2:])}"
    words = {
        "age": "an age",
        "birth_time": "a birth time since the Big Bang",
        "log_age": "log10 of an age",
        "ln_age": "the natural logarithm of an age",
        "scale_factor": "a scale factor",
        "redshift": "a redshift",
    }
    if quantity in words:
        return words[quantity]
    over, _, under = quantity.partition("_")
    if over == "a":
        x = under.capitalize()
        return f"A({x}), on the scale 12 + log10(n_{x}/n_H)"
    over = over if over == "alpha" else over.capitalize()
    return f"[{over}/{under.capitalize()}]" if under else quantity


MOST = 12  # columns in one sentence


def list_columns(columns: list[str]) -> str:
    """The first of some columns, and how many more there are."""
    more = f" and {len(columns) - MOST} more" if len(columns) > MOST else ""
    return ", ".join(columns[:MOST]) + more


def abundances_without(text: str, abundances: tuple[str, ...]) -> list[str]:
    """Names of the flag --without; raises a CatalogError for unknown ones."""
    names = [word.strip().lower() for word in text.split(",") if word.strip()]
    unknown = [name for name in names if name not in abundances]
    if unknown:
        raise CatalogError(
            f"Expected --without with some of {', '.join(abundances)}; got "
            f"{', '.join(unknown)}."
        )
    return names
