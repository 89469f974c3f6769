"""Types that the layers share."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from astropy.table import Table
from jaxtyping import Array, ArrayLike, Bool, Float

from chemsbi_jax import exports

if TYPE_CHECKING:
    from getdist import MCSamples

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

    def to_table(self, provenance: Mapping | None = None) -> Table:
        """The draws as an astropy table, for `write("posterior.ecsv")`.

        Columns: alpha_imf (no unit) and log10_n_ia [dex(1 / solMass)], which a
        `QTable` turns into quantities. The meta has description, method, mean (2),
        covariance (2, 2), provenance and checks, as JSON would have them.

        Args:
            provenance: joins the package's version, e.g. `results.provenance`.

        Raises:
            ValueError: draws, mean or covariance have other shapes.
        """
        return exports.draws_table(*self, provenance=provenance)

    def to_getdist(self) -> "MCSamples":
        """The draws as `getdist.MCSamples`, with names, LaTeX labels and the method.

        Raises:
            ImportError: GetDist is not installed (`pip install getdist`).
        """
        return exports.draws_getdist(self.method, self.draws)
