"""Marginal likelihood of stars by Laplace's method: rough, smooth, and without draws.

Importance sampling needs proposals that fit. A network of other yields proposes local
parameters far from those of a star, all weight falls on one of the draws, and their sum
is noise. Here the local parameters are fitted to the star by the forward model's own
derivatives, so that a search over the whole prior does not need a network.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from chemsbi_jax import priors
from chemsbi_jax.galaxy.exact.blocks import BLOCK_STARS, POINTS_PER_CALL, in_blocks
from chemsbi_jax.galaxy.exact.importance import Evidence, Star
from chemsbi_jax.galaxy.likelihood import log_likelihood, standardised
from chemsbi_jax.galaxy.small import cholesky, solve_positive
from chemsbi_jax.npe.model import N_LOCAL, Npe
from chemsbi_jax.types import Forward

N_STEPS = 10  # of the fit
# local latents at which the fits start: stars may have two solutions along the first
STARTS = ((-1.0, 0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0))
FIRST_DAMPING, LESS, MORE = 1e-2, 0.2, 5.0  # of the fit, and its factors
FARTHEST = 4.5  # prior widths: the emulators end at 5


def laplace_evidence(
    stars: Star,
    npe: Npe,
    forward: Forward,
    points: Float[np.ndarray, "2 point"],
    most: int = BLOCK_STARS,
) -> Evidence:
    """`evidence_at` by Laplace's method; the chi2 is that of the best fit.

    Args:
        stars: their proposals do not matter.
        npe: its prior.
        forward: theta (..., 6) -> abundances [dex].
        points: global latents.
        most: largest number of stars a call.
    """
    n_points = points.shape[1]
    columns = np.arange(n_points + -n_points % POINTS_PER_CALL) % n_points
    parts = [
        in_blocks(_of_stars, stars, npe, forward, points[:, some], most=most)
        for some in columns.reshape(-1, POINTS_PER_CALL)
    ]
    value = np.concatenate([p[0] for p in parts], axis=1)[:, :n_points]
    chi2 = np.min([p[1] for p in parts], axis=0)
    return Evidence(value, np.ones_like(value), np.ones_like(chi2), chi2)


def _of_stars(
    stars: Star, npe: Npe, forward: Forward, points: Float[Array, "2 point"]
) -> tuple[Float[Array, "star point"], Float[Array, " star"]]:
    def one(star: Star) -> tuple[Array, Array]:
        value, chi2 = jax.vmap(lambda at: _at_point(star, npe, forward, at))(points.T)
        return value, chi2.min()

    return lax.map(one, stars)


def _at_point(
    star: Star, npe: Npe, forward: Forward, point: Float[Array, " 2"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Largest log evidence and smallest chi2 of one star over the fits."""

    def theta_at(local: Array) -> Array:
        return priors.from_normal(npe.prior, jnp.concatenate([point, local]))

    def residuals(local: Array) -> Array:
        return standardised(forward, theta_at(local), star.observed)

    def cost_at(local: Array) -> tuple[Array, Array]:
        gain = log_likelihood(forward, theta_at(local), star.observed)
        return 0.5 * local @ local - gain, -2.0 * gain

    def curvature(local: Array) -> tuple[Array, Array]:
        slopes = jax.jacfwd(residuals)(local)
        slope = slopes.T @ residuals(local) + local
        return slope, slopes.T @ slopes + jnp.eye(N_LOCAL)

    def step(state: tuple, _: None) -> tuple:
        local, cost, damping = state
        slope, matrix = curvature(local)
        matrix = matrix + damping * jnp.diag(jnp.diagonal(matrix))
        moved = jnp.clip(local - solve_positive(matrix, slope), -FARTHEST, FARTHEST)
        new = cost_at(moved)[0]
        is_better = new < cost  # False for NaN
        damping = damping * jnp.where(is_better, LESS, MORE)
        local = jnp.where(is_better, moved, local)
        return (local, jnp.where(is_better, new, cost), damping), None

    def fit(start: Array) -> tuple[Array, Array]:
        state = (start, cost_at(start)[0], jnp.asarray(FIRST_DAMPING))
        (local, _, _), _ = lax.scan(step, state, None, length=N_STEPS)
        cost, chi2 = cost_at(local)
        root = cholesky(curvature(local)[1])
        return -cost - jnp.log(jnp.diagonal(root)).sum(), chi2

    value, chi2 = jax.vmap(fit)(jnp.array(STARTS))
    return value.max(), chi2.min()
