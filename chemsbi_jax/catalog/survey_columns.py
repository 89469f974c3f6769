"""Which columns of a survey's table its rules name, and which stand beside them."""

import re
from collections.abc import Collection, Mapping

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.columns import StarTable
from chemsbi_jax.catalog.meaning import FLAG, LIMIT, is_flag, meaning_of
from chemsbi_jax.catalog.surveys import Survey
from chemsbi_jax.catalog.user_columns import OVER_H, list_columns
from chemsbi_jax.constants import ALL_ABUNDANCES


def own_columns(survey: Survey | None, names: Mapping[str, str]) -> frozenset[str]:
    """Columns of a table that its survey's rules name.

    Args:
        survey: whose table it is; None: of no survey.
        names: lower-case name -> name in the table.
    """
    if survey is None:
        return frozenset()
    own = {*survey.marks, *survey.identifying, *survey.releases}
    own |= {cut.column for cut in survey.cuts}
    own |= {name for listed in survey.columns.values() for name in listed}
    for name in (*ALL_ABUNDANCES, *OVER_H.values()):
        own |= {name, survey.error.format(name), survey.flag.format(name)}
    return frozenset(column for lower, column in names.items() if lower in own)


def marks_beside(
    survey: Survey | None, names: Mapping[str, str], used: Collection[str]
) -> frozenset[str]:
    """Columns of limits and flags of the values in use that the survey does not have.

    Args:
        survey: whose table it is; None: of no survey.
        names: lower-case name -> name in the table.
        used: our names of the columns in use.
    """
    if survey is None:
        return frozenset()
    own = own_columns(survey, names)
    pattern = _flags_of(survey)
    return frozenset(
        column
        for lower, column in names.items()
        if column not in own
        and not pattern.fullmatch(lower)
        and (meaning := meaning_of(column))
        and meaning.role in (LIMIT, FLAG)
        and meaning.quantity in used
    )


def note_other_flags(
    survey: Survey,
    source: StarTable,
    names: Mapping[str, str],
    listed: Collection[str],
) -> tuple[str, ...]:
    """A note of the flags of a table that the survey's rules do not use.

    Args:
        survey: whose table it is.
        source: the table; the survey's own vectors of flags are left out.
        names: lower-case name -> name in the table.
        listed: columns that other sentences name.
    """
    rules = {cut.column for cut in survey.cuts}
    pattern = _flags_of(survey)
    rest = [
        column
        for lower, column in names.items()
        if lower not in rules
        and column not in listed
        and not pattern.fullmatch(lower)
        and not lower.startswith("snr")
        and is_flag(column)
        and column_of(source.table, column).ndim == 1
    ]
    text = f"Flags that the rules of {survey.title} do not use: {list_columns(rest)}."
    return (text,) if rest else ()


def _flags_of(survey: Survey) -> re.Pattern[str]:
    """The names of a survey's flags of values, of all elements."""
    start, end = survey.flag.split("{}")
    # those of values alone: FE_H_FLAG and CI_FE_FLAG, and no STARFLAG
    return re.compile(rf"{re.escape(start)}\w+_(fe|h|m){re.escape(end)}")
