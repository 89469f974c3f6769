"""Columns that resemble those we read: competitors, and what was not read."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from chemsbi_jax.catalog.error_columns import suggest
from chemsbi_jax.catalog.meaning import (
    ELEMENTS_READ,
    FLAG,
    LIMIT,
    VALUE,
    Meaning,
    element_of,
    meaning_of,
)
from chemsbi_jax.catalog.time_names import ln_age
from chemsbi_jax.catalog.unread_names import hint_of_elements, warn_of_others
from chemsbi_jax.catalog.user_columns import (
    MOST,
    OVER_H,
    SUN,
    VALUES,
    UserColumns,
    label,
    list_columns,
)
from chemsbi_jax.constants import ABUNDANCES, ALL_ABUNDANCES
from chemsbi_jax.errors import CatalogError

ABOVE_12 = ("12_log", "12_log10", "log_12", "log10_12")
SURVEY_VERSIONS = {"spec", "raw", "atmo", "i", "ii", "1", "2"}
"""Words of columns that surveys have beside those that they recommend."""


class LookAlikes(NamedTuple):
    """Meanings of the names of the other columns."""

    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    limits: dict[str, str]  # our name -> column that marks limits


class _Candidate(NamedTuple):
    column: str
    meaning: Meaning
    key: str  # our name that it may be
    text: str  # what --columns would take for it


def find_similar(
    file: str,
    names: Mapping[str, str],
    used: Mapping[str, str],
    user: UserColumns,
    rules: str = "auto",
    without: Collection[str] = (),
    abundances: Sequence[str] = ABUNDANCES,
    own: Collection[str] = (),
) -> LookAlikes:
    """Competitors and unread columns of a table.

    Args:
        file: its name, for messages.
        names: lower-case name -> name in the table.
        used: our name -> column in use.
        user: what the user named.
        rules: "auto", by which two columns for one abundance are refused, "none", or
            the name of the survey whose rules choose the columns.
        without: abundances that are left out.
        abundances: those of the model.
        own: columns of the survey's rules.

    Raises:
        CatalogError: two columns compete for one abundance.
    """
    taken = {*used.values(), *(c for x in user.conversions.values() for c in x.columns)}
    mine = {*used, *user.conversions} & set(VALUES)
    others = [
        candidate
        for column in names.values()
        if column not in taken and (candidate := _candidate(column, names))
    ]
    asked = {*user.columns, *user.conversions}
    has_survey = rules not in ("auto", "none")
    if rules == "auto":
        _refuse_competitors(file, names, used, others, asked, without)
    read = {_subject(key) for key in mine}
    again = [c for c in others if _subject(c.key) in read]
    again = [c.column for c in again if not has_survey or _is_user(c, own)]
    notes = []
    if again:
        notes.append(
            "Not read, as other columns give the same quantities: "
            f"{list_columns(again)}."
        )
    warnings = _warnings(names, others, read, without)
    if not has_survey:
        warnings += warn_of_others(names, taken, read, abundances)
    if len(read & set(ELEMENTS_READ)) == 1 and not without:
        warnings.append(
            f"Only {label(next(iter(mine & set(_all_abundances()))))} is read: one "
            "abundance alone constrains the parameters little."
        )
    limits = _find_limits([c for c in names.values() if c not in own], used, user)
    return LookAlikes(tuple(notes), tuple(warnings), limits)


def _is_user(candidate: _Candidate, own: Collection[str]) -> bool:
    """Whether a column of a survey's table is no other version of the survey itself."""
    meaning = candidate.meaning
    is_version = set(meaning.qualifier.split("_")) & SURVEY_VERSIONS
    return meaning.quantity in VALUES and not is_version and candidate.column not in own


def _warnings(
    names: Mapping[str, str],
    others: list[_Candidate],
    read: set[str],
    without: Collection[str],
) -> list[str]:
    """What was not read of elements that no other column gives."""
    left = [c for c in others if _subject(c.key) not in read]
    left = [c for c in left if not _is_left_out(c.key, without)]
    warnings = []
    if "fe" not in read and "fe_h" not in without:
        warnings.append(_warn_of_iron(left, names))
    rest = [c for c in left if _subject(c.key) != "fe"]
    if rest:
        warnings.append(_warn_of_unread(rest, names))
    return warnings


def hint_of_iron(names: Mapping[str, str]) -> str:
    """Which columns look like [Fe/H], for a table of [X/H] without it."""
    found = [c for column in names.values() if (c := _candidate(column, names))]
    if not any(_subject(c.key) == "fe" for c in found):
        return "Name it with --columns fe_h=..."
    return _warn_of_iron(found, names)


def _all_abundances() -> tuple[str, ...]:
    return (*ALL_ABUNDANCES, *OVER_H.values())


def _quantity(column: str) -> str:
    meaning = meaning_of(column)
    return meaning.quantity if meaning and meaning.role == VALUE else ""


