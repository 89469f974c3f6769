"""A first normal approximation of psi: Newton steps with every star a normal."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from tqdm import tqdm

from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.marginal import laplace_marginal
from chemsbi_jax.galaxy.hierarchical.proposals import N_LOCAL, Anchor, find_anchor
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star

MAX_ROUNDS = 40
MOST = 1.0  # prior widths of a step in each latent
ROUGH, CLOSE = 3.0, 0.3  # posterior widths that are left, without outliers and at last
FIRST_DAMPING, STUCK = 30.0, 1e4  # in units of the prior's curvature
FIRST_SCATTER = 2.0  # prior widths: no star is far off at the start
FLATTEST = 0.7  # curvature, of the prior's


class Mode(NamedTuple):
    """The mode of psi, with the curvature there."""

    psi: Float[np.ndarray, " psi"]
    covariance: Float[np.ndarray, "psi psi"]
    anchors: Anchor  # of all stars, near it
    log_posterior: float
    step: float  # Newton's next one, in posterior widths
    rounds: int


def find_shared_mode(
    stars: Star, model: Model, layout: Layout, *, quiet: bool = True
) -> Mode:
    """Mode of psi by Newton steps; each round linearises the stars anew.

    The first rounds have no outliers, so that no star is given up before the shared
    parameters had a chance to explain it.
    """
    sober = Layout(layout.scale, jnp.zeros_like(layout.outlier_share), layout.sizes)
    psi = np.zeros(len(layout.scale))
    psi[layout.slices()["scatter"]] = FIRST_SCATTER
    local = np.zeros((len(stars.values), N_LOCAL), np.float32)
    with tqdm(total=2 * MAX_ROUNDS, desc="mode", unit="step", disable=quiet) as bar:
        for now, close in ((sober, ROUGH), (layout, CLOSE)):
            mode = _climb(stars, local, model, now, psi, close, bar)
            psi, local = mode.psi, mode.anchors.mode
    return mode


def _climb(stars, local, model, layout: Layout, psi, close: float, bar) -> Mode:
    """Levenberg's damped steps, each kept if the log posterior rises."""
    anchors = anchor_stars(stars, local, model, layout, psi)
    value, slope, curvature = log_posterior_parts(stars, anchors, layout, psi)
    damping = FIRST_DAMPING
    for n_steps in range(MAX_ROUNDS + 1):
        precision = positive(-curvature)
        step = np.linalg.solve(precision + damping * np.eye(len(psi)), slope)
        step *= min(1.0, MOST / np.abs(step).max())
        size = float(np.sqrt(slope @ np.linalg.solve(precision, slope)))
        if size < close or damping > STUCK or n_steps == MAX_ROUNDS:
            break
        trial = anchor_stars(stars, anchors.mode, model, layout, psi + step)
        found = log_posterior_parts(stars, trial, layout, psi + step)
        is_better = found[0] > value
        if is_better:
            psi, anchors, (value, slope, curvature) = psi + step, trial, found
        damping = float(np.clip(damping * (0.3 if is_better else 5.0), 1e-2, 1e5))
        bar.update()
    covariance = np.linalg.inv(positive(-curvature))
    return Mode(psi, covariance, anchors, value, size, n_steps)


def anchor_stars(
    stars: Star, local: Float[np.ndarray, "star 4"], model: Model, layout: Layout, psi
) -> Anchor:
    """Modes of all stars at one psi."""
    at = jnp.asarray(psi, jnp.float32)
    return in_blocks(_anchors, (stars, local), model, layout, at)


def _anchors(block, model: Model, layout: Layout, psi: Array) -> Anchor:
    return jax.vmap(lambda s, x: find_anchor(s, model, layout, psi, x))(*block)


def log_posterior_parts(
    stars: Star, anchors: Anchor, layout: Layout, psi: Float[np.ndarray, " psi"]
) -> tuple[float, Float[np.ndarray, " psi"], Float[np.ndarray, "psi psi"]]:
    """Log posterior of psi with slope and curvature, summed in float64."""
    at = jnp.asarray(psi, jnp.float32)
    parts = in_blocks(_derivatives, (stars, anchors), layout, at)
    value, slope, curvature = (np.asarray(x, float).sum(axis=0) for x in parts)
    value = float(value - 0.5 * psi @ psi)
    return value, slope - psi, curvature - np.eye(len(psi))


def _derivatives(block, layout: Layout, psi: Array):
    def one(star: Star, anchor: Anchor):
        def value(psi: Array) -> Array:
            return laplace_marginal(star, anchor, layout, psi)

        return value(psi), jax.grad(value)(psi), jax.hessian(value)(psi)

    return jax.vmap(one)(*block)


def positive(matrix: Float[np.ndarray, "psi psi"]) -> Float[np.ndarray, "psi psi"]:
    """A positive matrix: eigenvalues by their size, at least `FLATTEST`."""
    values, axes = np.linalg.eigh(matrix)
    return (axes * np.maximum(np.abs(values), FLATTEST)) @ axes.T
