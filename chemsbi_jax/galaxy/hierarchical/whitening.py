"""Coordinates of psi whose covariance is near the identity."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from chemsbi_jax.types import AnyArray


class Whitening(NamedTuple):
    """A linear map between coordinates and the latents of the shared parameters."""

    centre: Float[AnyArray, " psi"]  # latents where the coordinates are 0
    factor: Float[AnyArray, "psi psi"]  # lower Cholesky factor of their covariance

    def psi(self, at: Float[AnyArray, "*b psi"]) -> Float[AnyArray, "*b psi"]:
        """Latents of coordinates."""
        return self.centre + at @ self.factor.T

    def psi_on_host(
        self, at: Float[np.ndarray, "*b psi"]
    ) -> Float[np.ndarray, "*b psi"]:
        """The same in float64."""
        return np.asarray(self.centre, float) + at @ np.asarray(self.factor, float).T

    def coordinates(
        self, psi: Float[np.ndarray, "chain psi"]
    ) -> Float[np.ndarray, "chain psi"]:
        """Coordinates of latents, in float64."""
        away = psi - np.asarray(self.centre, float)
        return np.linalg.solve(np.asarray(self.factor, float), away.T).T

    def moved(self, centre: Float[np.ndarray, " psi"]) -> "Whitening":
        """The same units around another centre."""
        return self._replace(centre=np.asarray(centre, np.float32))


def make_whitening(
    centre: Float[np.ndarray, " psi"], covariance: Float[np.ndarray, "psi psi"]
) -> Whitening:
    """The coordinates of a mean and a covariance, as float32 arrays."""
    factor = np.linalg.cholesky(covariance)
    return Whitening(np.asarray(centre, np.float32), np.asarray(factor, np.float32))
