"""The columns of errors that belong to columns of values."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from chemsbi_jax.catalog.meaning import (
    ERROR,
    LOWER,
    UPPER,
    VALUE,
    Meaning,
    meaning_of,
)
from chemsbi_jax.catalog.user_columns import VALUES, UserColumns, flag
from chemsbi_jax.errors import CatalogError

_AFFIXES = ("e_{}", "{}_err", "{}_error", "err_{}", "error_{}", "sigma_{}", "{}_unc",
            "{}_e", "e{}", "{}_sigma", "{}err", "{}_std")  # fmt: skip

_MIDDLE = ("50", "p50", "q50", "50th", "med", "median", "mean")
"""Words for the middle of a distribution, which names of its errors lack."""

Source = tuple[str, ...]
"""One column of errors; or the lower and the upper one; or none."""


class ErrorColumns(NamedTuple):
    """Columns of errors that are found by the names of their values."""

    columns: dict[str, str]  # our error's name -> column
    pairs: dict[str, tuple[str, str]]  # our error's name -> lower and upper column
    of_conversions: dict[str, dict[str, Source]]  # our name -> column -> its errors


def find_errors(
    file: str,
    names: Mapping[str, str],
    used: Mapping[str, str],
    user: UserColumns,
    *,
    is_strict: bool,
) -> ErrorColumns:
    """Error columns of the values in use, by the names of both.

    Args:
        file: its name, for messages.
        names: lower-case name -> name in the table.
        used: our name -> column in use, errors too.
        user: what the user named; such an error goes first.
        is_strict: look only for errors of columns that the user named.

    Raises:
        CatalogError: two columns may be the error of one value.
    """
    meanings = {column: meaning_of(column) for column in names.values()}
    found = ErrorColumns({}, {}, {})
    for key, column in used.items():
        is_mine = key in user.columns and column.lower() != key
        if key not in VALUES or f"e_{key}" in (*user.columns, *user.conversions):
            continue
        if (f"e_{key}" in used or is_strict) and not is_mine:
            continue
        source = _partner(file, column, names, meanings, key)
        if len(source) == 1:
            found.columns[f"e_{key}"] = source[0]
        elif source:
            found.pairs[f"e_{key}"] = (source[0], source[1])
    for key, conversion in user.conversions.items():
        if key.startswith("e_") or f"e_{key}" in user.conversions:
            continue
        partners = {
            column: _partner(file, column, names, meanings, key)
            for column in conversion.columns
        }
        named = user.columns.get(f"e_{key}")
        if all(partners.values()) and (named is None or (named,) in partners.values()):
            found.of_conversions[key] = partners
    return found


def _partner(
    file: str,
    column: str,
    names: Mapping[str, str],
    meanings: Mapping[str, Meaning | None],
    key: str,
) -> Source:
    """The error column of a column; or the lower and upper ones; or nothing."""
    mine = meanings[column]
    if mine is None:
        lower = column.strip().lower()
        wanted = (affix.format(lower) for affix in _AFFIXES)
        return tuple(names[name] for name in wanted if name in names)[:1]
    source = _same_name(file, column, meanings, mine, key)
    if not source and mine.qualifier in _MIDDLE:  # fe_h_mean and fe_h_std
        source = _same_name(file, column, meanings, mine._replace(qualifier=""), key)
    return source


def _same_name(
    file: str,
    column: str,
    meanings: Mapping[str, Meaning | None],
    mine: Meaning,
    key: str,
) -> Source:
    """The columns of the error of `mine`, by their names."""
    found = [c for c in meanings if _is(meanings[c], mine, ERROR)]
    if len(found) > 1:
        listed = " and ".join(repr(c) for c in found)
        raise CatalogError(
            f"{file}: columns {listed} may both be the error of {column!r}; choose "
            f"with --columns e_{key}={found[0]}."
        )
    if found:
        return (found[0],)
    low, high = (
        [c for c in meanings if _is(meanings[c], mine, role)] for role in (LOWER, UPPER)
    )
    return (low[0], high[0]) if low and high else ()


def _is(meaning: Meaning | None, value: Meaning, role: str) -> bool:
    return meaning is not None and meaning == value._replace(role=role)


def suggest(
    pairs: Iterable[tuple[str, str]], names: Mapping[str, str], file: str = ""
) -> str:
    """The flag that reads columns, with their errors where these are found.

    >>> suggest([("fe_h", "m_h")], {"m_h": "m_h", "e_m_h": "e_m_h"})
    '--columns fe_h=m_h,e_fe_h=e_m_h'
    """
    meanings = {column: meaning_of(column) for column in names.values()}
    words = []
    for key, text in pairs:
        words.append(f"{key}={text}")
        column = next((c for c in meanings if text == c), None)
        try:
            source = _partner(file, column, names, meanings, key) if column else ()
        except CatalogError:
            source = ()
        if len(source) == 1:
            words.append(f"e_{key}={source[0]}")
    return flag(",".join(words))


def further_errors(columns: Iterable[str], key: str) -> list[str]:
    """Columns that look like errors of a quantity.

    >>> further_errors(["fe_h", "e_fe_h_sys", "e_mg_fe"], "fe_h")
    ['e_fe_h_sys']
    """
    meanings = {column: meaning_of(column) for column in columns}
    wanted = (key, ERROR)
    return [c for c, m in meanings.items() if m and (m.quantity, m.role) == wanted]


def unread_errors(
    names: Mapping[str, str], used: Mapping[str, str], errors: ErrorColumns
) -> tuple[str, ...]:
    """A note of further columns of errors of the values in use, such as e_fe_h_sys.

    Args:
        names: lower-case name -> name in the table.
        used: our name -> column in use, errors too.
        errors: what `find_errors` found.
    """
    sources = [s for p in errors.of_conversions.values() for s in p.values()]
    sources += errors.pairs.values()
    taken = {*used.values(), *(column for source in sources for column in source)}
    meanings = {column: meaning_of(column) for column in names.values()}
    # the errors of columns that are not read themselves
    others = {
        m._replace(role=ERROR)
        for c, m in meanings.items()
        if m and m.role == VALUE and c not in taken
    }
    left = {
        column: key
        for key in used
        if f"e_{key}" in (*used, *errors.pairs)
        for column in further_errors(names.values(), key)
        if column not in taken and meanings[column] not in others
    }
    if not left:
        return ()
    column, key = next(iter(left.items()))
    one = used.get(f"e_{key}", errors.pairs.get(f"e_{key}", ("",))[0])
    conversion = f"e_{key}=sqrt({one}*{one}+{column}*{column})"
    return (
        f"Not read, as other columns give the errors: {', '.join(left)}. The root of "
        f"the sum of two squares is read by {flag(conversion)}.",
    )
