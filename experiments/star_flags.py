"""Flags of every script that reads a star table, and what it tells of the rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

import chemsbi_jax as cs
from chemsbi_jax.catalog.report import Report, write_dropped

DROPPED = "dropped_rows.csv"


@dataclass(frozen=True, kw_only=True)
class StarFlags(cs.CatalogOptions):
    """Flags of a script about its star table; the script's Config is one of these."""

    default_error: Annotated[float | None, tyro.conf.arg(metavar="DEX")] = None
    """Error of abundances that have none in the table."""
    hdu: Annotated[int | None, tyro.conf.arg(metavar="NUMBER")] = None
    """Number of the table in a FITS file or VOTable."""
    solar_from: Annotated[str | None, tyro.conf.arg(metavar="SCALE")] = None
    """Solar scale of the table, to convert from, as grevesse2007."""


def read(path: Path, flags: StarFlags, out: Path, quiet: bool) -> cs.Catalog:
    """Read the stars; lists the rows that are not used in `out`/dropped_rows.csv."""
    catalog = cs.read_catalog(path, flags)
    if not quiet:
        print(catalog.report.text(), flush=True)
    if len(catalog.report.dropped.rows):
        write_dropped(out / DROPPED, catalog.report)
    elif (out / DROPPED).is_file():  # of an earlier run
        (out / DROPPED).unlink()
    return catalog


def add_to(summary: Mapping, report: Report) -> dict:
    """summary.json with the rows of the table and what was done with them."""
    fit = summary.get("checks", {}).get("model_fit", {})
    causes = report.warn_of_misfit() if fit.get("flagged") else []
    return dict(summary) | {
        "n_stars": report.n_read,
        "warnings": [*summary["warnings"], *causes, *report.warnings],
        "catalogue": {
            "n_read": report.n_read,
            "n_used": report.n_used,
            "dropped": dict(report.reasons),
            "notes": [*report.notes, *report.warnings],
            "flags_not_followed": list(report.flags_not_followed),
        },
    }
