"""Differences of the abundances of rows that may be one star."""

import numpy as np

from chemsbi_jax.catalog.copies import Numbers
from chemsbi_jax.catalog.ids import repeated

# mean squared differences of two rows in units of their errors: for a small number and
# for an id with many digits, whose errors may be too small
DIFFERENT, ANOTHER = 3.0, 8.0
DIFFER = "their abundances differ by far more than the errors"
NOT_CLOSER = "their abundances differ as much as those of other rows"
FEW_PAIRS = 5  # repeated rows, from which on their distance says something
# of the distance of rows with different labels: rows of one star have 0.5 of it where
# the stars scatter as much as their errors, and less where they scatter more
LEAST_CLOSER = 0.7


def why_apart(labels: np.ndarray, numbers: Numbers, rows: np.ndarray) -> str:
    """Why the abundances of rows with one label are not those of one star, or ""."""
    distance = distance_of(labels, numbers, rows)
    if distance > DIFFERENT:
        return DIFFER
    mixed = np.random.default_rng(0).permutation(labels)
    others = distance_of(mixed, numbers, rows)  # of rows with different labels
    is_clear = repeated(labels).sum() >= FEW_PAIRS and distance > LEAST_CLOSER * others
    return NOT_CLOSER if is_clear else ""


def distance_of(labels: np.ndarray, numbers: Numbers, rows: np.ndarray) -> float:
    """Mean squared difference of rows with one label, in units of the errors."""
    values, errors = numbers[0][rows], numbers[1][rows]
    order = np.argsort(labels, kind="stable")
    same = labels[order[1:]] == labels[order[:-1]]
    one, two = order[:-1][same], order[1:][same]
    square = (values[one] - values[two]) ** 2 / (errors[one] ** 2 + errors[two] ** 2)
    square = square[np.isfinite(square)]
    return float(np.mean(square)) if len(square) else 0.0
