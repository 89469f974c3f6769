"""Draws of psi by NUTS, with the stars integrated out (`MarginalDensity`).

The chains have as many dimensions as psi, whatever the number of stars. Short chains
around the mode give the mean and, with the curvature there, the covariance of psi, in
whose units the chains with the kept draws run. Each chain has its own points for the
stars' integrals, so that r-hat shows the random part of their error. It does not show
what all chains have in common: the log of a mean over few points is low. The number of
effective points shows that.
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key
from numpyro.diagnostics import effective_sample_size, split_gelman_rubin

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes, run_chains
from chemsbi_jax.galaxy.hierarchical.marginal import (
    MarginalDensity,
    make_marginal_density,
    make_points,
)
from chemsbi_jax.galaxy.hierarchical.mode import Mode, find_shared_mode
from chemsbi_jax.galaxy.hierarchical.settings import ENOUGH_POINTS
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.whitening import make_whitening
from chemsbi_jax.types import AnyArray

N_POINTS, MOST_POINTS = 1024, 2048  # of the stars' integrals
FEWEST = 0.02  # quantile of the stars whose effective points must be enough
FIRST_SPREAD = 0.5  # widths of the first places
FIRST = ChainSizes(4, 40, 60, 5, acceptance=0.8, first_step=0.3)
USUAL = ChainSizes(4, 75, 200, 5, acceptance=0.8, first_step=0.3)
CURVED = 0.3  # weight of the curvature at the mode in the covariance of the chains
LARGEST_R_HAT = 1.1  # of the galaxy's parameters: the mean is good to 0.2 widths
MOST_STARS = 256  # the time, and the error of the points, grow with their number


class Keys(NamedTuple):
    """One key for each random step."""

    mode: Key[Array, ""]
    points: Key[Array, ""]
    own: Key[Array, ""]
    start: Key[Array, ""]
    first: Key[Array, ""]
    chains: Key[Array, ""]


class PsiChains(NamedTuple):
    """Draws of the shared latents (standard normal in the prior), and their checks."""

    psi: Float[np.ndarray, "chain draw psi"]
    r_hat: float  # the largest of the galaxy's parameters
    n_effective: float  # the smallest of them
    n_divergent: int
    n_points: int  # of the stars' integrals
    fewest_points: float  # effective ones, of the star at the quantile `FEWEST`

    @property
    def is_converged(self) -> bool:
        """Whether the draws can be used."""
        return bool(np.isfinite(self.psi).all() and self.r_hat < LARGEST_R_HAT)


def sample_psi(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    start: Float[np.ndarray, " psi"] | None = None,
    *,
    sizes: ChainSizes = USUAL,
    quiet: bool = True,
) -> PsiChains:
    """Posterior of psi.

    Args:
        key: determines all random numbers.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        start: psi where the search of the mode begins.
        sizes: lengths of the chains.
        quiet: no progress bar.
    """
    keys = Keys(*jax.random.split(key, len(Keys._fields)))
    mode = find_shared_mode(keys.mode, stars, model, layout, start, quiet=quiet)
    density, fewest = _with_enough_points(keys.points, stars, model, layout, mode)
    n_points = len(density.points.log_weight)
    own = {"points": make_points(keys.own, n_points, sizes.n_chains)}
    shape = sizes.n_chains, len(mode.psi)
    at = FIRST_SPREAD * np.asarray(jax.random.normal(keys.start, shape))
    first = FIRST._replace(n_chains=sizes.n_chains)
    at, _ = run_chains(keys.first, density, at, first, quiet, own)
    psi = density.whitening.psi_on_host(at)
    each = psi.reshape(-1, shape[1])
    spread = np.cov(each, rowvar=False)
    covariance = (1.0 - CURVED) * spread + CURVED * mode.covariance
    axes = make_whitening(each.mean(axis=0), covariance)
    density = density._replace(whitening=axes)
    at = axes.coordinates(psi[:, -1])
    at, n_divergent = run_chains(keys.chains, density, at, sizes, quiet, own)
    psi = density.whitening.psi_on_host(at)
    checks = _convergence(psi[..., :N_GLOBAL])
    return PsiChains(psi, *checks, n_divergent, n_points, fewest)


def _with_enough_points(
    key: Key[Array, ""], stars: Star, model: Model, layout: Layout, mode: Mode
) -> tuple[MarginalDensity, float]:
    """The density around the mode, with points enough for precise stars."""
    axes, n_points = make_whitening(mode.psi, mode.covariance), N_POINTS
    while True:
        points = make_points(key, n_points)  # key reuse: the set begins alike
        density = make_marginal_density(stars, model, layout, points, axes)
        each = np.asarray(_effective_points(density))[density.counts > 0.0]
        fewest = float(np.quantile(each, FEWEST))
        if fewest >= ENOUGH_POINTS or n_points >= MOST_POINTS:
            return density, fewest
        n_points *= 2


@jax.jit
def _effective_points(density: MarginalDensity) -> AnyArray:
    return density.effective_points(density.whitening.centre)


def _convergence(draws: Float[np.ndarray, "chain draw 2"]) -> tuple[float, float]:
    """The largest r-hat and the smallest effective number of draws."""
    r_hat = float(split_gelman_rubin(draws).max())
    return r_hat, float(effective_sample_size(draws).min())


def by_nuts(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    latents: Float[np.ndarray, "draw psi"],
    *,
    sizes: ChainSizes = USUAL,
    quiet: bool = True,
) -> tuple[Float[np.ndarray, "kept psi"], dict]:
    """Draws of NUTS where it converges, else those of the network, and the checks.

    Args:
        key: determines all random numbers.
        stars: `make_stars`; of more than `MOST_STARS`, that many random ones.
        model: forward model and prior.
        layout: of psi.
        latents: draws of psi from the network, whose mean is where NUTS starts.
        sizes: lengths of the chains.
        quiet: no progress bar.
    """
    key_subset, key_chains = jax.random.split(key)
    n, checks = len(stars.values), {}
    if n > MOST_STARS:
        rows = np.sort(np.asarray(jax.random.permutation(key_subset, n)[:MOST_STARS]))
        stars = jax.tree.map(lambda x: x[rows], stars)
        checks = {"n_nuts": MOST_STARS}
    start = latents.mean(axis=0)
    try:
        found = sample_psi(
            key_chains, stars, model, layout, start, sizes=sizes, quiet=quiet
        )
    except np.linalg.LinAlgError:  # chains that stand still, or are no numbers
        return latents, checks | {"sampler": "network"}
    checks |= {
        "sampler": "nuts" if found.is_converged else "network",
        "r_hat": found.r_hat,
        "n_effective": found.n_effective,
        "divergences": found.n_divergent,
        "points": found.n_points,
        "effective_points": found.fewest_points,
    }
    draws = found.psi.reshape(-1, found.psi.shape[-1])
    return (draws if found.is_converged else latents), checks
