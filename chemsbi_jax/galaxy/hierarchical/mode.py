"""The mode of psi, with the stars integrated out.

The first rounds have no outliers: at poor shared parameters, good stars would count as
outliers.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.optimize import minimize
from tqdm import tqdm

from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.galaxy.hierarchical.marginal import (
    MarginalDensity,
    make_marginal_density,
    make_points,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.whitening import make_whitening
from chemsbi_jax.types import AnyArray

ROUNDS_WITHOUT_OUTLIERS, ROUNDS = 2, 6  # at the start; at most in all
FIRST_SCATTER = 1.5  # prior widths: no star is far off at the start
REACH = 5.0  # widths of a round in each whitened coordinate
CLOSE = 0.1  # gain of a round that ends the search [nats]
N_POINTS = 1024
N_EVALUATIONS = 80
DIFFERENCE = 0.2  # widths, of the gradients that make the curvature
FLATTEST = 0.3  # curvature in whitened coordinates
PRIOR_SHARE = 0.01  # of the prior's covariance, as that of few draws has no inverse
FAR_DOWN = 1e10  # loss where the density is no number [nats]


class Mode(NamedTuple):
    """The mode of psi."""

    psi: Float[np.ndarray, " psi"]
    covariance: Float[np.ndarray, "psi psi"]  # around it, see `with_curvature`
    value: float  # log posterior density there, up to a constant [nats]
    gain: float  # of the last round [nats]


def find_shared_mode(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    start: Float[np.ndarray, " psi"] | None = None,
    covariance: Float[np.ndarray, "psi psi"] | None = None,
    *,
    power: float = 1.0,
    with_curvature: bool = True,
    quiet: bool = True,
) -> Mode:
    """Mode of psi, by rounds of L-BFGS in whitened coordinates.

    Args:
        key: determines the points of the stars' integrals.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        start: psi of the first round; None takes the middle of the prior, with more
            scatter.
        covariance: sets the coordinates of all rounds (with 1 % of the prior's), such
            as that of draws by the network. None takes the curvature where the last
            round ended, which takes four times as long.
        power: factor of the log likelihood, see `SharedErrors.model_stars`.
        with_curvature: the covariance of the result is the inverse curvature at the
            mode. It is too small in a direction in which the density has over 1.8 times
            the width of the coordinates (`FLATTEST`). False: it is that of the
            coordinates, which takes no further gradients.
        quiet: no progress bar.
    """
    without_outliers = dataclasses.replace(
        layout, outlier_share=jnp.zeros_like(layout.outlier_share)
    )
    points = make_points(key, N_POINTS)
    psi = _first(layout) if start is None else np.asarray(start, float)
    axes = make_whitening(psi, _with_prior(covariance, len(psi)))
    density = make_marginal_density(stars, model, layout, points, axes, power)
    for i in tqdm(range(ROUNDS), desc="mode", unit="round", disable=quiet):
        now = without_outliers if i < ROUNDS_WITHOUT_OUTLIERS else layout
        axes = axes.moved(psi)
        density = density._replace(layout=now, whitening=axes)
        if covariance is None:
            axes = make_whitening(psi, inverse_curvature(density))
            density = density._replace(whitening=axes)
        psi, value, gain = _climb(density)
        if gain < CLOSE and i >= ROUNDS_WITHOUT_OUTLIERS:
            break
    density = density._replace(whitening=axes.moved(psi))
    if not with_curvature:
        root = np.asarray(axes.factor, float)
        return Mode(psi, root @ root.T, value, gain)
    if covariance is not None:  # the widths at the mode may be others: measure twice
        axes = make_whitening(psi, inverse_curvature(density))
        density = density._replace(whitening=axes)
    return Mode(psi, inverse_curvature(density), value, gain)


def start_from(
    latents: Float[np.ndarray, "draw psi"],
) -> tuple[Float[np.ndarray, " psi"], Float[np.ndarray, "psi psi"]]:
    """`start` and `covariance` of a search, from draws by the network."""
    return latents.mean(axis=0), np.cov(latents, rowvar=False)


def _with_prior(
    covariance: Float[np.ndarray, "psi psi"] | None, n: int
) -> Float[np.ndarray, "psi psi"]:
    """A covariance that has an inverse; that of the prior if there is none."""
    if covariance is None:
        return np.eye(n)
    return (1.0 - PRIOR_SHARE) * covariance + PRIOR_SHARE * np.eye(n)


def _first(layout: Layout) -> Float[np.ndarray, " psi"]:
    psi = np.zeros(len(layout.scale))
    psi[layout.slices()["scatter"]] = FIRST_SCATTER
    return psi


def _climb(density: MarginalDensity) -> tuple[Float[np.ndarray, " psi"], float, float]:
    """Mode within reach, the log density there, and how much higher it is."""
    values: list[float] = []

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _at(density, at)
        values.append(value)
        if not (np.isfinite(value) and np.isfinite(slope).all()):
            return FAR_DOWN, np.zeros_like(slope)  # the search takes a shorter step
        return -value, -slope

    n = len(density.whitening.centre)
    found = minimize(
        loss,
        np.zeros(n),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-REACH, REACH)] * n,
        options={"maxfun": N_EVALUATIONS, "maxcor": 30},
    )
    best = -float(found.fun)
    return density.whitening.psi_on_host(found.x), best, best - values[0]


def inverse_curvature(
    density: MarginalDensity,
) -> Float[np.ndarray, "psi psi"]:
    """Covariance of psi of the normal with the curvature at the centre.

    Differences of gradients, of the program that the search calls, too: one of second
    derivatives takes long to compile.

    Args:
        density: its whitening has the centre, and the units of the differences.
    """
    n = len(density.whitening.centre)
    forward = np.stack([_at(density, x)[1] for x in DIFFERENCE * np.eye(n)])
    back = np.stack([_at(density, x)[1] for x in -DIFFERENCE * np.eye(n)])
    curvature = (forward - back) / (2.0 * DIFFERENCE)
    # a place beside the centre may have no density
    curvature = np.where(np.isfinite(curvature), curvature, 0.0)
    values, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
    variances = 1.0 / np.maximum(np.abs(values), FLATTEST)
    factor = np.asarray(density.whitening.factor, float) @ axes
    return (factor * variances) @ factor.T


def _at(
    density: MarginalDensity, at: Float[np.ndarray, " psi"]
) -> tuple[float, Float[np.ndarray, " psi"]]:
    """Log density of coordinates, and its gradient, on the host."""
    value, slope = _value_and_slope(density, jnp.asarray(at, jnp.float32))
    return float(value), np.asarray(slope, float)


# numpyro orders the numbers of a distribution by the hash of their names, which differs
# between processes: as arguments they would make another program in each of them, so
# none would be found in the compilation cache; `quick_jit` takes them as constants
@quick_jit
def _value_and_slope(density: MarginalDensity, at: Array) -> tuple[AnyArray, AnyArray]:
    return jax.value_and_grad(density.value)(at)
