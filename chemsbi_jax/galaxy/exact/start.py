"""First guess of the exact method: the flow's posterior, or one that is given."""

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.amortised.flow import grid_posterior, is_far
from chemsbi_jax.galaxy.amortised.gaussian import gaussian_product
from chemsbi_jax.galaxy.amortised.uninformative import pad_informative
from chemsbi_jax.galaxy.exact.evidence import gaussian_constants
from chemsbi_jax.galaxy.exact.importance import Star, new_stars
from chemsbi_jax.galaxy.exact.laplace import laplace_evidence
from chemsbi_jax.galaxy.exact.polynomial import Design, design_factor, log_integral
from chemsbi_jax.galaxy.exact.posterior import REACH_SIGMA, Exact, exact_posterior
from chemsbi_jax.galaxy.exact.search import search_prior, sharpen
from chemsbi_jax.galaxy.likelihood import BAD, observe
from chemsbi_jax.npe.model import Npe, features
from chemsbi_jax.types import AnyArray, Forward, GalaxyPosterior, Stars

ROUGH_SIDE = 5  # points a side, of `laplace_log_evidence`


def exact_of_stars(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    stars: Stars,
    start: GalaxyPosterior | None = None,
    *,
    quiet: bool = True,
) -> Exact:
    """`exact_posterior` of a star table, from the flow's answer or another first guess.

    Gaps, any errors and birth times enter the likelihood. The flow is only a guide: one
    that was trained for a single error is given its training mean in the gaps.

    Args:
        key: determines the draws.
        npe: prior, and proposals for the local parameters.
        forward: theta (..., 6) -> abundances [dex].
        stars: checked (`check_stars`).
        start: first guess; None computes one with the network.
        quiet: no progress bar.
    """
    key_guess, key_exact = jax.random.split(key)
    inputs = npe.reader.rough_inputs(stars).astype(np.float32)
    padded, is_used = pad_informative(npe, inputs)
    if start is None:
        mean, covariance = _guess(key_guess, npe, padded, is_used)
    else:
        mean, covariance = _to_latents(npe, start)
    seen = np.asarray(_features(npe, padded))[: len(inputs)]
    return exact_posterior(
        key_exact, npe, forward, observe(stars), seen, mean, covariance, quiet=quiet
    )


def searched_guess(npe: Npe, forward: Forward, stars: Stars) -> GalaxyPosterior:
    """A first guess without draws, from some of the stars and the model's derivatives.

    A flow of other yields would be off by up to several prior widths.
    """
    table = _without_proposals(stars)
    place = search_prior(table, npe, forward)
    mean, covariance = sharpen(table, npe, forward, *place)
    shift, scale = priors.moments(tuple(npe.prior)[:N_GLOBAL])
    mean = shift + scale * np.asarray(mean, float)
    covariance = np.outer(scale, scale) * np.asarray(covariance, float)
    return GalaxyPosterior("guess", np.empty((0, N_GLOBAL)), mean, covariance, {})


def laplace_log_evidence(
    npe: Npe, forward: Forward, stars: Stars, guess: GalaxyPosterior
) -> float:
    """Evidence (ln Z) of all stars by Laplace's method for the local parameters.

    `log_evidence` without its draws: one evaluation of the design around the guess. The
    error is that of Gaussian posteriors of the local parameters.

    Args:
        npe: prior.
        forward: theta (..., 6) -> abundances [dex].
        stars: checked; none is left out.
        guess: `searched_guess`, the place and the width of the design.

    Returns:
        Natural log, of densities of dex; -inf where the model is undefined.
    """
    table = _without_proposals(stars)
    mean, covariance = _to_latents(npe, guess)
    design = Design(mean, design_factor(covariance, REACH_SIGMA), ROUGH_SIDE)
    found = laplace_evidence(table, npe, forward, design.points)
    gain = np.nan_to_num(np.asarray(found.log_likelihood, float), nan=BAD)
    total = gain.sum(axis=0)
    if total.max() < 0.5 * BAD:
        return -np.inf
    level = gaussian_constants(table.observed).sum()
    return float(log_integral(design, total) + level)


def _without_proposals(stars: Stars) -> Star:
    """The stars for Laplace's method, which needs neither draws nor a network."""
    n_stars = len(stars.values)
    blank = np.zeros((n_stars, 1), np.float32)
    keys = np.zeros((n_stars, 3, 1), np.uint32)
    return new_stars(keys, blank, observe(stars))


def _guess(
    key: Key[Array, ""], npe: Npe, inputs: Array, is_used: Array
) -> tuple[Float[AnyArray, " 2"], Float[AnyArray, "2 2"]]:
    gaussian = gaussian_product(key, npe, inputs, is_used)
    grid = grid_posterior(npe, inputs, is_used, gaussian)
    guess = gaussian if is_far(float(np.hypot(*np.asarray(grid.mean)))) else grid
    return guess.mean, guess.covariance


def _to_latents(
    npe: Npe, start: GalaxyPosterior
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, "2 2"]]:
    scale = np.array([float(d.variance) ** 0.5 for d in npe.prior[:N_GLOBAL]])
    centre = np.array([float(d.mean) for d in npe.prior[:N_GLOBAL]])
    mean = (np.asarray(start.mean) - centre) / scale
    return mean, np.asarray(start.covariance) / np.outer(scale, scale)


def features_of(npe: Npe, stars: Stars) -> Float[np.ndarray, "star feature"]:
    """What the network's proposals depend on, for each star of a table."""
    inputs = npe.reader.rough_inputs(stars).astype(np.float32)
    padded, _ = pad_informative(npe, inputs)
    return np.asarray(_features(npe, padded))[: len(inputs)]


@eqx.filter_jit
def _features(npe: Npe, inputs: Array) -> Array:
    return features(npe, inputs).T
