"""Rows that are no star, and stars of several galaxies."""

import numpy as np
from jaxtyping import Float

from chemsbi_jax.catalog.cells import column_of
from chemsbi_jax.catalog.columns import StarTable
from chemsbi_jax.errors import CatalogError, raise_for_rows

SUMMARIES = ("mean", "average", "avg", "median", "weighted mean", "total", "std",
             "stdev", "stddev", "std dev", "std. dev.", "standard deviation",
             "scatter", "dispersion", "rms", "minimum", "maximum", "mittelwert",
             "moyenne", "promedio", "media", "sum", "summe", "somme",
             "suma")  # fmt: skip
"""Words in a column of ids for a row that a spreadsheet computed from the others."""

GALAXIES = ("galaxy", "gal", "galaxy_id", "galaxyid", "gal_id", "galid", "galaxy_name",
            "galaxyname", "host_galaxy", "dwarf", "dsph", "subhalo", "subhaloid",
            "subhalo_id", "subfind_id", "halo", "halo_id", "haloid")  # fmt: skip
"""Columns that name the galaxy of a star."""

MIN_ROWS, MIN_COLUMNS = 6, 3  # of numbers whose agreement is no accident
ROUNDING = 0.00051  # dex, of means with three decimals
N_NAMED = 4  # galaxies in a sentence


def refuse_summary_rows(
    source: StarTable, values: Float[np.ndarray, "star element"]
) -> None:
    """Raise for a row with the mean, or another summary, of the other rows.

    Raises:
        CatalogError: an id says so, or the last row is the mean or the median.
    """
    problem = "is a summary of the other rows, not a star; remove the row."
    if source.id_column is not None:
        words = np.char.strip(np.char.lower(source.ids.astype(str)), " :")
        bad = np.isin(words, SUMMARIES)
        by_id = f"by its id, this row {problem}"
        raise_for_rows(source.name, source.ids, bad, source.id_column, by_id)
    if len(values) < MIN_ROWS:
        return
    rest, last = values[:-1], values[-1]
    known = np.isfinite(last) & (np.isfinite(rest).sum(axis=0) >= MIN_ROWS - 1)
    if known.sum() < MIN_COLUMNS:
        return
    rest, last = rest[:, known], last[known]
    for name, summary in (("mean", np.nanmean), ("median", np.nanmedian)):
        if np.ptp(rest, axis=0).min() > 0.0 and np.allclose(
            summary(rest, axis=0), last, rtol=0.0, atol=ROUNDING
        ):
            raise CatalogError(
                f"{source.name}, row {len(values)}: each abundance is the {name} of "
                f"the rows above, so this row {problem}"
            )


def warn_of_galaxies(source: StarTable) -> list[str]:
    """Warnings of columns by which the stars are in several galaxies."""
    warnings = []
    for key in GALAXIES:
        if not source.has(key):
            continue
        cells = column_of(source.table, source.columns[key])
        if cells.ndim != 1 or source.columns[key] == source.id_column:
            continue
        found = np.unique(np.asarray(cells).astype(str)).tolist()
        if not 1 < len(found) <= len(source.ids) // 2:
            continue
        more = ", ..." if len(found) > N_NAMED else ""
        warnings.append(
            f"The column {source.columns[key]} has {len(found)} values "
            f"({', '.join(found[:N_NAMED])}{more}), but all stars are taken for one "
            "galaxy. Infer the galaxies one by one, each from its own rows."
        )
    return warnings
