"""What became of the rows of a star table."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from astropy.table import Table

from chemsbi_jax.errors import counted
from chemsbi_jax.storage.files import whole_file


class Dropped(NamedTuple):
    """Rows of a table that are not used."""

    rows: np.ndarray  # (dropped,) numbers of the rows, from 1
    ids: np.ndarray  # (dropped,) strings
    reasons: np.ndarray  # (dropped,) strings


class Report(NamedTuple):
    """How a star table was read."""

    name: str  # of the file
    n_read: int  # rows of the table
    n_used: int  # stars
    reasons: Mapping[str, int]  # why rows were dropped -> how many
    dropped: Dropped
    notes: tuple[str, ...]  # what was assumed, converted or left out
    warnings: tuple[str, ...]  # what may make the result wrong
    # columns of flags and limits that had no effect: a possible cause of a misfit
    flags_not_followed: tuple[str, ...] = ()
    n_by_survey: int = 0  # dropped rows that the survey advises against

    def text(self) -> str:
        """What a user reads, one thing a line."""
        n_dropped = self.n_read - self.n_used
        lines = [
            f"{self.name}: {counted(self.n_read, 'row')} read, "
            f"{counted(self.n_used, 'star')} used, {n_dropped} dropped."
        ]
        lines += [f"  {n} dropped: {reason}" for reason, n in self.reasons.items()]
        lines += [f"  {note}" for note in self.notes]
        lines += [f"  Warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)

    def warn_of_misfit(self) -> list[str]:
        """What in the table may be the cause, if the model does not explain the stars.

        For the text of the misfit alarm: flags that were not applied.
        """
        if not self.flags_not_followed:
            return []
        return [
            "Bad values are a possible cause of the misfit: the table has flags that "
            f"were not applied, {', '.join(self.flags_not_followed)}."
        ]


def write_dropped(path: str | os.PathLike, report: Report) -> None:
    """List the dropped rows in a CSV file, or ECSV by its suffix, atomically.

    Columns: row (number from 1), id, reason.
    """
    table = Table(dict(zip(("row", "id", "reason"), report.dropped, strict=True)))
    form = "ascii.ecsv" if Path(path).suffix == ".ecsv" else "ascii.csv"
    with whole_file(path) as temporary:
        table.write(temporary, format=form)
