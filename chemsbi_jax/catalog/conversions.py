"""Conversions of columns: their numbers, the unit of the result, and its error."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.columns import AUTO, TIMES, StarTable, plain_numbers, unit_of
from chemsbi_jax.catalog.error_columns import Source
from chemsbi_jax.catalog.expressions import Expression
from chemsbi_jax.catalog.pairs import half_width, is_time, null_rows, raw_numbers
from chemsbi_jax.errors import CatalogError, counted

Numbers = Float[np.ndarray, " star"]
# magnitudes of an age by its unit; the ranges do not overlap
UNITS_OF_AGES = ((20.0, 2e4, "Myr"), (2e7, 2e10, "yr"))
LEAST, MOST = 0.005, 200.0  # a number beyond converts units: tau*0.001, tau/1e9


class Converted(NamedTuple):
    """The result of a conversion."""

    values: Numbers
    errors: Numbers | None  # 1 sigma; None: not propagated
    unit: str | None  # of both
    notes: tuple[str, ...]


def convert(
    source: StarTable,
    key: str,
    conversion: Expression,
    partners: Mapping[str, Source] | None,
    age_unit: str,
) -> Converted:
    """Evaluate a conversion.

    Args:
        source: the table as it was read.
        key: our name of the result.
        conversion: of columns of the table.
        partners: column -> its errors, which are propagated.
        age_unit: of times; "auto" follows from the columns, or from the size of a power
            of ten. Results of `cosmic_time` are in Gyr.

    Raises:
        CatalogError: columns of times whose units do not give that of the result.
    """
    values = {c: raw_numbers(source, c, key) for c in conversion.columns}
    unit, notes = age_unit, _notes_of_nulls(source, key, conversion)
    factors = _factors(source, key, conversion, values, age_unit)
    values = {c: x * factors.get(c, 1.0) for c, x in values.items()}
    result = conversion.evaluate(values) + np.zeros(len(source.ids))
    if factors:
        unit = "Gyr"
        own = {unit_of(source.table, c): "" for c in factors}
        notes.append(
            f"{conversion.text} was taken in {', '.join(own)}, by its columns."
        )
    elif _gives_gyr(conversion):
        unit = "Gyr"  # that of the function, whatever --age-unit is
    elif age_unit == AUTO or key not in ("age", "birth_time"):
        unit, note = _unit_of_time(key, conversion, result)
        notes += [note] if note else []
    if not partners:
        return Converted(result, None, unit, tuple(notes))
    errors = {
        c: _error(source, c, partners[c], key) * factors.get(c, 1.0) for c in partners
    }
    listed = ", ".join(" and ".join(p) for p in partners.values())
    notes.append(f"e_{key} was propagated from {listed}.")
    return Converted(result, conversion.error(values, errors), unit, tuple(notes))


def _notes_of_nulls(source: StarTable, key: str, conversion: Expression) -> list[str]:
    notes = []
    for column in conversion.columns:
        values = plain_numbers(source._replace(columns={"": column}), "")
        nulls = values[null_rows(values, column, key)]
        if len(nulls):
            each = f"{counted(len(nulls), 'value')} such as {nulls[0]:g}"
            notes.append(f"{each} in {column} taken as missing.")
    return notes


def _factors(
    source: StarTable,
    key: str,
    conversion: Expression,
    values: Mapping[str, Numbers],
    age_unit: str,
) -> dict[str, float]:
    """From columns of times to Gyr; empty if the conversion's numbers do that."""
    found = {c: factor for c in values if (factor := _in_gyr(source, c))}
    if not is_time(key) or _changes_unit(conversion) or "10**" in conversion.text:
        return {}
    if all(factor == 1.0 for factor in found.values()):
        return {} if age_unit in (AUTO, "Gyr") else found
    once = {c: x * found.get(c, 1.0) for c, x in values.items()}
    twice = {c: x * (2.0 if c in found else 1.0) for c, x in once.items()}
    one, two = (conversion.evaluate(x) for x in (once, twice))
    if np.allclose(2.0 * one, two, rtol=1e-6, equal_nan=True):
        return found
    if age_unit != AUTO:
        return {}
    column = next(iter(found))
    raise CatalogError(
        f"{source.name}: the unit of --columns {key}={conversion.text} does not follow "
        f"from that of {', '.join(found)}. Convert the column to Gyr there "
        f"({column}*{found[column]:g}), or give the unit of the result with --age-unit."
    )


def _in_gyr(source: StarTable, column: str) -> float:
    """The factor of a column with a unit of time; 0.0 if it has none."""
    unit = unit_of(source.table, column).lower()
    return TIMES.get(unit, 0.0) if unit else 0.0


def _changes_unit(conversion: Expression) -> bool:
    """Whether a number of a conversion is that of a change of units, as 0.001."""
    return any(x and not LEAST <= x <= MOST for x in conversion.numbers)


def _gives_gyr(conversion: Expression) -> bool:
    """Whether the result is that of `cosmic_time`, or a sum with it, in Gyr."""
    text = conversion.text.strip()
    if "cosmic_time(" not in text:
        return False
    return _is_one_call(text) or not _changes_unit(conversion)


def _is_one_call(text: str) -> bool:
    """Whether the first bracket closes at the end: cosmic_time(1/(1+z))."""
    if not text.startswith("cosmic_time("):
        return False
    depth = 0
    for i, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if letter == ")" and depth == 0:
            return i == len(text) - 1
    return False


def _error(source: StarTable, column: str, partner: Source, key: str) -> Numbers:
    """1 sigma in the unit of its column, from one column or from two."""
    own = _in_gyr(source, column) if is_time(key) else 0.0
    each = []
    for name in partner:
        scale = (_in_gyr(source, name) or own) / own if own else 1.0
        each.append(raw_numbers(source, name, key) * scale)
    if len(partner) == 1:
        return each[0]
    numbers = each[0], raw_numbers(source, column, key), each[1]
    pair = partner[0], partner[1]
    return half_width(source.name, key, column, pair, numbers)[0]


def _unit_of_time(
    key: str, conversion: Expression, values: Numbers
) -> tuple[str | None, str]:
    """Unit of a power of ten, inferred from its size."""
    if key not in ("age", "birth_time") or "10**" not in conversion.text:
        return None, ""
    known = values[np.isfinite(values)]
    middle = float(np.median(known)) if len(known) else 0.0
    unit = next((u for low, high, u in UNITS_OF_AGES if low <= middle <= high), "Gyr")
    return unit, f"{conversion.text} was taken in {unit}, inferred from its size."
