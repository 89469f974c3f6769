"""What became of the rows of a star table, in the files of a run."""

from collections.abc import Mapping
from pathlib import Path

from chemsbi_jax.catalog.report import Report, write_dropped

DROPPED = "dropped_rows.csv"


def save_rows(folder: Path, report: Report) -> None:
    """List the rows that are not used in dropped_rows.csv; without any, delete it."""
    if len(report.dropped.rows):
        write_dropped(folder / DROPPED, report)
    else:  # a file of an earlier run would describe another table
        (folder / DROPPED).unlink(missing_ok=True)


def add_rows(summary: Mapping, report: Report) -> dict:
    """The content of summary.json with the block "catalogue".

    After a misfit alarm, the flag columns that were not applied are named as a
    possible cause.
    """
    fit = summary.get("checks", {}).get("model_fit", {})
    causes = report.warn_of_misfit() if fit.get("flagged") else []
    return dict(summary) | {
        "n_stars": report.n_read,
        "warnings": [*summary["warnings"], *causes, *report.warnings],
        "catalogue": {
            "n_read": report.n_read,
            "n_used": report.n_used,
            "dropped": dict(report.reasons),
            "dropped_by_survey": report.n_by_survey,
            "notes": [*report.notes, *report.warnings],
            "flags_not_followed": list(report.flags_not_followed),
        },
    }
