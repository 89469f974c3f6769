"""What is measured of the training stars: which readings, with which errors."""

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.npe.noise import SIGMA, add_noise
from chemsbi_jax.npe.reading import (
    MAX_E_BIRTH,
    MAX_ERROR,
    MIN_E_BIRTH,
    MIN_ERROR,
    N_ELEMENTS,
    AnyStarReader,
    OneErrorReader,
)

APOGEE = ("c_fe", "fe_h", "mg_fe", "n_fe", "o_fe", "si_fe")
GALAH = ("c_fe", "fe_h", "mg_fe", "o_fe", "si_fe")
# further abundances of both surveys, which networks of more than the eight read
APOGEE_MORE = ("na_fe", "al_fe", "s_fe", "ca_fe", "ti_fe", "mn_fe", "ni_fe")
GALAH_MORE = ("na_fe", "al_fe", "ca_fe", "ti_fe", "mn_fe", "ni_fe")
GALAH_ERRORS = (0.03, 0.15)  # dex
SHARE_DATED = 0.5  # of the stars of "any"

StarKind = Literal["any", "complete", "apogee", "galah"]
"""Which abundances and errors the stars have; "any" mixes them all."""


@dataclass(frozen=True)
class OneError:
    """All eight abundances with the same error."""

    sigma: float = SIGMA
    """Noise of every abundance [dex]."""

    def observe(
        self,
        key: Key[Array, ""],
        abundances: Float[Array, "n element"],
        birth_time: Float[Array, " n"],
    ) -> Float[Array, "n element"]:
        """Noisy abundances [dex]."""
        return add_noise(key, abundances, self.sigma)

    def blank_reader(self) -> OneErrorReader:
        """A reader that still has to learn its scaling."""
        n = N_ELEMENTS
        zeros, one = np.zeros(n, np.float32), np.eye(n, dtype=np.float32)
        # `jnp.asarray` would compile a program for each shape
        return OneErrorReader(*jax.device_put((zeros, one, np.float32(self.sigma))))

    def make_reader(
        self,
        inputs: Float[np.ndarray, "n 8"],
        abundances: Float[np.ndarray, "n 8"],
        birth_time: Float[np.ndarray, " n"],
    ) -> OneErrorReader:
        """A reader scaled by some stars."""
        matrix = np.linalg.inv(np.linalg.cholesky(np.cov(inputs, rowvar=False)))
        mean, matrix = (jnp.asarray(x) for x in (inputs.mean(axis=0), matrix))
        return OneErrorReader(mean, matrix, jnp.asarray(self.sigma))


