"""Check of `Stars` at the border of the package, once for all methods."""

import warnings
from typing import Any

import jax
import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax.constants import PARAMETERS, T_END
from chemsbi_jax.errors import InputError, raise_for_rows
from chemsbi_jax.types import AbundanceNames, Forward, Stars

MAX_ABUNDANCE = 20.0  # dex; no star has more, so larger numbers stand for "missing"
MISSING_MARKS = (9.99, 9.999, 9.9999)  # dex, and their negatives
MAX_BIRTH_SIGMA = 5.0  # standard deviations beyond the range of birth times
UNOBSERVED = (
    "For a missing abundance set `observed` to False and the value to NaN in this cell."
)


def check_stars(stars: Stars, name: str = "stars") -> Stars:
    """Stars with checked content and fixed data types, the same for every method.

    Lists, masked arrays, JAX arrays and all real data types are accepted. Values and
    errors where `observed` is False become NaN. Birth times without an error are set to
    NaN with a warning, as no method can use them.

    Args:
        stars: as the caller has them. Fields that `Stars` may gain stay as they are.
        name: name of the table, for messages.

    Returns:
        The stars as numpy arrays: numbers are float64, `observed` is Boolean, and `ids`
        are strings. A second check changes nothing.

    Raises:
        InputError: a field has another shape or type than `Stars` describes, or there
            are no stars.
        CatalogError: a number can't be used; names row, id, column and remedy.
    """
    values = _numbers(name, "values", stars.values)
    columns = AbundanceNames(stars.abundances)
    if len(set(columns)) != len(columns):
        raise InputError(
            f"{name}: expected each abundance once; got {', '.join(columns)}."
        )
    if values.ndim != 2 or values.shape[1] != len(columns):
        raise InputError(
            f"{name}: expected values of shape (star, {len(columns)}) with the columns "
            f"of `abundances` ({', '.join(columns)}); got shape {values.shape}."
        )
    if len(values) == 0:
        raise InputError(f"{name}: expected at least 1 star; got 0.")
    errors = _numbers(name, "errors", stars.errors, values.shape)
    observed = _mask(name, stars.observed, values.shape)
    times, e_times = (
        _numbers(name, field, getattr(stars, field), values.shape[:1])
        for field in ("birth_time", "e_birth_time")
    )
    ids = np.asarray(stars.ids).astype(str)
    if ids.shape != values.shape[:1]:
        raise InputError(
            f"{name}: expected {len(values)} ids, one a star; got shape {ids.shape}."
        )
    _check_abundances(name, ids, values, errors, observed, columns)
    times, e_times = _check_times(name, ids, times, e_times)
    return stars._replace(
        values=np.where(observed, values, np.nan),
        errors=np.where(observed, errors, np.nan),
        observed=observed,
        birth_time=times,
        e_birth_time=e_times,
        ids=ids,
        fe_covariance=_covariance(name, stars.fe_covariance, values.shape),
        abundances=columns,
    )


def require_columns(forward: Forward, stars: Stars) -> None:
    """Refuse a forward model that gives other columns than the stars have.

    Raises:
        InputError: the numbers of abundances differ. (A forward model has no names.)
    """
    one = jax.ShapeDtypeStruct((1, len(PARAMETERS)), np.float32)
    n, n_columns = jax.eval_shape(forward, one).shape[-1], len(stars.abundances)
    if n != n_columns:
        raise InputError(
            f"The forward model gives {n} abundances; the stars have {n_columns} "
            f"columns ({', '.join(stars.abundances)}). Give the columns of the model "
            "with stars.select(names), or the model of a yield set with these elements."
        )


def _covariance(
    name: str, content: Any, shape: tuple[int, ...]
) -> Float[np.ndarray, "..."] | None:
    """Variance of [Fe/H] in [X/Fe], one number a star or one for each abundance."""
    if content is None:
        return None
    is_each = np.ndim(content) == len(shape)
    numbers = _numbers(name, "fe_covariance", content, shape if is_each else shape[:1])
    bad = (np.nan_to_num(numbers) < 0.0) | np.isinf(numbers)
    if bad.any():
        raise InputError(
            f"{name}: expected fe_covariance from 0 dex^2; got {numbers[bad][0]:g}. "
            "Give the variance of [Fe/H] (e_fe_h^2), or 0 where [X/Fe] does not share "
            "its error."
        )
    return numbers


