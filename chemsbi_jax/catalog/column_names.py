"""Which column of a table holds what: our names, other spellings, surveys, the user."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from chemsbi_jax.catalog.error_columns import Source, find_errors, unread_errors
from chemsbi_jax.catalog.expressions import Expression
from chemsbi_jax.catalog.lookalikes import find_similar
from chemsbi_jax.catalog.meaning import VALUE, is_further, meaning_of
from chemsbi_jax.catalog.survey_columns import marks_beside, own_columns
from chemsbi_jax.catalog.surveys import SURVEYS, Survey
from chemsbi_jax.catalog.user_columns import (
    ID,
    KEYS,
    LOGG,
    OVER_H,
    VALUES,
    UserColumns,
    parse_columns,
)
from chemsbi_jax.constants import ABUNDANCES, ALL_ABUNDANCES
from chemsbi_jax.errors import CatalogError

__all__ = ["ID", "KEYS", "LOGG", "OVER_H", "VALUES", "Choice", "choose_columns"]

_ERROR = re.compile(r"^(?:e|err|error|sigma)_(.+)$|^(.+)_(?:err|error|sigma|unc)$")
# "nh", "oh", "nfe" and "sfe" have other meanings in star tables, so they need their _
_JOINED = {
    name.replace("_", ""): name
    for name in ALL_ABUNDANCES
    if name not in ("n_fe", "s_fe")
}  # fmt: skip
_COUNTS = re.compile(r"^n ?\(\w+\)$", re.IGNORECASE)  # N(Fe): lines, not [N/Fe]


class Choice(NamedTuple):
    """Columns to use."""

    columns: dict[str, str]  # lower-case or our name -> name in the table
    id_column: str | None  # None: not chosen, any of the usual names
    survey: Survey | None
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    conversions: dict[str, Expression]  # our name -> conversion of columns
    pairs: dict[str, tuple[str, str]]  # our error's name -> lower and upper column
    errors_of: dict[str, dict[str, Source]]  # our name -> converted column -> errors
    limits: dict[str, str]  # our name -> column that marks limits
    own: frozenset[str] = frozenset()  # columns of the survey's rules
    beside: frozenset[str] = frozenset()  # limits and flags that are not the survey's


def choose_columns(
    file: str,
    names: Mapping[str, str],
    survey: str = "auto",
    columns: str = "",
    without: Collection[str] = (),
    abundances: Sequence[str] = ABUNDANCES,
) -> Choice:
    """Columns of a table: those of the user, then of the survey, then other spellings.

    Args:
        file: its name, for messages.
        names: lower-case name -> name in the table.
        survey: "auto", "none" (our own names only), or the name of one.
        columns: of the user, "fe_h=FE_H,e_fe_h=FE_H_ERR"; they go before all others.
        without: abundances that are left out; there is no warning if they have no
            column.
        abundances: those of the model; columns of other elements are not read.

    Raises:
        CatalogError: no such survey or column, or two columns for one thing.
    """
    user = parse_columns(file, names, columns, abundances)
    names, not_read = split_columns(names, user, abundances)
    preset, notes = find_survey(file, names, survey)
    found, hidden = _of_survey(preset, names)
    if preset is None and survey == "auto":
        found, hidden = _other_spellings(file, names, user), ()
    shown = {key: column for key, column in names.items() if key not in hidden}
    chosen = _prefer(shown | found, user)
    used = {k: c for k, c in chosen.items() if k in KEYS}
    errors = find_errors(file, names, used, user, is_strict=survey == "none")
    chosen |= errors.columns
    _drop_errors(errors.of_conversions, chosen, found)
    rules, used = preset.name if preset else survey, used | errors.columns
    own = own_columns(preset, names)
    rest = find_similar(file, names, used, user, rules, without, abundances, own)
    renamed = found | user.columns | errors.columns
    notes += _describe(renamed, user.conversions)
    more = unread_errors(names, used, errors) if rules == "auto" else ()
    return Choice(
        chosen,
        renamed.get(ID),
        preset,
        (*notes, *user.notes, *rest.notes, *more, *not_read),
        rest.warnings,
        user.conversions,
        errors.pairs,
        errors.of_conversions,
        rest.limits,
        own,
        marks_beside(preset, names, used),
    )


def split_columns(
    names: Mapping[str, str], user: UserColumns, abundances: Sequence[str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """The columns without those of elements that the model lacks; and a note of these.

    Columns that the user names stay.
    """
    conversions = (c for x in user.conversions.values() for c in x.columns)
    kept, others = {*user.columns.values(), *conversions}, []
    shown = {}
    for lower, column in names.items():
        if column in kept or not is_further(column, abundances):
            shown[lower] = column
            continue
        meaning = meaning_of(column)
        if meaning is not None and meaning.role == VALUE:
            others.append(column)
    if not others:
        return shown, ()
    return shown, (
        f"Not read, as the model has no such element: {', '.join(others)}. The flag "
        "--yields with a set that has these elements reads them (such as "
        "nkt13+k10+w7).",
    )


def _prefer(chosen: dict[str, str], user: UserColumns) -> dict[str, str]:
    """Columns of the user before all others; of [X/Fe] and [X/H] only the one named.

    The same holds for age and birth time.
    """
    asked = {*user.columns, *user.conversions}
    out = set(user.conversions)
    for fe, h in (*OVER_H.items(), ("age", "birth_time")):
        for mine, other in ((fe, h), (h, fe)):
            if mine in asked and other not in asked:
                out.add(other)
    return {k: c for k, c in chosen.items() if k not in out} | user.columns


def _describe(
    renamed: Mapping[str, str], conversions: Mapping[str, Expression]
) -> list[str]:
    pairs = [f"{k}={c}" for k, c in renamed.items() if k in KEYS and k != c.lower()]
    pairs += [f"{key}={conversion.text}" for key, conversion in conversions.items()]
    return [f"Columns read by another name: {', '.join(pairs)}."] if pairs else []


def find_survey(
    file: str, names: Mapping[str, str], survey: str
) -> tuple[Survey | None, list[str]]:
    """The survey of a table by its columns, or the one that was named; and notes.

    A survey that the user names is taken if the table has any abundance in its
    spelling: a subset may have lost flags and ids.
    """
    known = {preset.name for preset in SURVEYS}
    if survey not in ("auto", "none", *known):
        raise CatalogError(
            f"Expected a survey of auto, none, {', '.join(sorted(known))}; got "
            f"{survey!r}."
        )
    if survey == "none":
        return None, []
    if survey == "auto":
        fits = [s for s in SURVEYS if _has_marks(s, names)]
        found = sorted({preset.name for preset in fits})
        if len(found) > 1:
            return None, [
                f"The columns look like {' and '.join(found)}, so no survey's rules "
                "were used; choose with --survey."
            ]
        if not found:
            return None, _hint_of_survey(names)
        survey = found[0]
    mine = [preset for preset in SURVEYS if preset.name == survey]
    fitting = [preset for preset in mine if _n_values(preset, names)]
    others = {s.name for s in SURVEYS if _has_marks(s, names)} - {survey}
    is_other = others and not any(_has_marks(preset, names) for preset in mine)
    if not fitting or is_other:
        raise CatalogError(
            f"{file}: expected the columns of {survey}, such as "
            f"{', '.join(mine[0].marks)}; got {', '.join(names.values())}. Use "
            "--survey none, and --columns."
        )
    most = max(_n_values(preset, names) for preset in fitting)
    fitting = [s for s in fitting if _n_values(s, names) == most]
    released = [s for s in fitting if any(mark in names for mark in s.releases)]
    preset = (released or fitting)[0]
    is_open = len({s.title for s in fitting}) > 1 and not released
    untold = "; its columns do not show the release" if is_open else ""
    return preset, [f"Read by the rules of {preset.title}{untold}."]


def _hint_of_survey(names: Mapping[str, str]) -> list[str]:
    """A note where a table has a survey's ids, but lacks its other columns."""
    like = {s.name: names[s.marks[0]] for s in SURVEYS if s.marks[0] in names}
    return [
        f"The column {column} is one of {name}, but its flags are absent, so its rules "
        f"were not used; --survey {name} uses them."
        for name, column in like.items()
    ]


