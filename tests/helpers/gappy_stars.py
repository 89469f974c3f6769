"""Tables of readings, and gaps in them."""

import numpy as np

import chemsbi_jax as cs


def table(n=4):
    values = np.linspace(-0.3, 0.3, 8 * n).reshape(n, 8)
    time = np.linspace(3.0, 9.0, n)
    ids = np.arange(1, n + 1).astype(str)
    return cs.Stars(
        values, np.full((n, 8), 0.05), np.ones((n, 8), bool), time, 0.2 * time, ids
    )


def with_gaps(stars):
    """The second star lacks two abundances, the third its birth time."""
    values, errors = stars.values.copy(), stars.errors.copy()
    values[1, [2, 5]], errors[1, [2, 5]] = np.nan, np.nan
    time, e_time = stars.birth_time.copy(), stars.e_birth_time.copy()
    time[2], e_time[2] = np.nan, np.nan
    return cs.Stars(values, errors, np.isfinite(values), time, e_time, stars.ids)