def _numbers(
    name: str, field: str, content: Any, shape: tuple[int, ...] | None = None
) -> Float[np.ndarray, "..."]:
    """A float64 copy of one field; masked cells become NaN."""
    try:
        raw = content if isinstance(content, np.ma.MaskedArray) else np.asarray(content)
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{name}: {field} is no array of numbers: {error}.") from error
    if raw.dtype.kind not in "fiu" and raw.dtype.name != "bfloat16":
        raise InputError(
            f"{name}: expected real numbers as {field}; got data type {raw.dtype}."
        )
    if shape is not None and raw.shape != shape:
        raise InputError(
            f"{name}: expected {field} of shape {shape}, as `values` has "
            f"{shape[0]} stars; got shape {raw.shape}."
        )
    return np.array(np.ma.filled(np.ma.asarray(raw).astype(np.float64), np.nan))


def _mask(
    name: str, content: Any, shape: tuple[int, ...]
) -> Bool[np.ndarray, "star element"]:
    observed = np.ma.filled(content, False) if np.ma.isMA(content) else content
    try:
        observed = np.asarray(observed)
    except ValueError as error:
        raise InputError(f"{name}: observed is no array: {error}.") from error
    is_boolean = observed.dtype.kind == "b" or (
        observed.dtype.kind in "iuf" and np.isin(observed, (0, 1)).all()
    )
    if observed.shape != shape or not is_boolean:
        raise InputError(
            f"{name}: expected observed as Booleans of shape {shape}; got data type "
            f"{observed.dtype} and shape {observed.shape}."
        )
    return observed.astype(bool)


def _check_abundances(
    name: str,
    ids: np.ndarray,
    values: Float[np.ndarray, "star element"],
    errors: Float[np.ndarray, "star element"],
    observed: Bool[np.ndarray, "star element"],
    columns: tuple[str, ...],
) -> None:
    is_mark = np.isclose(np.abs(values)[..., None], MISSING_MARKS, 0.0, 1e-6).any(-1)
    sentinel = (np.abs(values) > MAX_ABUNDANCE) | is_mark
    problems = (
        (~np.isfinite(values), values, "the value is {:g} but `observed` is True."),
        (sentinel, values, "{:g} dex is no abundance; it looks like a missing value."),
        (np.isnan(errors), errors, "the value has no error. Give its 1 sigma in dex."),
        (~(errors > 0.0), errors, "the error is {:g} dex; an error must be positive."),
        (np.isinf(errors), errors, "the error is {:g} dex; an error must be finite."),
    )
    for bad, numbers, problem in problems:
        bad = bad & observed
        if not bad.any():
            continue
        row, column = np.argwhere(bad)[0]
        text = f"{problem.format(numbers[row, column])} {UNOBSERVED}"
        raise_for_rows(name, ids, bad[:, column], columns[column], text)


def _check_times(
    name: str,
    ids: np.ndarray,
    times: Float[np.ndarray, " star"],
    e_times: Float[np.ndarray, " star"],
) -> tuple[Float[np.ndarray, " star"], Float[np.ndarray, " star"]]:
    """Birth times and errors that can be used, the others are NaN."""
    known = ~np.isnan(times)
    bad = known & ~np.isnan(e_times) & ~((e_times > 0.0) & np.isfinite(e_times))
    text = f"the error is {e_times[np.argmax(bad)]:g} Gyr; an error must be positive."
    unknown = "For an unknown birth time set it and its error to NaN."
    raise_for_rows(name, ids, bad, "e_birth_time", f"{text} {unknown}")
    beyond = np.maximum(-times, times - T_END)  # Gyr out of the range
    bad = known & ~(beyond <= MAX_BIRTH_SIGMA * np.nan_to_num(e_times))
    raise_for_rows(
        name, ids, bad, "birth_time",
        f"{times[np.argmax(bad)]:g} is no time between 0 and {T_END:.1f} Gyr since the "
        f"Big Bang; convert it (birth_time = {T_END:.1f} Gyr - age). {unknown}",
    )  # fmt: skip
    unusable = known & np.isnan(e_times)
    if unusable.any():
        row = np.argmax(unusable)
        warnings.warn(
            f"{name}, row {row + 1} (id {str(ids[row])!r}): birth times without an "
            f"error are not used ({unusable.sum()} stars). Give e_birth_time in Gyr.",
            stacklevel=3,
        )
    usable = known & ~unusable
    return np.where(usable, times, np.nan), np.where(usable, e_times, np.nan)
