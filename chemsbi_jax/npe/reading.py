"""Readers: rows of a star table to features of the flows.

A network for one error reads eight abundances. A network for any star reads the
abundances of its yield set, their errors, and the birth time with its error; a gap has
error zero and no weight.
"""

from collections.abc import Sequence

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError, raise_for_rows
from chemsbi_jax.types import AbundanceNames, Stars

N_ELEMENTS = len(ABUNDANCES)  # of a network for one error
MIN_ERROR, MAX_ERROR = 0.01, 0.3  # dex, of the training
MIN_E_BIRTH, MAX_E_BIRTH = 0.1, 5.2  # Gyr
TYPICAL_ERROR, TYPICAL_E_BIRTH = 0.05, 1.0  # dex and Gyr, units of the features
KIND = 0.4  # in the logarithm: errors this close make stars of one kind
SMALL = 1e-3  # of the prior's variance: less is noise of the arithmetic


class OneErrorReader(eqx.Module):
    """Reads stars with all eight abundances and one error: whitened abundances."""

    mean: Float[Array, " element"]  # dex
    matrix: Float[Array, "element element"]  # whitens the abundances [1/dex]
    sigma: Float[Array, ""]  # dex, noise of the training stars

    @property
    def n_features(self) -> int:
        """One an abundance."""
        return N_ELEMENTS

    @property
    def abundances(self) -> tuple[str, ...]:
        """The default eight."""
        return ABUNDANCES

    @property
    def reads_times(self) -> bool:
        """Birth times are not read."""
        return False

    def __call__(self, inputs: Float[Array, "*star element"]) -> Array:
        """(feature *star) of abundances [dex]."""
        return self.matrix @ (inputs - self.mean).T

    def inputs(self, stars: Stars, name: str = "star table") -> np.ndarray:
        """(star, 8) abundances.

        Raises:
            CatalogError: a star lacks an abundance, or has another error; or an element
                is not one of the eight.
        """
        stars = columns_of(self.abundances, stars, name)
        require_complete(stars, sigma=float(self.sigma), name=name)
        return np.asarray(stars.values)

    def measure(
        self, like: Array, abundances: Array, birth_time: Array, noise: Array
    ) -> Float[Array, "star 8"]:
        """Inputs of other stars: the error is the same for all."""
        return abundances + self.sigma * noise[:, :N_ELEMENTS]

    def rough_inputs(self, stars: Stars) -> np.ndarray:
        """`inputs` of any stars, for a proposal: gaps get the mean of the training."""
        stars = stars.select(ABUNDANCES)
        return np.where(stars.observed, stars.values, np.asarray(self.mean))

    def stars(self, inputs: Float[np.ndarray, "star element"]) -> Stars:
        """A table of stars with these abundances; inverse of `inputs`."""
        errors = np.full(np.shape(inputs), float(self.sigma))
        return as_table(np.column_stack([inputs, errors, np.zeros((len(inputs), 2))]))

    def typical(self, inputs: Float[np.ndarray, "star 8"]) -> np.ndarray | None:
        """Not needed: all stars share one error."""

    def blank(self) -> Float[Array, " element"]:
        """Inputs of a padding row."""
        return self.mean


