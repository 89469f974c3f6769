"""The mode of psi, with the stars integrated out.

The first rounds have no outliers, so that no star is given up before the shared
parameters had a chance to explain it.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.optimize import minimize
from tqdm import tqdm

from chemsbi_jax.galaxy.hierarchical.marginal import (
    MarginalDensity,
    make_marginal_density,
    make_points,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.whitening import make_whitening
from chemsbi_jax.types import AnyArray

SOBER_ROUNDS, ROUNDS = 2, 6  # without outliers, and at most in all
FIRST_SCATTER = 1.5  # prior widths: no star is far off at the start
REACH = 5.0  # widths of a round in each whitened coordinate
CLOSE = 0.1  # gain of a round that ends the search [nats]
N_POINTS = 1024
N_EVALUATIONS = 80
DIFFERENCE = 0.2  # widths, of the gradients that make the curvature
FLATTEST = 0.3  # curvature in whitened coordinates
ROUGH_ROUNDS = (0, SOBER_ROUNDS)  # that find the curvature, in a rough search
FAR_DOWN = 1e10  # loss where the density is no number [nats]


class Mode(NamedTuple):
    """The mode of psi."""

    psi: Float[np.ndarray, " psi"]
    covariance: Float[np.ndarray, "psi psi"]  # of a normal density around it
    value: float  # log posterior density there, up to a constant [nats]
    gain: float  # of the last round [nats]


def find_shared_mode(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    start: Float[np.ndarray, " psi"] | None = None,
    *,
    power: float = 1.0,
    rough: bool = False,
    quiet: bool = True,
) -> Mode:
    """Mode of psi; each round has the curvature where the last one ended.

    Args:
        key: determines the points of the stars' integrals.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        start: psi of the first round; None takes the middle of the prior, with more
            scatter.
        power: factor of the log likelihood, see `SharedErrors.model_stars`.
        rough: find the curvature in `ROUGH_ROUNDS` only, by forward differences. The
            mode is the same, in half of the time; `covariance` is only an estimate.
        quiet: no progress bar.
    """
    sober = dataclasses.replace(
        layout, outlier_share=jnp.zeros_like(layout.outlier_share)
    )
    points = make_points(key, N_POINTS)
    psi = _first(layout) if start is None else np.asarray(start, float)
    axes = make_whitening(psi, np.eye(len(psi)))
    density = make_marginal_density(stars, model, layout, points, axes, power)
    for i in tqdm(range(ROUNDS), desc="mode", unit="round", disable=quiet):
        now = sober if i < SOBER_ROUNDS else layout
        axes = axes.moved(psi)
        density = density._replace(layout=now, whitening=axes)
        if not rough or i in ROUGH_ROUNDS:
            axes = make_whitening(psi, inverse_curvature(density, central=not rough))
            density = density._replace(whitening=axes)
        psi, value, gain = _climb(density)
        if gain < CLOSE and i >= SOBER_ROUNDS:
            break
    if rough:
        root = np.asarray(axes.factor, float)
        return Mode(psi, root @ root.T, value, gain)
    density = density._replace(whitening=axes.moved(psi))
    return Mode(psi, inverse_curvature(density), value, gain)


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
    density: MarginalDensity, *, central: bool = True
) -> Float[np.ndarray, "psi psi"]:
    """Covariance of psi of the normal with the curvature at the centre.

    Differences of gradients, of the program that the search calls, too: one of second
    derivatives takes long to compile.

    Args:
        density: its whitening has the centre, and the units of the differences.
        central: differences of both sides; else forward ones, with half the gradients.
    """
    n = len(density.whitening.centre)
    forward = np.stack([_at(density, x)[1] for x in DIFFERENCE * np.eye(n)])
    if central:
        back = np.stack([_at(density, x)[1] for x in -DIFFERENCE * np.eye(n)])
        curvature = (forward - back) / (2.0 * DIFFERENCE)
    else:
        curvature = (forward - _at(density, np.zeros(n))[1]) / DIFFERENCE
    # a place beside the centre may have no density
    curvature = np.where(np.isfinite(curvature), curvature, 0.0)
    values, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
    widths = 1.0 / np.maximum(np.abs(values), FLATTEST)
    factor = np.asarray(density.whitening.factor, float) @ axes
    return (factor * widths) @ factor.T


def _at(
    density: MarginalDensity, at: Float[np.ndarray, " psi"]
) -> tuple[float, Float[np.ndarray, " psi"]]:
    """Log density of coordinates, and its gradient, on the host."""
    value, slope = _value_and_slope(density, jnp.asarray(at, jnp.float32))
    return float(value), np.asarray(slope, float)


# numpyro orders the numbers of a distribution by the hash of their names, which differs
# between processes: as arguments they would make another program in each of them, so
# none would be found in the compilation cache; `filter_jit` takes them as constants
@eqx.filter_jit
def _value_and_slope(density: MarginalDensity, at: Array) -> tuple[AnyArray, AnyArray]:
    return jax.value_and_grad(density.value)(at)
