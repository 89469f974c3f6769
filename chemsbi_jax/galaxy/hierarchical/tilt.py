"""A quadratic tilt of the density of psi towards the sampled marginal likelihoods.

The difference between the sampled and the expanded log likelihood of all stars is a
smooth function of psi with noise on it. A quadratic polynomial, fitted at draws of psi,
takes most of it out; importance weights need to carry only the rest.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from chemsbi_jax.types import AnyArray

BEYOND = 1.15  # of the largest radius of a draw: the reach
# standard deviations of the coefficients that are tried: first order, second order
SCALES = tuple((a, b) for a in (0.1, 0.3, 1.0) for b in (0.01, 0.03, 0.1, 0.3))


class Tilt(NamedTuple):
    """A quadratic polynomial in whitened coordinates of psi."""

    centre: Float[AnyArray, " psi"]
    whiten: Float[AnyArray, "psi psi"]
    slope: Float[AnyArray, " psi"]
    curve: Float[AnyArray, "psi psi"]

    reach: Float[AnyArray, ""]  # radius up to which the polynomial is trusted

    def value(self, psi: Float[AnyArray, " psi"]) -> Float[AnyArray, ""]:
        """Log density to add; a wall beyond the reach keeps chains from leaving."""
        x = self.whiten @ (psi - self.centre)
        radius = jnp.sqrt(jnp.sum(x**2) + 1e-12)
        x = x * jnp.minimum(1.0, self.reach / radius)
        wall = jnp.maximum(radius - self.reach, 0.0) ** 2
        return x @ self.slope + x @ self.curve @ x - wall


def no_tilt(n_psi: int) -> Tilt:
    """The tilt that adds nothing."""
    zero, none = np.zeros(n_psi, np.float32), np.zeros((n_psi, n_psi), np.float32)
    return Tilt(zero, np.eye(n_psi, dtype=np.float32), zero, none, np.float32(1e6))


def fit_tilt(
    psi: Float[np.ndarray, "draw psi"], difference: Float[np.ndarray, " draw"]
) -> tuple[Tilt, float]:
    """Ridge regression, with the scale of least error when each draw is left out.

    Args:
        psi: draws of the shared latents.
        difference: sampled less expanded log likelihood there.

    Returns:
        The tilt, and the standard deviation of what it leaves, in nats.
    """
    centre = psi.mean(axis=0)
    whiten = np.linalg.inv(np.linalg.cholesky(np.cov(psi.T)))
    x = (psi - centre) @ whiten.T
    first, second = np.triu_indices(psi.shape[1])
    products = x[:, first] * x[:, second]
    target = difference - difference.mean()
    scale = max(float(target.std()), 1e-3)
    best = min(
        (_leave_one_out(x, products, target, a * scale, b * scale) for a, b in SCALES),
        key=lambda found: found[0],
    )
    error, of_x, of_products = best
    curve = np.zeros((psi.shape[1],) * 2)
    curve[first, second] = of_products
    # new draws lie farther out than those that the covariance is estimated from
    n, p = psi.shape
    outside = np.sqrt(n / max(n - p - 1, 1))
    reach = BEYOND * outside * np.sqrt((x**2).sum(axis=1).max())
    found = Tilt(centre, whiten, of_x, 0.5 * (curve + curve.T), reach)
    return Tilt(*(np.asarray(part, np.float32) for part in found)), error


def _leave_one_out(x, products, target, a: float, b: float):
    """Error of each draw predicted by the others (rms), and the coefficients."""
    kernel = a**2 * x @ x.T + b**2 * products @ products.T
    kernel += np.mean(np.diag(kernel)) + a**2  # a constant that is free
    noise = 0.25 * target.var()
    inverse = np.linalg.inv(kernel + noise * np.eye(len(target)))
    weights = inverse @ target
    error = float(np.sqrt(np.mean((weights / np.diag(inverse)) ** 2)))
    return error, a**2 * x.T @ weights, b**2 * products.T @ weights
