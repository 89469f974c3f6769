"""The mode of psi by Fisher scoring: stars are linearised anew in every round.

The first rounds have no outliers, so that no star is given up before the shared
parameters had a chance to explain it.
"""

import dataclasses
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import expit
from tqdm import tqdm

from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.shared import Layout, unpack
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.tangent import Tangent, tangents
from chemsbi_jax.types import AnyArray

SOBER_ROUNDS, ROUNDS = 8, 12  # at most, without and with outliers
FIRST_SCATTER = 1.5  # prior widths: no star is far off at the start
REACH = 1.5  # widths of a round, as rms over the coordinates
CLOSE = 0.1  # widths of a round that ends the search
SHORTER, LONGER, SHORTEST = 0.25, 2.0, 1e-3  # of a round, after a worse or a better one


class Place(NamedTuple):
    """The posterior of psi around one place, with linearised stars."""

    psi: Float[np.ndarray, " psi"]
    stars: Tangent
    value: float  # log posterior density
    covariance: Float[np.ndarray, "psi psi"]  # inverse of the information
    step: Float[np.ndarray, " psi"]  # of Fisher scoring from here
    size: float  # of the step, in posterior widths


def find_shared_mode(
    stars: Star,
    model: Model,
    layout: Layout,
    start: Float[np.ndarray, " psi"] | None = None,
    *,
    quiet: bool = True,
) -> Place:
    """Mode of psi, from the middle of the prior or from a first guess.

    A step that makes the density smaller is tried again with a fraction of its length.
    """
    sober = dataclasses.replace(
        layout, outlier_share=jnp.zeros_like(layout.outlier_share)
    )
    psi = _middle(layout) if start is None else np.asarray(start, float)
    local, total = np.zeros((len(stars.values), N_LOCAL), np.float32), 0
    with tqdm(total=ROUNDS, desc="mode", unit="round", disable=quiet) as bar:
        for now, most in ((sober, SOBER_ROUNDS), (layout, ROUNDS)):
            at, length = look_at(stars, local, model, now, psi), 1.0
            while total < most and at.size > CLOSE and length > SHORTEST:
                step = length * min(1.0, REACH / at.size) * at.step
                new = look_at(stars, at.stars.local, model, now, at.psi + step)
                total += 1
                bar.update()
                is_better = new.value >= at.value
                at = new if is_better else at
                length = min(1.0, length * (LONGER if is_better else SHORTER))
            psi, local = at.psi, at.stars.local
    return at


def _middle(layout: Layout) -> Float[np.ndarray, " psi"]:
    psi = np.zeros(len(layout.scale))
    psi[layout.slices()["scatter"]] = FIRST_SCATTER
    return psi


def look_at(
    stars: Star,
    local: Float[AnyArray, "star 4"],
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
) -> Place:
    """Density, gradient and information of psi at one place.

    Args:
        stars: `make_stars`.
        local: first guesses of the modes of the local latents.
        model: forward model and prior.
        layout: of psi.
        psi: latents of the shared parameters.
    """
    found = tangents(stars, local, model, layout, psi)
    log_outliers = float(unpack(jnp.asarray(psi), layout).log_outliers)
    # sums over stars in float64
    inlier = np.asarray(found.log_likelihood, float) + np.log1p(-np.exp(log_outliers))
    outlier = log_outliers + np.asarray(stars.log_broad, float)
    weight = expit(inlier - outlier)  # probability that a star is no outlier
    score = weight @ np.asarray(found.score, float) - psi
    information = np.tensordot(weight, np.asarray(found.information, float), 1)
    covariance = np.linalg.inv(information + np.eye(len(psi)))
    step = covariance @ score
    size = float(np.sqrt(step @ score / len(psi)))
    value = float(np.logaddexp(inlier, outlier).sum() - 0.5 * psi @ psi)
    return Place(psi, found, value, covariance, step, size)
