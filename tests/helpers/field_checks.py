"""What the tests of tables as people have them check."""

import numpy as np
import pytest

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError
from helpers.field_tables import COLUMNS, lines, read, star_table

I = {name: i for i, name in enumerate(ABUNDANCES)}  # noqa: E741


def refusal(path, **options):
    with pytest.raises(CatalogError) as info:
        read(path, **options)
    assert str(path) in str(info.value) or "--columns" in str(info.value)
    return str(info.value)


def assert_same(stars, table=None, atol=1e-6, names=COLUMNS):
    """The stars are those of the table, all of them, and nothing else is observed."""
    table = star_table() if table is None else table
    assert len(stars.ids) == len(table) == len(set(stars.ids))
    for name in names:
        np.testing.assert_allclose(stars.values[:, I[name]], table[name], atol=atol)
        np.testing.assert_allclose(
            stars.errors[:, I[name]], table[f"e_{name}"], atol=1e-6
        )
    assert set(np.flatnonzero(stars.observed.any(axis=0))) == {I[x] for x in names}


def text(sep=",", decimal=".", start="", end="", encoding="utf-8", newline="\n"):
    header, *rows = lines(None, sep, decimal)
    return (start + newline.join([header, *(r + end for r in rows)])).encode(encoding)