def _candidate(column: str, names: Mapping[str, str]) -> _Candidate | None:
    """What a column may be, and how --columns would read it."""
    meaning = meaning_of(column)
    if meaning is None or meaning.role != VALUE:
        return None
    if column.strip().lower().startswith("true_"):  # noise-free, of a made-up table
        return None
    quantity = meaning.quantity
    element = element_of(quantity)
    key, text = quantity, column
    if quantity == "m_h":
        key = "fe_h"
    elif quantity.startswith("a_") and element in ELEMENTS_READ:
        key, text = f"{element}_h", f"{column}-{SUN[element]:.2f}"
    elif quantity.endswith("_m") and element in ELEMENTS_READ:
        metal = next((c for c in names.values() if _quantity(c) == "m_h"), None)
        key = f"{element}_h" if metal else f"{element}_fe"
        text = f"{column}+{metal}" if metal else column
        key = "fe_h" if element == "fe" else key
    elif _is_number_ratio(meaning, column) and element in ELEMENTS_READ:
        text = f"{column}{_number_ratio_to_dex(meaning):+.2f}"
    elif quantity == "log_age":
        key, text = "age", f"10**{column}"
    elif quantity == "ln_age":
        key, text = "age", ln_age(column).removeprefix("age=")
    elif quantity == "scale_factor":
        key, text = "birth_time", f"cosmic_time({column})"
    elif quantity == "redshift":
        key, text = "birth_time", f"cosmic_time(1/(1+{column}))"
    return _Candidate(column, meaning, key, text) if key in VALUES else None


def _is_number_ratio(meaning: Meaning, column: str) -> bool:
    """Whether a name is that of log10 of a ratio of numbers: log(O/H), 12+log(O/H)."""
    is_log = meaning.qualifier in ("log", "log10", *ABOVE_12)
    return is_log and "[" not in column and meaning.quantity.endswith(("_h", "_fe"))


def _number_ratio_to_dex(meaning: Meaning) -> float:
    """What to add to log10 of a ratio of numbers, to have it relative to the Sun."""
    over, _, under = meaning.quantity.partition("_")
    if under == "fe":
        return SUN["fe"] - SUN[over]
    return (0.0 if meaning.qualifier in ABOVE_12 else 12.0) - SUN[over]


def _subject(key: str) -> str:
    """The element that a key is about, or "time"."""
    return "time" if key in ("age", "birth_time") else key.split("_")[0]


def _is_left_out(key: str, without: Collection[str]) -> bool:
    return any(_subject(key) == _subject(name) for name in without)


def _refuse_competitors(
    file: str,
    names: Mapping[str, str],
    used: Mapping[str, str],
    others: list[_Candidate],
    asked: Collection[str],
    without: Collection[str],
) -> None:
    """Two columns of one abundance: measured twice, or corrected and not."""
    for key in _all_abundances():
        if key in asked or _is_left_out(key, without):
            continue
        if OVER_H.get(key) in asked or any(OVER_H.get(a) == key for a in asked):
            continue
        same = [c for c in others if c.meaning.quantity == key]
        mine = used.get(key)
        if mine is not None:
            same = [c for c in same if c.meaning.competes or not c.meaning.qualifier]
        columns = [c.column for c in same]
        if mine is not None and columns:
            columns = [mine, *columns]
        if len(columns) < 2:
            continue
        listed = ", ".join(repr(c) for c in columns)
        absent = "" if mine else f"no column is named {key}, and "
        flag = suggest([(key, columns[0])], names)
        name = next((fe for fe, h in OVER_H.items() if h == key), key)
        raise CatalogError(
            f"{file}: {absent}several columns may be {label(key)}: {listed}. Choose "
            f"one with {flag}, or leave it out with --without {name}."
        )


def _warn_of_iron(left: list[_Candidate], names: Mapping[str, str]) -> str:
    like = [c for c in left if _subject(c.key) == "fe"]
    if not like:
        return (
            "No [Fe/H] was found, so the metallicity of the stars is not used. If a "
            "column holds it, name it with --columns fe_h=..."
        )
    return (
        f"No [Fe/H] was found, but {list_columns([c.column for c in like])} looks like "
        f"it: {suggest([(like[0].key, like[0].text)], names)} reads it."
    )


def _warn_of_unread(rest: list[_Candidate], names: Mapping[str, str]) -> str:
    first: dict[str, _Candidate] = {}
    for candidate in rest:
        first.setdefault(_subject(candidate.key), candidate)
    flag = suggest([(c.key, c.text) for c in first.values()], names)
    meant = ", ".join(f"{c.column} ({label(c.meaning.quantity)})" for c in rest[:MOST])
    return f"Not read, though the names resemble ours: {meant}. To read: {flag}."


def _find_limits(
    columns: Collection[str], used: Mapping[str, str], user: UserColumns
) -> dict[str, str]:
    """Columns that mark limits of the values in use, as VizieR's l_[C/Fe]."""
    limits = {}
    marks = {
        column: meaning
        for column in columns
        if (meaning := meaning_of(column)) and meaning.role in (LIMIT, FLAG)
    }
    sources = dict(used) | {k: x.columns[0] for k, x in user.conversions.items()}
    for key, column in sources.items():
        meaning = meaning_of(column)
        if key not in VALUES or meaning is None:
            continue
        wanted = [meaning._replace(role=role) for role in (LIMIT, FLAG)]
        found = next((c for w in wanted for c, m in marks.items() if m == w), None)
        if found is not None:
            limits[key] = found
    return limits


def hint_of_names(names: Mapping[str, str]) -> str:
    """Which columns look like abundances, for a table in which none was found."""
    found = [c for column in names.values() if (c := _candidate(column, names))]
    found = [c for c in found if _subject(c.key) != "time"]
    if not found:
        return hint_of_elements(names, (), ELEMENTS_READ)
    first: dict[str, _Candidate] = {}
    for candidate in found:
        first.setdefault(_subject(candidate.key), candidate)
    flag = suggest([(c.key, c.text) for c in first.values()], names)
    columns = list_columns([c.column for c in found])
    verb = "looks like an abundance" if len(found) == 1 else "look like abundances"
    return f" {columns} {verb}: {flag}."
