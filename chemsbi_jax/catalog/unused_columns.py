"""Columns of a star table that have no part in the result."""

import re
from collections.abc import Iterable, Mapping

from chemsbi_jax.catalog.column_names import Choice
from chemsbi_jax.catalog.id_columns import COMPONENTS, GROUPS, OTHER_IDS, STAR_IDS
from chemsbi_jax.catalog.ids import IDS
from chemsbi_jax.catalog.not_one_galaxy import GALAXIES
from chemsbi_jax.catalog.positions import PAIRS, PARTS
from chemsbi_jax.catalog.user_columns import KEYS, list_columns


def note_unused(
    names: Mapping[str, str], choice: Choice, texts: Iterable[str]
) -> tuple[str, ...]:
    """A note about the columns that have no part in the result.

    Columns of ids, positions, groups and galaxies have one: they show which rows are
    the same star, or stars of several galaxies.

    Args:
        names: lower-case name -> name in the table.
        choice: the columns in use.
        texts: notes and warnings about the table, which name some of them already.
    """
    conversions = (c for x in choice.conversions.values() for c in x.columns)
    errors = (c for pair in choice.pairs.values() for c in pair)
    used = {c for k, c in choice.columns.items() if k in KEYS}
    used |= {*choice.limits.values(), *conversions, *errors}
    used |= {c for each in choice.errors_of.values() for c in each}
    used |= {c for lower, c in names.items() if _is_of_identity(lower)}
    said = " ".join(texts)
    rest = [
        c
        for c in names.values()
        if c not in used and c != choice.id_column
        if not re.search(rf"(?<!\w){re.escape(c)}(?!\w)", said)
    ]
    return (f"Other columns, not read: {list_columns(rest)}.",) if rest else ()


def _is_of_identity(lower: str) -> bool:
    """Whether the reader looks at the column to compare rows."""
    known = {*IDS, *STAR_IDS, *GROUPS, *COMPONENTS, *GALAXIES, *PARTS, "de-"}
    known |= {name for pair in PAIRS for name in pair}
    return lower in known or bool(OTHER_IDS.fullmatch(re.sub(r"[^a-z0-9]", "", lower)))
