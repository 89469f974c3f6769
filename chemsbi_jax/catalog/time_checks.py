"""Ages and birth times that contradict their names or units are refused."""

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.columns import StarTable
from chemsbi_jax.catalog.meaning import meaning_of
from chemsbi_jax.catalog.plausible import ENOUGH, MANY, Numbers, often
from chemsbi_jax.catalog.time_names import ln_age
from chemsbi_jax.catalog.user_columns import flag, label
from chemsbi_jax.constants import T_END
from chemsbi_jax.errors import CatalogError, counted

LOG_YEARS = (7.5, 10.3)
FEW = 3  # rows
FAR = 2.0  # sigma outside of the range


def check_times(
    source: StarTable, key: str, times: Numbers, sigma: Numbers
) -> tuple[str, ...]:
    """Warnings about ages or birth times [Gyr] and their errors.

    Raises:
        CatalogError: they are logarithms or scale factors by name or by size.
    """
    original = source.columns[key]
    known = times[np.isfinite(times)]
    meaning = meaning_of(original)
    quantity = meaning.quantity if meaning else ""
    if len(known) == 0 or source.is_own(original) or key in source.made:
        return ()
    if quantity == "scale_factor" or (
        key == "birth_time" and len(known) >= ENOUGH and known.max() <= 1.0
    ):
        raise CatalogError(
            f"{source.name}, column {original!r}: the largest value is "
            f"{known.max():.3g}; it looks like a scale factor, and not like "
            f"{label(key)} in Gyr. Convert it with "
            f"{flag(f'birth_time=cosmic_time({original})')}."
        )
    if quantity == "ln_age":
        raise CatalogError(
            f"{source.name}, column {original!r}: by its name it is the natural "
            f"logarithm of an age. Convert it with {flag(ln_age(original))}."
        )
    if quantity == "log_age":
        raise CatalogError(
            f"{source.name}, column {original!r}: by its name it is log10 of an age. "
            f"Convert it with {flag(f'age=10**{original}')}."
        )
    return _doubt_times(key, original, known, sigma[np.isfinite(sigma)])


def _zeros(known: Float[np.ndarray, " known"]) -> tuple[float, int] | None:
    """Exact zeros in three rows or more: no star has just been born."""
    n = int((known == 0.0).sum())
    return (0.0, n) if n >= FEW else None


def _doubt_times(
    key: str,
    original: str,
    known: Float[np.ndarray, " known"],
    errors: Float[np.ndarray, " dated"],
) -> tuple[str, ...]:
    """Warnings of times [Gyr] that may be missing, logarithms or in another unit."""
    warnings = []
    repeated = often(known) or _zeros(known)
    if repeated is not None:
        value, n = repeated
        warnings.append(
            f"{original} is {value:g} in {n} of {len(known)} rows: if it stands for "
            "'missing' there, or is the edge of a grid of ages, empty these cells."
        )
    low, high = LOG_YEARS
    if len(known) >= MANY and known.min() >= low and known.max() <= high:
        warnings.append(
            f"All values of {original} lie between {known.min():.2f} and "
            f"{known.max():.2f}: read as Gyr. If they are log10 of years: "
            f"{flag(f'age=10**{original}')}."
        )
    elif key == "age" and len(known) >= MANY and known.max() <= 1.2:
        warnings.append(
            f"All ages in {original} are below {known.max():.2f} Gyr. If they are "
            f"log10 of Gyr: {flag(f'age=10**{original}')}; if fractions of the age of "
            f"the Universe: {flag(f'age={original}*13.8')}."
        )
    if len(errors) >= ENOUGH and not 0.02 <= np.median(errors) <= 8.0:
        warnings.append(
            f"The median error of {original} is {np.median(errors):.3g} Gyr: check its "
            "unit."
        )
    return tuple(warnings)


def beyond_range(
    source: StarTable, key: str, times: Numbers, sigma: Numbers
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """A note, or a warning, of times outside of the range in which a star can be born.

    An age of 14.5 ± 1 Gyr is an ordinary measurement, and one of 18 ± 1 Gyr is not.
    """
    beyond = np.maximum(-times, times - T_END)  # Gyr
    outside = np.isfinite(sigma) & (beyond > 0.0)
    if not outside.any():
        return (), ()
    relative = np.where(outside, beyond, 0.0) / np.where(outside, sigma, 1.0)
    row = int(np.argmax(relative))
    text = (
        f"{source.columns[key]}: {counted(int(outside.sum()), 'value')} outside of 0 "
        f"to {T_END:.1f} Gyr, used with the error (the farthest: row {row + 1}, id "
        f"{str(source.ids[row])!r}, {times[row]:.2f} ± {sigma[row]:.2f} Gyr)."
    )
    if relative[row] <= FAR:
        return (text,), ()
    return (), (f"{text} Empty the cells that are wrong.",)