def _has_marks(survey: Survey, names: Mapping[str, str]) -> bool:
    """Whether a table is the survey's: all marks, and one of the flags."""
    flags = (*(survey.flag.format(name) for name in VALUES), *survey.identifying)
    return all(mark in names for mark in survey.marks) and any(
        flag in names for flag in flags
    )


def _n_values(survey: Survey, names: Mapping[str, str]) -> int:
    """How many columns of abundances a table has in a survey's spelling."""
    own = ABUNDANCES if survey.over == "fe" else ("fe_h", *OVER_H.values())
    return sum(name in names for name in own)


def _drop_errors(keys: Iterable[str], *columns: dict[str, str]) -> None:
    """Remove columns of errors, in place, where errors are propagated instead."""
    for key in keys:
        for each in columns:
            each.pop(f"e_{key}", None)


def _of_survey(
    survey: Survey | None, names: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Columns by our names, and those of our names that mean something else."""
    if survey is None:  # our own names, and [X/Fe] alone
        return {}, tuple(OVER_H.values())
    found = {}
    for name in (*ALL_ABUNDANCES, *OVER_H.values()):
        error = survey.error.format(name)
        if name in names and error in names:
            found[f"e_{name}"] = names[error]
    for key, candidates in survey.columns.items():
        column = next((c for c in candidates if c in names), None)
        if column is not None:
            found[key] = names[column]
    unused = tuple(OVER_H if survey.over == "h" else OVER_H.values())
    return found, (*survey.hidden, *unused)


def _other_spellings(
    file: str, names: Mapping[str, str], user: UserColumns
) -> dict[str, str]:
    found: dict[str, str] = {}
    chosen = {*user.columns, *user.conversions}
    for lower, original in names.items():
        key = our_name(lower)
        if key is None or key in names or key in chosen:
            continue
        if key in found:
            raise CatalogError(
                f"{file}: columns {found[key]!r} and {original!r} may both be {key}; "
                f"choose with --columns {key}={original}."
            )
        found[key] = original
    return found


def our_name(column: str) -> str | None:
    """Our name of a column like "[Mg/Fe]", "MGFE", "mg_fe_err"; None if it is no such.

    >>> our_name("e_[Mg/Fe]")
    'e_mg_fe'
    """
    if _COUNTS.match(column.strip()):
        return None
    text = re.sub(r"[\[\]()]", "_", column.strip().lower())  # VizieR writes __Mg_Fe_
    text = re.sub(r"[_/ ]+", "_", text).strip("_")
    error = _ERROR.match(text)
    body = next(filter(None, error.groups())) if error else text
    body = _JOINED.get(body, "logg" if body in ("log_g", "logg") else body)
    key = f"e_{body}" if error else body
    return key if key in KEYS and key != ID else None
