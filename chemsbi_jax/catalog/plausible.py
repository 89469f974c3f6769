"""Numbers of a column that contradict its name are refused."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.columns import StarTable
from chemsbi_jax.catalog.error_words import PERCENT
from chemsbi_jax.catalog.meaning import ABSOLUTE, meaning_of
from chemsbi_jax.catalog.nulls import is_absolute_null, is_apart, is_nines, is_repeated
from chemsbi_jax.catalog.user_columns import SUN, flag, label
from chemsbi_jax.catalog.zero_point import doubt_zero_point
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.errors import CatalogError, raise_for_rows

Numbers = Float[np.ndarray, " star"]

OVER_H_RANGE = (-8.9, 2.0)  # dex, the range of observed stars
OVER_FE_RANGE = (-4.0, 5.5)
ABSOLUTE_FROM = 3.0  # dex; no median [X/H] is above, and A(X) of these elements is
ENOUGH = 5  # numbers that make a distribution
MANY = 10  # for a mere doubt
MOST_ERROR = 1.0  # dex, of a median error
LEAST_ERROR = 0.01
APART = 0.5  # dex from the next value, of a repeated value that may mean "missing"
NULL_APART = 1.5  # dex, of one that does
REPEATED = 0.2  # share of one exact value among numbers that else differ
RICH = 0.6  # dex; few stars have a higher [Fe/H]


class Checked(NamedTuple):
    """Values of one column, without those that mean "missing"."""

    values: Numbers
    counts: dict[str, int]  # what was done -> to how many values
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


NULLS = "Values such as 9.99 that stand for 'missing', taken as not observed"
FAR = "One value in three rows or more, far from all others, taken as not observed"
BEYOND = "Values that no star has, taken as not observed"


def check_abundance(source: StarTable, key: str, values: Numbers) -> Checked:
    """Values of [X/Fe], [Fe/H] or [X/H] [dex], if they can be that.

    The solar value (Asplund+2009) is subtracted from a column with the name of A(X).

    Raises:
        CatalogError: the values are absolute abundances, numbers of lines, or no star
            has one of them.
    """
    original = source.columns[key]
    known = values[np.isfinite(values)]
    _refuse_counts(source, key, known)
    values, n_absent, notes = _subtract_sun(source, key, values)
    low, high = OVER_H_RANGE if key.endswith("_h") else OVER_FE_RANGE
    outside = np.isfinite(values) & ((values < low) | (values > high))
    nulls = is_nines(values, outside) | is_repeated(values, outside)
    # [X/H] of metal-poor stars may be far from the others
    apart = is_apart(values, NULL_APART) & ~nulls & (not key.endswith("_h"))
    counts = {NULLS: int(nulls.sum()) + n_absent, FAR: int(apart.sum())}
    beyond = outside & ~nulls & ~apart
    if source.is_own(original):
        counts[BEYOND] = int(beyond.sum())
    else:
        is_linear = len(known) >= ENOUGH and key.endswith("_h") and known.min() > 0.0
        remedy = flag(f"{key}=log10({original})" if is_linear else f"{key}=...")
        raise_for_rows(
            source.name, source.ids, beyond, original,
            f"{values[np.argmax(beyond)]:g} dex is no {label(key)}, which lies between "
            f"{low:g} and {high:g}; correct it, convert the column with {remedy}, or "
            "leave the cell empty if it is missing.",
        )  # fmt: skip
    values = np.where(outside | apart, np.nan, values)
    doubts = () if source.is_own(original) else _doubts(key, original, values)
    return Checked(values, counts, notes, doubts)


def _subtract_sun(
    source: StarTable, key: str, values: Numbers
) -> tuple[Numbers, int, tuple[str, ...]]:
    """[X/H] of a column with the name of A(X); how many are 9.99; and a note."""
    original, element = source.columns[key], key.split("_")[0]
    known = values[np.isfinite(values)]
    is_high = len(known) > 0 and float(np.median(known)) > ABSOLUTE_FROM
    if not is_high or not key.endswith("_h"):
        return values, 0, ()
    meaning = meaning_of(original)
    if meaning is None or meaning.quantity != f"{ABSOLUTE}_{element}":
        raise CatalogError(
            f"{source.name}, column {original!r}: the median is "
            f"{np.median(known):.2f}, so it is no {label(key)} but looks like "
            f"{label(f'a_{element}')}. Subtract the Sun: "
            f"{flag(f'{key}={original}-{SUN[element]:.2f}')}."
        )
    absent = is_absolute_null(values)
    note = f"{label(key)} is {original} - {SUN[element]:.2f} (Sun of Asplund+2009)."
    values = np.where(absent, np.nan, values - SUN[element])
    return values, int(absent.sum()), (note,)


def _doubts(key: str, original: str, values: Numbers) -> tuple[str, ...]:
    kinds = (_doubt_repeats, _doubt_iron, doubt_zero_point)
    return tuple(text for doubt in kinds for text in doubt(key, original, values))


def _refuse_counts(source: StarTable, key: str, known: np.ndarray) -> None:
    whole = len(known) >= ENOUGH and (known == np.round(known)).all()
    if whole and (known >= 0).all() and len(np.unique(known)) > 1:
        original = source.columns[key]
        name = key if key in ALL_ABUNDANCES else key.replace("_h", "_fe")
        raise CatalogError(
            f"{source.name}, column {original!r}: all values are whole numbers up to "
            f"{known.max():g}, as numbers of lines are, and not {label(key)}. "
            f"Name another column with --columns {key}=..., or leave the abundance out "
            f"with --without {name}."
        )


def _doubt_iron(key: str, original: str, values: Numbers) -> tuple[str, ...]:
    """[Fe/H] that is a mass fraction or a number ratio, not its logarithm."""
    known = values[np.isfinite(values)]
    if key != "fe_h" or len(known) < MANY or known.min() <= 0.0:
        return ()
    if 0.1 <= known.max() and np.quantile(known, 0.9) <= RICH:
        return ()
    ratio = f"fe_h=log10({original}" + ("/0.0142)" if known.max() < 0.1 else ")")
    return (
        f"All values of {original} lie between {known.min():.3g} and "
        f"{known.max():.3g}: read as [Fe/H] in dex. If they are no logarithms, but "
        f"mass fractions or ratios to the Sun: {flag(ratio)}.",
    )


def _doubt_repeats(key: str, original: str, values: Numbers) -> tuple[str, ...]:
    """One value in many rows, where the others hardly come twice."""
    known = values[np.isfinite(values)]
    if len(known) < MANY:
        return ()
    most = often(known)
    apart = values[is_apart(values, APART)]
    if most is None and not len(apart):
        return ()
    value, top = most or (apart[0], int((values == apart[0]).sum()))
    return (
        f"{original} is {value:g} in {top} of {len(known)} rows: if it stands for "
        f"'missing' there, empty these cells, or leave {label(key)} out.",
    )


def often(known: np.ndarray) -> tuple[float, int] | None:
    """A value in a fifth of the rows, where no other comes nearly as often."""
    if len(known) < MANY:
        return None
    unique, counts = np.unique(known, return_counts=True)
    order = np.argsort(-counts)
    top, second = counts[order[0]], counts[order[1]] if len(counts) > 1 else 0
    if len(counts) < 4 or top < REPEATED * len(known) or top < 4 * second:
        return None
    return float(unique[order[0]]), int(top)


def check_errors(source: StarTable, key: str, errors: Numbers) -> tuple[str, ...]:
    """Warnings about errors [dex] of a value.

    Raises:
        CatalogError: they look like percent.
    """
    original = source.columns[f"e_{key}"]
    known = errors[np.isfinite(errors) & (errors > 0)]
    if len(known) < ENOUGH or source.is_own(original):
        return ()
    middle = float(np.median(known))
    if middle > MOST_ERROR:
        raise CatalogError(
            f"{source.name}, column {original!r}: the median error is {middle:.3g} "
            "dex, too large to constrain the model; it looks like percent, or like "
            "another quantity. For percent of a number ratio: "
            f"{flag(f'e_{key}={original}*{PERCENT:.5f}')}."
        )
    if middle >= LEAST_ERROR:
        return ()
    return (
        f"The median of {original} is {middle:.2g} dex: very small for an error of an "
        f"abundance. If these are variances: {flag(f'e_{key}=sqrt({original})')}.",
    )


def check_slopes(
    names: dict[str, str],
    values: Float[np.ndarray, "star element"],
    abundances: tuple[str, ...],
) -> tuple[str, ...]:
    """Warnings of [X/Fe] that rises with [Fe/H] as only [X/H] does, or the reverse.

    Args:
        names: abundance -> our key that it was read from.
        values: [Fe/H] and [X/Fe] [dex].
        abundances: names of the columns of `values`.
    """
    iron = values[:, abundances.index("fe_h")]
    warnings = []
    for name in ("mg_fe", "o_fe", "si_fe", "ne_fe"):
        if name not in names:
            continue
        ratio = values[:, abundances.index(name)]
        known = np.isfinite(iron) & np.isfinite(ratio)
        if known.sum() < MANY or np.std(iron[known]) < 0.15:
            continue
        x, y = iron[known] - iron[known].mean(), ratio[known] - ratio[known].mean()
        slope = float(x @ y / (x @ x))
        spread = float(np.sqrt(x @ x * (y @ y)))
        strength = float(x @ y) / spread if spread > 0.0 else 0.0
        other = name.replace("_fe", "_h")
        if slope > 0.5 and strength > 0.7 and names[name] == name:
            warnings.append(
                f"{label(name)} rises with [Fe/H] (slope {slope:.2f}), as "
                f"{label(other)} does: if the column holds that, rename it to {other}"
            )
        if slope < -0.9 and strength < -0.7 and names[name] == other:
            warnings.append(
                f"{label(name)} made from {label(other)} falls with slope {slope:.2f}: "
                f"if the column holds {label(name)}, rename it to {name}"
            )
    return tuple(warnings)
