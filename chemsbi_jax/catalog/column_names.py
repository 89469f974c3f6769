"""Which column of a table holds what: our names, other spellings, surveys, the user."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from chemsbi_jax.catalog.surveys import SURVEYS, Survey
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError

OVER_H = {name: f"{name.split('_')[0]}_h" for name in ABUNDANCES if name != "fe_h"}
"""[X/Fe] -> [X/H]."""

VALUES = (*ABUNDANCES, *OVER_H.values(), "birth_time", "age")
ID, LOGG = "id", "logg"
KEYS = (*VALUES, *(f"e_{name}" for name in VALUES), LOGG, ID)
"""What --columns can name."""

_ERROR = re.compile(r"^(?:e|err|error|sigma)_(.+)$|^(.+)_(?:err|error|sigma|unc)$")
# "nh", "oh" and "nfe" have other meanings in star tables, so they need their _
_JOINED = {
    name.replace("_", ""): name for name in ABUNDANCES if name not in ("n_fe",)
}  # fmt: skip


class Choice(NamedTuple):
    """Columns to use."""

    columns: dict[str, str]  # lower-case or our name -> name in the table
    id_column: str | None  # None: not chosen, any of the usual names
    survey: Survey | None
    notes: tuple[str, ...]


def choose_columns(
    file: str, names: Mapping[str, str], survey: str = "auto", columns: str = ""
) -> Choice:
    """Columns of a table by the user's word, a survey's or other spellings.

    Args:
        file: its name, for messages.
        names: lower-case name -> name in the table.
        survey: "auto", "none" (our own names only), or the name of one.
        columns: of the user, "fe_h=FE_H,e_fe_h=FE_H_ERR"; they go before all others.

    Raises:
        CatalogError: no such survey or column, or two columns for one thing.
    """
    asked = parse_columns(file, names, columns)
    preset, notes = _find_survey(file, names, survey)
    if preset is not None:
        found, hidden = _of_survey(preset, names)
    elif survey == "auto":
        found, hidden = _other_spellings(file, names, asked), ()
    else:
        found, hidden = {}, tuple(OVER_H.values())
    chosen = {key: column for key, column in names.items() if key not in hidden}
    chosen |= found
    for fe, h in OVER_H.items():  # one of the two, and its errors with it
        for mine, other in ((fe, h), (h, fe)):
            if mine in asked and other not in asked:
                chosen.pop(other, None)
    renamed = found | asked
    return Choice(chosen | asked, renamed.get(ID), preset, (*notes, *_tell(renamed)))


def parse_columns(file: str, names: Mapping[str, str], text: str) -> dict[str, str]:
    """Our name -> name in the table, from "fe_h=FE_H,mg_h=MG_H"; case does not matter.

    Raises:
        CatalogError: a part is no pair, its name is not ours, or no such column.
    """
    asked = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, column = (word.strip() for word in part.partition("="))
        if not equals or not column or key.lower() not in KEYS:
            raise CatalogError(
                f"Expected --columns like fe_h=FE_H,e_fe_h=FE_H_ERR with names of "
                f"{', '.join(KEYS)}; got {part!r}."
            )
        if column.lower() not in names:
            raise CatalogError(
                f"{file}: no column {column!r} of --columns {part}; the table has "
                f"{', '.join(names.values())}."
            )
        asked[key.lower()] = names[column.lower()]
    return asked


def _tell(renamed: Mapping[str, str]) -> list[str]:
    pairs = [f"{k}={c}" for k, c in renamed.items() if k in KEYS and k != c.lower()]
    return [f"Columns read by another name: {', '.join(pairs)}."] if pairs else []


def _find_survey(
    file: str, names: Mapping[str, str], survey: str
) -> tuple[Survey | None, list[str]]:
    known = {preset.name for preset in SURVEYS}
    if survey not in ("auto", "none", *known):
        raise CatalogError(
            f"Expected a survey of auto, none, {', '.join(sorted(known))}; got "
            f"{survey!r}."
        )
    if survey == "none":
        return None, []
    fits = [s for s in SURVEYS if all(mark in names for mark in s.marks)]
    if survey == "auto":
        found = sorted({preset.name for preset in fits})
        if len(found) > 1:
            return None, [
                f"The columns look like {' and '.join(found)}, so no survey's rules "
                "were used; choose with --survey."
            ]
        if not found:
            return None, []
        survey = found[0]
    mine = [preset for preset in SURVEYS if preset.name == survey]
    if not any(preset in fits for preset in mine):
        raise CatalogError(
            f"{file}: expected the columns {', '.join(mine[0].marks)} of {survey}; got "
            f"{', '.join(names.values())}. Use --survey none, and --columns."
        )
    released = [s for s in mine if any(mark in names for mark in s.releases)]
    preset = (released or mine)[0]
    untold = (
        "; its columns do not tell the release" if mine[1:] and not released else ""
    )
    return preset, [f"Read by the rules of {preset.title}{untold}."]


def _of_survey(
    survey: Survey, names: Mapping[str, str]
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Columns by our names, and those of our names that mean something else."""
    found = {}
    for name in (*ABUNDANCES, *OVER_H.values()):
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
    file: str, names: Mapping[str, str], asked: Mapping[str, str]
) -> dict[str, str]:
    found: dict[str, str] = {}
    for lower, original in names.items():
        key = our_name(lower)
        if key is None or key in names or key in asked:
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
    text = re.sub(r"[\[\]()]", "_", column.strip().lower())  # VizieR writes __Mg_Fe_
    text = re.sub(r"[_/ ]+", "_", text).strip("_")
    error = _ERROR.match(text)
    body = next(filter(None, error.groups())) if error else text
    body = _JOINED.get(body, "logg" if body in ("log_g", "logg") else body)
    key = f"e_{body}" if error else body
    return key if key in KEYS and key != ID else None
