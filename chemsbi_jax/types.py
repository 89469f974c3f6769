"""Types that the layers share."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float

Forward = Callable[[Float[Array, "*batch param"]], Float[Array, "*batch element"]]
"""theta -> abundances [dex]; the simulator and the emulator are both one."""


class Stars(NamedTuple):
    """Stars of one galaxy, in the order of `constants.ABUNDANCES`."""

    values: Float[np.ndarray, "star element"]  # dex; NaN where not observed
    errors: Float[np.ndarray, "star element"]  # dex, 1 sigma; NaN where not observed
    observed: Bool[np.ndarray, "star element"]  # which abundances were measured
    birth_time: Float[np.ndarray, " star"]  # Gyr since the Big Bang; NaN if unknown
    e_birth_time: Float[np.ndarray, " star"]  # Gyr, 1 sigma; NaN if unknown
    ids: np.ndarray  # (star,) strings, as in the table, or the row number


class GalaxyPosterior(NamedTuple):
    """Posterior of (alpha_imf, log10_n_ia), in this order, given all stars."""

    method: str  # "gaussian", "flow", "nuts"
    draws: Float[ArrayLike, "draw 2"]
    mean: Float[ArrayLike, " 2"]
    covariance: Float[ArrayLike, "2 2"]
    checks: dict  # name of the check -> its numbers, as JSON would have them
