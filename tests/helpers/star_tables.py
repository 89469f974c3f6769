"""Complete star tables with the columns of this package, in four formats."""

import numpy as np
import pytest
from astropy.table import Table

from chemsbi_jax.catalog import read_stars
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError

FORMATS = {
    "stars.fits": {"format": "fits"},
    "stars.ecsv": {"format": "ascii.ecsv"},
    "stars.csv": {"format": "ascii.csv"},
    "stars.vot": {"format": "votable"},
}


def star_table(n=5, seed=0):
    """A complete table of `n` stars with 0.05 dex errors and birth times."""
    random = np.random.default_rng(seed)
    table = Table({"star_id": [f"HIP {i + 10}" for i in range(n)]})
    for name in ABUNDANCES:
        table[name] = random.normal(0, 0.2, n).round(3)
        table[f"e_{name}"] = np.full(n, 0.05)
    table["birth_time"] = random.uniform(2, 12, n).round(2)
    table["e_birth_time"] = np.full(n, 0.5)
    return table


def save(table, folder, name="stars.csv"):
    path = folder / name
    table.write(path, **FORMATS[name])
    return path


def complaint(path, *parts, **options):
    """The message of the error, which must hold all `parts` and name the file."""
    with pytest.raises(CatalogError) as info:
        read_stars(path, **options)
    message = str(info.value)
    for part in (path.name, *parts):
        assert part in message
    return message