class AnyStarReader(eqx.Module):
    """Reads abundances and a birth time with any errors and gaps.

    The features are the standardised readings, their errors, what is there, and the
    estimate that a linear model makes of the complete and noise-free star, with its
    uncertainty: that is where readings of different errors can be compared.
    """

    centre: Float[Array, " reading"]  # dex, Gyr
    scale: Float[Array, " reading"]
    basis: Float[Array, "reading mode"]  # of the standardised noise-free readings
    abundances: tuple[str, ...] = eqx.field(static=True, default=ABUNDANCES)

    @property
    def n_features(self) -> int:
        """Five a reading; the readings are the abundances and the birth time."""
        return 5 * (len(self.abundances) + 1)

    @property
    def reads_times(self) -> bool:
        """Birth times are read."""
        return True

    def __call__(self, inputs: Float[Array, "*star input"]) -> Array:
        """(feature *star) of (values, errors, birth time, its error)."""
        x = inputs.T
        n = len(self.abundances)
        value = jnp.concatenate([x[:n], x[-2:-1]])
        error = jnp.concatenate([x[n:-2], x[-1:]])
        seen = error > 0.0
        unit, typical, centre = (
            jnp.reshape(jnp.asarray(v, x.dtype), (-1, *(1,) * (x.ndim - 1)))
            for v in (self.scale, [TYPICAL_ERROR] * n + [TYPICAL_E_BIRTH], self.centre)
        )
        z = jnp.where(seen, (value - centre) / unit, 0.0)
        size = jnp.where(seen, jnp.log(jnp.where(seen, error, 1.0) / typical), 0.0)
        mean, variance = self._estimate(z, jnp.where(seen, error / unit, 0.0))
        known = mean / jnp.sqrt(1.0 - variance + SMALL)
        return jnp.concatenate(
            [known, 0.3 * jnp.log(variance + SMALL) + 1.0, z, size, 1.0 * seen]
        )

    def _estimate(self, z: Array, error: Array) -> tuple[Array, Array]:
        """Mean and variance of the modes, one reading after the other (Kalman)."""
        n, batch = len(z), z.shape[1:]
        mean = jnp.zeros_like(z)
        eye = jnp.eye(n, dtype=z.dtype).reshape(n, n, *(1,) * len(batch))
        covariance = jnp.broadcast_to(eye, (n, n, *batch))
        for row, value, sigma in zip(self.basis, z, error, strict=True):
            shared = jnp.tensordot(row, covariance, axes=1)
            total = jnp.tensordot(row, shared, axes=1) + sigma**2
            gain = jnp.where(sigma > 0.0, shared / total, 0.0)
            mean = mean + gain * (value - jnp.tensordot(row, mean, axes=1))
            covariance = covariance - gain[:, None] * shared[None]
        variance = jnp.diagonal(covariance).T if not batch else _diagonal(covariance)
        return mean, jnp.clip(variance, 0.0, 1.0)

    def inputs(self, stars: Stars, name: str = "") -> np.ndarray:
        """(star, 2 n + 2): values, errors, birth time and its error; gaps are zeros.

        Errors below those of the training count as its smallest, and readings with
        larger ones, which carry little information, count as gaps.

        Raises:
            CatalogError: the stars have an abundance that the network does not read.
        """
        chosen = columns_of(self.abundances, stars, name or "star table")
        return self.rough_inputs(chosen)

    def rough_inputs(self, stars: Stars) -> np.ndarray:
        """`inputs` of any stars, for a proposal; other abundances do not count."""
        stars = stars.select(self.abundances)
        values, errors = _gaps(stars.values, stars.errors, MIN_ERROR, MAX_ERROR)
        time, e_time = _gaps(
            stars.birth_time, stars.e_birth_time, MIN_E_BIRTH, MAX_E_BIRTH
        )
        return np.column_stack([values, errors, time, e_time])

    def measure(
        self,
        like: Float[Array, "star input"],
        abundances: Float[Array, "star element"],
        birth_time: Float[Array, " star"],
        noise: Float[Array, "star reading"],
    ) -> Float[Array, "star input"]:
        """Inputs of other stars with the errors and gaps of `like`, row by row.

        Args:
            like: inputs whose errors are taken.
            abundances: of the other stars, without noise [dex].
            birth_time: of the other stars [Gyr].
            noise: standard normals, one a reading.
        """
        n = len(self.abundances)
        errors, e_birth = like[:, n:-2], like[:, -1]
        values = abundances + errors * noise[:, :n]
        # a star that the model does not have stays NaN, in gaps too
        values = jnp.where(errors > 0.0, values, 0.0 * abundances)
        time = jnp.where(e_birth > 0.0, birth_time + e_birth * noise[:, -1], 0.0)
        return jnp.column_stack([values, errors, time, e_birth])

    def stars(self, inputs: Float[np.ndarray, "star input"]) -> Stars:
        """A table of stars with these readings; inverse of `inputs`."""
        return as_table(inputs, self.abundances)

    def typical(self, inputs: Float[np.ndarray, "star input"]) -> np.ndarray:
        """Inputs of mean stars with about the same errors, and the same gaps."""
        x, n = np.asarray(inputs, float), len(self.abundances)
        error = np.column_stack([x[:, n:-2], x[:, -1]])
        seen = error > 0.0
        step = np.round(np.log(np.where(seen, error, 1.0)) / KIND) * KIND
        smallest, largest = (
            np.array([e] * n + [e_birth])
            for e, e_birth in ((MIN_ERROR, MIN_E_BIRTH), (MAX_ERROR, MAX_E_BIRTH))
        )
        error = np.where(seen, np.clip(np.exp(step), smallest, largest), 0.0)
        value = np.where(seen, np.asarray(self.centre), 0.0)
        return np.column_stack(
            [value[:, :-1], error[:, :-1], value[:, -1], error[:, -1]]
        )

    def blank(self) -> Float[Array, " input"]:
        """Inputs of a padding row: nothing is observed."""
        return jnp.zeros(2 * len(self.abundances) + 2)


