"""A small table of made-up stars, and the layouts in which people have such a table."""

import numpy as np
from astropy.table import Table

from chemsbi_jax.catalog import CatalogOptions, read_catalog

N = 40
COLUMNS = ("fe_h", "mg_fe", "o_fe", "si_fe")


def star_table(*more):
    """Stars on the trends of a galaxy, with errors; and columns of `more` as given."""
    rng = np.random.default_rng(4)
    table = Table({"star": [f"S{i:04d}" for i in range(N)]})
    iron = rng.uniform(-0.9, 0.4, N)
    for name, height, slope in zip(COLUMNS, (0, 0.2, 0.3, 0.1), (1, -0.3, -0.4, -0.2),
                                   strict=True):  # fmt: skip
        table[name] = np.round(height + slope * iron + rng.normal(0, 0.05, N), 3)
        table[f"e_{name}"] = np.round(rng.uniform(0.03, 0.09, N), 3)
    table["age"] = np.round(rng.uniform(1.0, 12.0, N), 2)
    table["e_age"] = np.round(rng.uniform(0.5, 1.5, N), 2)
    return table["star", *(c for x in COLUMNS for c in (x, f"e_{x}")), *more]


def renamed(table, **names):
    """The table with other names of columns."""
    table = table.copy()
    for old, new in names.items():
        table.rename_column(old, new)
    return table


def lines(table=None, sep=",", decimal="."):
    """The table as text lines, the header first."""
    table = star_table() if table is None else table
    rows = [[str(x).replace(".", decimal) for x in row] for row in table]
    return [sep.join(row) for row in [table.colnames, *rows]]


def write(folder, table, name="stars.csv"):
    """The path of a file with the table, or with text or bytes."""
    path = folder / name
    if isinstance(table, Table):
        table.write(path, format="fits" if name.endswith("fits") else "ascii.csv")
    elif isinstance(table, bytes):
        path.write_bytes(table)
    else:
        path.write_text(table, encoding="utf-8")
    return path


def read(path, **options):
    """Stars and report."""
    return read_catalog(path, CatalogOptions(**options))
