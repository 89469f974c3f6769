"""Errors caused by user input or by the machine, and one message for bad rows."""

import numpy as np
from jaxtyping import Bool


class InputError(ValueError):
    """Input that can't be used; the message has what was expected and the remedy.

    Scripts print it and end with exit code 2. A `ValueError` of another kind is a fault
    of the program and shows its traceback.
    """


class CatalogError(InputError):
    """A star table that can't be used; names file, row, column and remedy."""


class CatalogWarning(UserWarning):
    """A column may not hold the quantity of its name; names file and column."""


class ConvergenceError(InputError):
    """A method found no reliable posterior; names the cause and the remedy."""


class WidthError(ConvergenceError):
    """A posterior that is narrower than its data allow, or not a number."""


class ForkedProcessError(RuntimeError):
    """JAX was started before the process was forked, and would hang in the child."""


class WeightsError(InputError):
    """Weights that can't be used; names the file, the difference and the remedy."""


class DatasetError(OSError):
    """A data file is missing, or its checksum is wrong."""


class MirrorOnlyError(DatasetError):
    """A data file has no public address of its own, and no mirror is set."""


class OutputError(OSError):
    """A file can't be written; names the file and the reason."""


def raise_for_rows(
    name: str,
    ids: np.ndarray,
    bad: Bool[np.ndarray, " star"],
    column: str,
    problem: str,
) -> None:
    """Raise for the first bad row, if there is one.

    Args:
        name: name of the file.
        ids: ids of the stars.
        bad: which rows are bad.
        column: name of the column.
        problem: the fault and the remedy, in sentences.

    Raises:
        CatalogError: a row is bad; names file, row, id and column.
    """
    rows = np.flatnonzero(bad)
    if len(rows) == 0:
        return
    where = f"{name}, row {rows[0] + 1} (id {str(ids[rows[0]])!r}), column {column!r}"
    further = counted(len(rows) - 1, "more row")
    more = f" The same in {further}." if len(rows) > 1 else ""
    raise CatalogError(f"{where}: {problem}{more}")


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 row", "2 rows"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