def _diagonal(covariance: Array) -> Array:
    return jnp.stack([covariance[i, i] for i in range(len(covariance))])


def columns_of(abundances: tuple[str, ...], stars: Stars, name: str) -> Stars:
    """The stars with the columns that a network reads.

    Raises:
        CatalogError: another abundance is observed.
    """
    seen = np.flatnonzero(np.asarray(stars.observed).any(axis=0))
    others = [a for a in map(stars.abundances.__getitem__, seen) if a not in abundances]
    if others:
        raise CatalogError(
            f"{name}: this posterior network reads {', '.join(abundances)}; got "
            f"{', '.join(others)}. Name a yield set that has these elements (--yields, "
            "such as nkt13+k10+w7), or leave them out: stars.select("
            f"{'cs.ABUNDANCES' if abundances == ABUNDANCES else abundances})."
        )
    return stars.select(abundances)


def as_table(
    inputs: Float[np.ndarray, "star input"], abundances: Sequence[str] = ABUNDANCES
) -> Stars:
    """A table of the stars with these readings (`AnyStarReader.inputs`)."""
    n = np.shape(inputs)[1] // 2 - 1
    values, errors, dates = np.split(np.asarray(inputs), [n, -2], axis=1)
    seen = errors > 0.0
    values, errors = (np.where(seen, x, np.nan) for x in (values, errors))
    time, e_time = np.where(dates[:, 1:] > 0.0, dates, np.nan).T
    ids = np.arange(1, len(values) + 1).astype(str)
    names = AbundanceNames(abundances)
    return Stars(values, errors, seen, time, e_time, ids, abundances=names)


def count_widened(reader: object, stars: Stars) -> int:
    """Stars with an error below the smallest of the training, as which it counts."""
    small = np.asarray(stars.observed) & (np.asarray(stars.errors) < MIN_ERROR)
    return 0 if isinstance(reader, OneErrorReader) else int(small.any(axis=1).sum())


def _gaps(
    values: np.ndarray, errors: np.ndarray, smallest: float, largest: float
) -> tuple[np.ndarray, np.ndarray]:
    """Values and errors with zeros in gaps."""
    values, errors = np.asarray(values, float), np.asarray(errors, float)
    known = np.isfinite(values) & np.isfinite(errors) & (errors <= largest)
    errors = np.where(known, np.maximum(errors, smallest), 0.0)
    return np.where(known, values, 0.0), errors


def require_complete(
    stars: Stars, sigma: float = 0.05, atol: float = 1e-3, name: str = "star table"
) -> None:
    """Refuse stars that a network for eight abundances of one fixed error can't use.

    Args:
        stars: as read.
        sigma: error [dex] that the network was trained for.
        atol: largest difference [dex] from it.
        name: of the table, for the message.

    Raises:
        CatalogError: naming the first star and column that don't fit.
    """
    remedy = (
        f"This network supports all eight abundances with {sigma:g} dex errors only; "
        "tng-any supports others (--weights tng-any)"
    )
    missing = np.asarray(~stars.observed)
    _raise_for_stars(name, stars, missing, f"the abundance is missing. {remedy}.")
    other = np.abs(stars.errors - sigma) > atol
    first = stars.errors[np.unravel_index(np.argmax(other), other.shape)]
    _raise_for_stars(name, stars, other, f"the error is {first:g} dex. {remedy}.")


def _raise_for_stars(name: str, stars: Stars, bad: np.ndarray, problem: str) -> None:
    if not bad.any():
        return
    columns = np.nonzero(bad)[1]
    names = [ABUNDANCES[i] for i in np.unique(columns)]
    raise_for_rows(
        name, stars.ids, np.asarray(bad.any(axis=1)), ABUNDANCES[columns[0]],
        f"{problem} Such columns: {', '.join(names)}.",
    )  # fmt: skip
