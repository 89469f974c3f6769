"""Types that the layers share."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple, TypedDict

import jax
import numpy as np
from astropy.table import Table
from jaxtyping import Array, ArrayLike, Bool, Float

from chemsbi_jax.constants import ABUNDANCES, GLOBAL_PARAMETERS

if TYPE_CHECKING:
    from getdist import MCSamples  # pyright: ignore[reportMissingImports]

AnyArray = Array | np.ndarray
"""Either kind of array; annotate with `Float[AnyArray, "shape"]`."""

Forward = Callable[[Float[Array, "*batch param"]], Float[Array, "*batch element"]]
"""theta -> abundances [dex]; the simulator and the emulator both have this type."""

Method = Literal["flow", "gaussian", "exact", "robust"]
"""How the stars are combined, see `galaxy.infer_galaxy`."""

AMORTISED: tuple[Method, ...] = ("flow", "gaussian")
"""Methods that use the network alone, and exclude stars with too little information."""


@jax.tree_util.register_static
class AbundanceNames(tuple):
    """Names of the columns of an array of abundances; static under `jit`."""


EIGHT = AbundanceNames(ABUNDANCES)
"""The default columns."""


class Stars(NamedTuple):
    """Stars of one galaxy; the columns are those of `abundances`."""

    values: Float[np.ndarray, "star element"]  # dex; NaN where not observed
    errors: Float[np.ndarray, "star element"]  # dex, 1 sigma; NaN where not observed
    observed: Bool[np.ndarray, "star element"]  # which abundances were measured
    birth_time: Float[np.ndarray, " star"]  # Gyr since the Big Bang; NaN if unknown
    e_birth_time: Float[np.ndarray, " star"]  # Gyr, 1 sigma; NaN if unknown
    ids: np.ndarray  # (star,) strings, as in the table, or the row number
    # dex^2, the variance of [Fe/H] that the [X/Fe] of the star share, as these are
    # [X/H] - [Fe/H] with independent errors; 0 where they do not; None: no star has it.
    # Of shape (star, element) where only some of the [X/Fe] were made from [X/H]
    fe_covariance: (
        Float[np.ndarray, " star"] | Float[np.ndarray, "star element"] | None
    ) = None
    abundances: tuple[str, ...] = EIGHT  # names of the columns, in their order

    def take(self, rows: np.ndarray | list[int] | slice) -> "Stars":
        """Some of the stars: row numbers, a Boolean mask, or a slice."""
        return self._replace(**{k: x[rows] for k, x in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """Field -> array with one row a star, without the fields that are None."""
        names = self._asdict()
        del names["abundances"]
        return {k: x for k, x in names.items() if x is not None}

    def select(self, abundances: Sequence[str]) -> "Stars":
        """The same stars with other columns; an abundance that they lack is a gap.

        Args:
            abundances: names of the new columns, in their order.

        >>> stars = Stars.complete(np.zeros((3, 8))).select(("fe_h", "na_fe"))
        >>> stars.observed[0].tolist()
        [True, False]
        """
        if tuple(abundances) == tuple(self.abundances):
            return self
        columns = [
            self.abundances.index(name) if name in self.abundances else -1
            for name in abundances
        ]
        is_here = np.array(columns) >= 0
        values, errors = (
            np.where(is_here, np.asarray(x)[:, columns], np.nan)
            for x in (self.values, self.errors)
        )
        shared = self.fe_covariance
        if shared is not None and np.ndim(shared) == 2:  # one for each abundance
            shared = np.where(is_here, np.asarray(shared)[:, columns], 0.0)
        return self._replace(
            values=values,
            errors=errors,
            observed=np.asarray(self.observed)[:, columns] & is_here,
            fe_covariance=shared,
            abundances=AbundanceNames(abundances),
        )

    @classmethod
    def complete(
        cls,
        values: ArrayLike,
        error: float = 0.05,
        abundances: Sequence[str] = ABUNDANCES,
    ) -> "Stars":
        """Stars with all abundances, one error [dex], and no birth times.

        Args:
            values: (star, element) abundances [dex].
            error: 1 sigma of every abundance [dex].
            abundances: names of the columns.

        >>> stars = Stars.complete(np.zeros((3, 8)))
        >>> stars.take(slice(2)).ids.tolist()
        ['0', '1']
        """
        values = np.asarray(values, float)
        unknown = np.full(len(values), np.nan)
        return cls(
            values,
            np.full(values.shape, error),
            np.ones(values.shape, bool),
            unknown,
            unknown,
            np.arange(len(values)).astype(str),
            abundances=AbundanceNames(abundances),
        )


def shared_variance(stars: Stars) -> Float[np.ndarray, "star element"] | None:
    """Variance of [Fe/H] in the error of each [X/Fe] [dex^2]; None if no star has it.

    0 for [Fe/H], in gaps, where [Fe/H] was not observed, and where the variance is not
    smaller than the square of the error (by more than rounding).
    """
    if stars.fe_covariance is None or "fe_h" not in stars.abundances:
        return None
    iron = stars.abundances.index("fe_h")
    seen = np.asarray(stars.observed)
    of_iron = np.nan_to_num(stars.fe_covariance)
    of_iron = of_iron if of_iron.ndim == 2 else of_iron[:, None]
    shared = np.where(seen, of_iron, 0.0)
    shared = np.where(seen[:, [iron]], shared, 0.0)
    shared[:, iron] = 0.0
    smaller = shared < (1.0 - 1e-6) * np.where(seen, stars.errors, 0.0) ** 2
    return np.where(smaller, shared, 0.0)


class GalaxyChecks(TypedDict, total=False):
    """Numbers of a method about its own posterior, with the keys of `summary.json`."""

    prior_widths: float  # distance of the mean from the prior's, in its widths
    left_out: list[int]  # rows of stars that no parameters explain

    # "flow" and "gaussian"
    weak_stars: int  # left out: too little information
    guarded_stars: int  # "gaussian": weaker than the prior in some direction
    network_error_sigma: list[float]  # shift by the mean score, in posterior widths
    passes: int  # over a table that is read in blocks

    # posteriors on a grid: "flow", "exact" and "robust"
    ess: float  # effective number of draws
    grid_points: float  # effective number of grid points
    mass_at_edge: float  # probability on the edge of the grid

    # "exact" and "robust"
    at_rest: bool  # the rounds converged
    rounds: int
    polynomial_rms: float  # residual of the fitted log density [nats]
    effective_draws_median: float  # over the stars
    effective_draws_p01: float  # first percentile over the stars
    model_error_dex: dict[str, float]  # "robust": abundance -> rms

    # "hierarchical"
    converged: bool
    predictive_p: float
    predictive_distance: float
    outliers: list[int]  # rows
    n_alarm: int  # stars of the misfit alarm
    n_subset: int  # random stars of a larger table
    mode_distance: float  # of the mode from the network's mean, in its widths
    far_population: dict[str, float]  # parameter -> prior widths, at the mode
    far_errors: dict[str, float]  # zero points and scatter, likewise
    held_blocks: list[str]  # with which the network's coverage was wrong in tests
    sampler: str  # of the draws: "network" or "nuts"
    r_hat: float  # "nuts": the largest of the two parameters
    n_effective: float  # the smallest of them, of the chains
    wanted_draws: int  # if there are fewer effective ones
    divergences: int
    n_nuts: int  # random stars of NUTS
    points: int  # of the stars' integrals
    effective_points: float  # second percentile over the stars
    likelihood_power: float  # factor of the log likelihood of all stars
    counted_stars: float  # the power times the number of stars
    width_over_prior: dict[str, float]  # shared parameter -> ratio
    not_narrowed: list[str]  # shared parameters

    weights: dict[str, float]  # "stacking": yield set -> weight


class GalaxyPosterior(NamedTuple):
    """Posterior of (alpha_imf, log10_n_ia), in this order, given all stars."""

    method: str  # one of `Method`, or "nuts", "hierarchical", "stacking"
    draws: Float[AnyArray, "draw 2"]
    mean: Float[AnyArray, " 2"]
    covariance: Float[AnyArray, "2 2"]
    checks: GalaxyChecks

    @property
    def sd(self) -> Float[np.ndarray, " 2"]:
        """Standard deviations of the two parameters."""
        return np.sqrt(np.diag(self.covariance))

    @property
    def correlation(self) -> float:
        """Correlation of the two parameters; NaN without a width."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return float(np.asarray(self.covariance)[0, 1] / self.sd.prod())

    def interval(self) -> dict[str, dict[str, float]]:
        """Parameter -> {"mean", "sd"}, as JSON has it.

        >>> mean, covariance = np.array([-2.3, -2.9]), np.diag([0.04, 0.09])
        >>> posterior = GalaxyPosterior("flow", mean[None], mean, covariance, {})
        >>> posterior.interval()["alpha_imf"]
        {'mean': -2.3, 'sd': 0.2}
        """
        numbers = zip(GLOBAL_PARAMETERS, self.mean, self.sd, strict=True)
        return {k: {"mean": float(mean), "sd": float(sd)} for k, mean, sd in numbers}

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
        from chemsbi_jax.results.export import draws_table  # a higher layer

        return draws_table(*self, provenance=provenance)

    def to_getdist(
        self, further: Mapping[str, Float[AnyArray, " draw"]] | None = None
    ) -> "MCSamples":
        """The draws as `getdist.MCSamples`, with names, LaTeX labels and the method.

        Args:
            further: name -> other parameters of the same draws.

        Raises:
            ImportError: GetDist is not installed (`pip install getdist`).
        """
        from chemsbi_jax.results.export import draws_getdist  # a higher layer

        is_chain = "nuts" in (self.method, self.checks.get("sampler"))
        return draws_getdist(self.method, self.draws, is_chain, further or {})
