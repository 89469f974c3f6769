"""Intervals of several galaxies: do they hold the truth, and do they agree?"""

import itertools

import numpy as np
from scipy import stats as distributions


def coverage(rows: list[dict]) -> dict:
    """Shares of galaxies inside regions of 68 and 95 %, of those with an interval."""
    known = [r for r in rows if "chi2" in r and r["converged"]]
    if not known:
        return {"n": 0, "n_not_converged": len(rows)}
    chi2, away = (np.array([r[k] for r in known]) for k in ("chi2", "away"))
    inside = {
        str(level): {
            "joint": float((chi2 < distributions.chi2.ppf(level, 2)).mean()),
            "each": (np.abs(away) < distributions.norm.isf((1 - level) / 2)).mean(
                axis=0
            ),
        }
        for level in (0.68, 0.95)
    }
    return {
        "n": len(known),
        "n_not_converged": sum(not r["converged"] for r in rows),
        "inside": inside,
        "median_chi2": float(np.median(chi2)),
        "rms": np.sqrt((away**2).mean(axis=0)),
        "sd": np.median([r["sd"] for r in known], axis=0),
    }


def agreement(rows: list[dict]) -> dict[str, float]:
    """chi2 of the difference of each pair of real tables, of two parameters."""
    real = [r for r in rows if r["converged"] and "chi2" not in r]
    found = {}
    for one, other in itertools.combinations(real, 2):
        away = np.subtract(one["mean"], other["mean"])
        covariance = _covariance(one) + _covariance(other)
        pair = f"{one['name']}, {other['name']}"
        found[pair] = float(away @ np.linalg.solve(covariance, away))
    return found


def _covariance(row: dict) -> np.ndarray:
    correlation = np.array([[1.0, row["correlation"]], [row["correlation"], 1.0]])
    return np.outer(row["sd"], row["sd"]) * correlation
