"""The most probable shared parameters, by Newton steps on linearised stars."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from tqdm import tqdm

from chemsbi_jax.galaxy.hierarchical.blocks import in_blocks
from chemsbi_jax.galaxy.hierarchical.marginal import linear_marginal
from chemsbi_jax.galaxy.hierarchical.proposals import (
    Linear,
    Proposal,
    linearise,
    propose,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star

MAX_ROUNDS, INNER_STEPS = 15, 3
MOST = 1.0  # prior widths of a step in each latent
CLOSE = 0.1  # posterior widths of a last step
FIRST_SCATTER = 2.0  # prior widths: no star is far off at the start


class Prepared(NamedTuple):
    """Stars with what makes their likelihood cheap near one psi."""

    star: Star
    proposal: Proposal
    linear: Linear


class Mode(NamedTuple):
    """The mode of psi, with the curvature there."""

    psi: Float[np.ndarray, " psi"]
    precision: Float[np.ndarray, "psi psi"]
    prepared: Prepared  # near it
    step: float  # the last one, in posterior widths
    rounds: int


def find_shared_mode(
    keys: Key[Array, " star"],
    stars: Star,
    model: Model,
    layout: Layout,
    n_draws: int,
    *,
    quiet: bool = True,
) -> Mode:
    """Mode of psi by Newton steps; each round linearises the stars anew.

    The first rounds have no outliers, so that no star is given up before the shared
    parameters had a chance to explain it.
    """
    sober = Layout(layout.scale, jnp.zeros_like(layout.outlier_share), layout.sizes)
    psi = np.zeros(len(layout.scale))
    psi[layout.slices()["scatter"]] = FIRST_SCATTER
    local = np.zeros((len(stars.values), 4), np.float32)
    step = np.inf
    bar = tqdm(total=MAX_ROUNDS, desc="mode", unit=" rounds", disable=quiet)
    for i in range(MAX_ROUNDS):
        is_first = i < 2
        now = sober if is_first else layout
        prepared = prepare(keys, stars, local, model, now, psi, n_draws)
        local = prepared.proposal.mode
        start, psi, precision = psi, *_newton(prepared, now, psi)
        step = float(np.sqrt((psi - start) @ precision @ (psi - start)))
        bar.update()
        if step < CLOSE and not is_first:
            break
    bar.close()
    return Mode(psi, precision, prepared, step, i + 1)


def prepare(
    keys: Key[Array, " star"],
    stars: Star,
    local: Float[np.ndarray, "star 4"],
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
    n_draws: int,
) -> Prepared:
    """Proposals of all stars around one psi, and their readings to first order."""
    at = jnp.asarray(psi, jnp.float32)
    found = in_blocks(_prepare, (keys, stars, local), model, layout, at, n_draws)
    return Prepared(stars, *found)


def _prepare(block, model, layout, psi, n_draws):
    def one(key, star, start) -> tuple[Proposal, Linear]:
        proposal = propose(key, star, model, layout, psi, start, n_draws)
        return proposal, linearise(star, proposal, model, layout)

    return jax.vmap(one)(*block)


def log_posterior_parts(
    prepared: Prepared, layout: Layout, psi: Float[np.ndarray, " psi"]
) -> tuple[float, Float[np.ndarray, " psi"], Float[np.ndarray, "psi psi"]]:
    """Linearised log posterior of psi with slope and curvature, summed in float64."""
    at = jnp.asarray(psi, jnp.float32)
    parts = in_blocks(_derivatives, prepared, layout, at)
    value, slope, curvature = (np.asarray(x, float).sum(axis=0) for x in parts)
    return (
        value - 0.5 * psi @ psi,
        slope - psi,
        curvature - np.eye(len(psi)),
    )


def _derivatives(prepared: Prepared, layout: Layout, psi: Array):
    def one(part: Prepared):
        def value(psi: Array) -> Array:
            return linear_marginal(*part, layout, psi)

        return value(psi), jax.grad(value)(psi), jax.hessian(value)(psi)

    return jax.vmap(one)(prepared)


def _newton(prepared: Prepared, layout: Layout, psi):
    """A few damped steps within the range of the linearisation."""
    for _ in range(INNER_STEPS):
        _, slope, curvature = log_posterior_parts(prepared, layout, psi)
        precision = positive(-curvature)
        step = np.linalg.solve(precision, slope)
        size = np.abs(step).max()
        psi = psi + step * min(1.0, MOST / size)
        if step @ precision @ step < CLOSE**2:
            break
    return psi, precision


def positive(matrix: Float[np.ndarray, "psi psi"]) -> Float[np.ndarray, "psi psi"]:
    """The nearest matrix whose eigenvalues are those of a prior or larger."""
    values, axes = np.linalg.eigh(matrix)
    return (axes * np.maximum(np.abs(values), 0.5)) @ axes.T
