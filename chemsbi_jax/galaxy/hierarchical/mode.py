"""The mode of psi: each round expands the readings anew where the last one ended.

The first rounds have no outliers, so that no star is given up before the shared
parameters had a chance to explain it.
"""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float
from scipy.optimize import minimize
from tqdm import tqdm

from chemsbi_jax.galaxy.hierarchical.expansion import Expansion, expand
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.shared_density import (
    SharedDensity,
    last_axis,
    make_density,
    padded_length,
    to_psi,
)
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.tangent import star_modes
from chemsbi_jax.types import AnyArray

SOBER_ROUNDS, ROUNDS = 8, 12  # at most, without and with outliers
FIRST_SCATTER = 1.5  # prior widths: no star is far off at the start
FIRST_WIDTH = 0.3  # of psi, in prior widths, before there is a curvature
REACH = 3.0  # widths of a round in each whitened coordinate
CLOSE = 0.35  # widths of a round that ends the search, as rms over the coordinates
N_EVALUATIONS = 80
DIFFERENCE = 0.1  # widths, of the gradients that make the curvature
FLATTEST = 0.02  # curvature in whitened coordinates


class Mode(NamedTuple):
    """The mode of psi, with the curvature there."""

    psi: Float[np.ndarray, " psi"]
    covariance: Float[np.ndarray, "psi psi"]
    local: Float[np.ndarray, "star 4"]  # modes of the stars
    expansion: Expansion
    step: float  # of the last round, in posterior widths
    rounds: int


def find_shared_mode(
    stars: Star, model: Model, layout: Layout, *, quiet: bool = True
) -> Mode:
    """Mode of psi; every round ends at the mode of its own expansion."""
    sober = dataclasses.replace(
        layout, outlier_share=jnp.zeros_like(layout.outlier_share)
    )
    psi = np.zeros(len(layout.scale))
    psi[layout.slices()["scatter"]] = FIRST_SCATTER
    covariance = FIRST_WIDTH**2 * np.eye(len(psi))
    local = np.zeros((len(stars.values), N_LOCAL), np.float32)
    total = 0
    with tqdm(total=ROUNDS, desc="mode", unit="round", disable=quiet) as bar:
        for now, most in ((sober, SOBER_ROUNDS), (layout, ROUNDS)):
            while total < most:
                before = psi
                local, expansion = expand_at(stars, local, model, now, psi, covariance)
                psi, covariance = _climb(stars, expansion, now, psi, covariance)
                away = np.linalg.solve(np.linalg.cholesky(covariance), psi - before)
                step, total = float(np.sqrt((away**2).mean())), total + 1
                bar.update()
                if step < CLOSE:
                    break
    local, expansion = expand_at(stars, local, model, layout, psi, covariance)
    return Mode(psi, covariance, local, expansion, step, total)


def expand_at(
    stars: Star,
    local: Float[np.ndarray, "star 4"],
    model,
    layout: Layout,
    psi,
    covariance,
) -> tuple[Float[np.ndarray, "star 4"], Expansion]:
    """Modes of all stars at one psi, from a first guess, and the expansion there.

    The expansion is filled up to the length of `last_axis`.
    """
    local = star_modes(stars, local, model, layout, psi)
    found = expand(stars, local, model, layout, psi, covariance)
    fill = np.arange(padded_length(len(local))) % len(local)
    by_star = {k: getattr(found, k)[..., fill] for k in Expansion._fields[2:]}
    return local, found._replace(**by_star)


def _climb(stars, expansion, layout: Layout, psi, covariance):
    """Mode of one expansion within reach, and the inverse curvature there."""
    rows, n = last_axis(stars), len(stars.values)
    density = make_density(rows, expansion, layout, psi, covariance, n)

    def loss(at: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = _value_and_slope(density, jnp.asarray(at, jnp.float32))
        return -float(value), -np.asarray(slope, float)

    found = minimize(
        loss,
        np.zeros(len(psi)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(-REACH, REACH)] * len(psi),
        options={"maxfun": N_EVALUATIONS, "maxcor": 30},
    )
    return to_psi(density, found.x), inverse_curvature(density, found.x)


def inverse_curvature(
    density: SharedDensity, at: Float[np.ndarray, " psi"]
) -> Float[np.ndarray, "psi psi"]:
    """Covariance of psi of the normal with the curvature at coordinates `at`.

    Differences of gradients take a fraction of the compilation of second derivatives.
    """
    n = len(at)
    steps = DIFFERENCE * np.concatenate([np.eye(n), -np.eye(n)])
    slopes = np.asarray(_slopes(density, jnp.asarray(at + steps, jnp.float32)), float)
    curvature = (slopes[n:] - slopes[:n]) / (2.0 * DIFFERENCE)
    values, axes = np.linalg.eigh(0.5 * (curvature + curvature.T))
    widths = 1.0 / np.maximum(np.abs(values), FLATTEST)
    factor = np.asarray(density.factor, float) @ axes
    return (factor * widths) @ factor.T


@jax.jit
def _value_and_slope(density: SharedDensity, at: Array) -> tuple[AnyArray, AnyArray]:
    return density.value_and_slope(at)


@jax.jit
def _slopes(density: SharedDensity, at: Array) -> AnyArray:
    return lax.map(lambda x: density.value_and_slope(x)[1], at)