@dataclass(frozen=True)
class AnyErrors:
    """Readings, errors and gaps that differ from star to star."""

    kind: StarKind = "any"
    """Which abundances and errors; "any" mixes them all."""
    dated: bool | None = None
    """Whether stars have birth times; None: half of them."""
    abundances: tuple[str, ...] = ABUNDANCES
    """What the forward model gives, in its order."""

    def observe(
        self,
        key: Key[Array, ""],
        abundances: Float[Array, "n element"],
        birth_time: Float[Array, " n"],
    ) -> Float[Array, "n input"]:
        """Readings with noise, their errors, and zeros in the gaps."""
        key_errors, key_noise, key_late = jax.random.split(key, 3)
        errors, e_birth = self.draw_errors(key_errors, len(abundances))
        values = add_noise(key_noise, abundances, errors)
        # a star that the model does not have stays NaN, and does not count
        values = jnp.where(errors > 0.0, values, 0.0 * abundances)
        time = birth_time + e_birth * jax.random.normal(key_late, birth_time.shape)
        time = jnp.where(e_birth > 0.0, time, 0.0)
        return jnp.column_stack([values, errors, time, e_birth])

    def draw_errors(
        self, key: Key[Array, ""], n: int
    ) -> tuple[Float[Array, "n element"], Float[Array, " n"]]:
        """Errors of the abundances [dex] and of the birth time [Gyr]; 0 is a gap."""
        key_any, key_galah, key_gaps, key_dated, key_birth = jax.random.split(key, 5)
        shape = n, len(self.abundances)
        errors, seen = jnp.full(shape, SIGMA), jnp.ones(shape, bool)
        if self.kind == "any":
            errors = _any_errors(key_any, *shape)
            seen = _any_gaps(key_gaps, n, self.abundances)
        elif self.kind != "complete":
            seen = seen & survey_mask(self.kind, self.abundances)
        if self.kind == "galah":
            errors = _log_uniform(key_galah, shape, *GALAH_ERRORS)
        share = SHARE_DATED if self.dated is None else float(self.dated)
        dated = jax.random.uniform(key_dated, (n,)) < share
        e_birth = _log_uniform(key_birth, (n,), MIN_E_BIRTH, MAX_E_BIRTH)
        return jnp.where(seen, errors, 0.0), jnp.where(dated, e_birth, 0.0)

    def blank_reader(self) -> AnyStarReader:
        """A reader that still has to learn its scaling."""
        n = len(self.abundances) + 1
        numbers = np.zeros(n), np.ones(n), np.eye(n)
        arrays = (jax.device_put(x.astype(np.float32)) for x in numbers)
        return AnyStarReader(*arrays, abundances=self.abundances)

    def make_reader(
        self,
        inputs: Float[np.ndarray, "n input"],
        abundances: Float[np.ndarray, "n element"],
        birth_time: Float[np.ndarray, " n"],
    ) -> AnyStarReader:
        """A reader scaled by some stars."""
        readings = np.column_stack([abundances, birth_time])
        centre, scale = readings.mean(axis=0), readings.std(axis=0)
        values, vectors = np.linalg.eigh(np.corrcoef(readings, rowvar=False))
        basis = vectors * np.sqrt(values)
        arrays = (jnp.asarray(x) for x in (centre, scale, basis))
        return AnyStarReader(*arrays, abundances=self.abundances)


Measurements = OneError | AnyErrors


def survey_mask(
    kind: StarKind, abundances: tuple[str, ...]
) -> Bool[np.ndarray, " element"]:
    """Which abundances the stars of a survey have."""
    surveys = {"apogee": APOGEE + APOGEE_MORE, "galah": GALAH + GALAH_MORE}
    return np.isin(abundances, surveys.get(kind, abundances))


def _any_errors(
    key: Key[Array, ""], n: int, n_elements: int
) -> Float[Array, "n element"]:
    """One error for all, a spread around one, one for each, or the usual 0.05."""
    keys = jax.random.split(key, 4)
    one = _log_uniform(keys[0], (n, 1), MIN_ERROR, MAX_ERROR)
    around = one * jnp.exp(0.5 * jax.random.normal(keys[1], (n, n_elements)))
    each = _log_uniform(keys[2], (n, n_elements), MIN_ERROR, MAX_ERROR)
    kind = jax.random.uniform(keys[3], (n, 1))
    errors = jnp.where(kind < 0.3, one, jnp.where(kind < 0.55, around, each))
    return jnp.where(kind > 0.85, SIGMA, jnp.clip(errors, MIN_ERROR, MAX_ERROR))


def _any_gaps(
    key: Key[Array, ""], n: int, abundances: tuple[str, ...]
) -> Bool[Array, "n element"]:
    """Complete stars, those of two surveys, and gaps at random."""
    key_kind, key_share, key_each = jax.random.split(key, 3)
    kind = jax.random.uniform(key_kind, (n, 1))
    share = jax.random.uniform(key_share, (n, 1), minval=0.1)
    some = jax.random.uniform(key_each, (n, len(abundances))) < share
    # nobody measures helium and neon in the stars that live long
    measured = ~np.isin(abundances, ("he_fe", "ne_fe"))
    kinds = [kind < 0.3, kind < 0.45, kind < 0.6, kind < 0.8]
    surveys = ("complete", "apogee", "galah")
    masks = [*(survey_mask(name, abundances) for name in surveys), some]
    return jnp.select(kinds, [jnp.broadcast_to(m, some.shape) for m in masks],
                      some & measured)  # fmt: skip


def _log_uniform(
    key: Key[Array, ""], shape: tuple[int, ...], low: float, high: float
) -> Array:
    return jnp.exp(jax.random.uniform(key, shape, float, np.log(low), np.log(high)))
