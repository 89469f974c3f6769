"""Shares of galaxies inside the regions of their posteriors."""

import numpy as np
from scipy import stats as distributions

from chemsbi_jax.constants import GLOBAL_PARAMETERS, N_GLOBAL
from common.shared_galaxies import NAMES

LEVELS = (0.68, 0.95)


def count(truth: np.ndarray, draws: np.ndarray) -> dict:
    """Shares inside regions, and widths in units of the prior's."""
    n = truth.shape[1]
    rank = (draws[..., :n] < truth[:, None]).mean(axis=1)
    galaxy = draws[..., :N_GLOBAL]
    away = truth[:, :N_GLOBAL] - galaxy.mean(axis=1)
    chi2 = np.array(
        [d @ np.linalg.solve(np.cov(x.T), d) for d, x in zip(away, galaxy, strict=True)]
    )
    rms, inside = np.sqrt((away**2).mean(axis=0)), {}
    for level in LEVELS:
        each = (np.abs(rank - 0.5) < level / 2).mean(axis=0).tolist()
        joint = float(np.mean(chi2 < distributions.chi2.ppf(level, 2)))
        inside[str(level)] = {"joint": joint} | dict(zip(NAMES, each, strict=False))
    return {
        "n": len(truth),
        "inside": inside,
        "median_chi2": float(np.median(chi2)),
        "rms_error": dict(zip(GLOBAL_PARAMETERS, rms.tolist(), strict=True)),
        "sd": dict(zip(NAMES, draws.std(axis=1).mean(axis=0).tolist(), strict=True)),
    }
