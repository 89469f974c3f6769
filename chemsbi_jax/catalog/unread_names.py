"""Columns of abundances that no flag reads as they are, or of doubtful names."""

from collections.abc import Collection, Mapping

from chemsbi_jax.catalog.error_columns import suggest
from chemsbi_jax.catalog.meaning import (
    ELEMENTS_READ,
    VALUE,
    element_of,
    joined_ambiguous,
    meaning_of,
    other_ratio,
)
from chemsbi_jax.catalog.user_columns import flag, list_columns

ENGLISH = {
    "helium": "he", "carbon": "c", "nitrogen": "n", "oxygen": "o", "neon": "ne",
    "sodium": "na", "magnesium": "mg", "aluminium": "al", "aluminum": "al",
    "silicon": "si", "sulfur": "s", "sulphur": "s", "calcium": "ca", "titanium": "ti",
    "manganese": "mn", "iron": "fe", "nickel": "ni",
}  # fmt: skip
"""Whole name of an element -> symbol, in lower case."""


def warn_of_others(
    names: Mapping[str, str],
    taken: Collection[str],
    read: Collection[str],
    abundances: Collection[str],
) -> list[str]:
    """Columns of abundances that no flag reads as they are, or of doubtful names."""
    warnings = []
    alpha = [
        c
        for c in names.values()
        if (m := meaning_of(c))
        and m.role == VALUE
        and m.quantity in ("alpha_fe", "alpha_m")
    ]
    if alpha:
        warnings.append(
            f"Not read: {list_columns(alpha)}. [alpha/Fe] is not one of the abundances "
            f"of the model ({', '.join(abundances)})."
        )
    joined = joined_ambiguous([*names.values()])
    joined = {c: k for c, k in joined.items() if element_of(k) not in read}
    if joined:
        reads = suggest([(key, c) for c, key in joined.items()], names)
        warnings.append(
            "Not read, as the names mean other things as well: "
            f"{list_columns([*joined])}. If they are abundances: {reads}."
        )
    bare = _bare_elements(names)
    elements = [name.split("_")[0] for name in abundances]
    if text := hint_of_elements(names, {*read, *taken}, elements):
        warnings.append(f"Not read:{text}")
    ratios = {c: r for c in names.values() if c not in taken and (r := other_ratio(c))}
    # beside a column Mg, Mg_N is a number of lines
    ratios = {c: r for c, r in ratios.items() if r[1] != "n" or r[0] not in bare}
    if ratios:
        warnings.append(_warn_of_ratios(ratios))
    return warnings


def _warn_of_ratios(ratios: Mapping[str, tuple[str, str]]) -> str:
    """Ratios of two elements of which none is H or below Fe, and a conversion."""
    column, (over, under) = next(iter(ratios.items()))
    if over == "fe":
        conversion = f"{under}_fe=0-{column}"
    else:
        conversion = f"{over}_fe={column}+{under}_fe"
    return (
        f"Not read: {list_columns(list(ratios))}. The abundances of the model are "
        f"relative to Fe or H; convert the column with {flag(conversion)}."
    )


def _bare_elements(names: Mapping[str, str]) -> dict[str, str]:
    """Symbol -> column, where columns are called Mg, Si, O or Magnesium.

    C, N, O and S alone have other meanings: they count beside a symbol of two letters
    or a whole name.
    """
    found = {k: c for k, c in names.items() if k in ELEMENTS_READ}
    whole = {ENGLISH[k]: c for k, c in names.items() if ENGLISH.get(k) in ELEMENTS_READ}
    is_clear = whole or any(len(symbol) == 2 for symbol in found)
    return whole | found if is_clear else {}


def hint_of_elements(
    names: Mapping[str, str], taken: Collection[str], elements: Collection[str]
) -> str:
    """Sentence about columns that are called by an element alone: Mg, Magnesium.

    Args:
        names: lower-case name -> name in the table.
        taken: elements that other columns give, and columns in use.
        elements: those of the model.
    """
    bare = {
        symbol: column
        for symbol, column in _bare_elements(names).items()
        if symbol in elements and not {symbol, column} & {*taken}
    }
    if not bare:
        return ""
    over_h = suggest([(f"{x}_h", c) for x, c in bare.items()], names)
    over_fe = [(f"{x}_h" if x == "fe" else f"{x}_fe", c) for x, c in bare.items()]
    other = "" if set(bare) == {"fe"} else f", for [X/Fe] {suggest(over_fe, names)}"
    return (
        f" {list_columns([*bare.values()])} may be [X/H], [X/Fe] or A(X), and the name "
        f"does not say which. For [X/H] give {over_h}{other}."
    )
