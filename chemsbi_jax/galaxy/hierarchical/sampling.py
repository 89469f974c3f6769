"""Draws of psi by NUTS, with the stars integrated out (`MarginalDensity`).

The chains have as many dimensions as psi, whatever the number of stars. Short chains
around the mode give the mean and, with the curvature there, the covariance of psi, in
whose units the chains with the kept draws run. If those do not converge, as one of them
may be at a lower mode, or have few effective draws, they go on, in units of their draws
(`pool_runs`). Each chain has its own points for the stars' integrals,
so that r-hat shows the random part of their error. It does not show what all chains
have in common: the log of a mean over few points is low. The number of effective points
shows that. The time grows with the number of points, so the chains take the smallest
number that gives precise stars `ENOUGH_POINTS` effective points.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes, run_chains
from chemsbi_jax.galaxy.hierarchical.marginal import (
    MarginalDensity,
    make_marginal_density,
    make_points,
)
from chemsbi_jax.galaxy.hierarchical.mode import Mode
from chemsbi_jax.galaxy.hierarchical.runs import (
    PsiChains,
    convergence,
    most_runs,
    pool_runs,
)
from chemsbi_jax.galaxy.hierarchical.settings import (
    BLOCKS,
    ENOUGH_DRAWS,
    ENOUGH_POINTS,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.whitening import make_whitening
from chemsbi_jax.types import AnyArray

N_POINTS = 1024  # of the stars' integrals, where their effective number is counted
LEAST_POINTS, MOST_POINTS = 256, 2048  # of the chains; powers of two
FEWEST = 0.02  # quantile of the stars whose effective points must be enough
FIRST_SPREAD = 0.5  # widths of the first places
FIRST = ChainSizes(4, 40, 60, 5, acceptance=0.8, first_step=0.3)
USUAL = ChainSizes(4, 75, 200, 5, acceptance=0.8, first_step=0.3)
LONG = USUAL._replace(n_draws=300)  # where few points make the steps fast
FEW_POINTS = 512
CURVED = 0.3  # weight of the curvature at the mode in the covariance of the chains
MOST_STARS = 256  # the time, and the error of the points, grow with their number


class Keys(NamedTuple):
    """One key for each random step."""

    points: Key[Array, ""]
    own: Key[Array, ""]
    start: Key[Array, ""]
    first: Key[Array, ""]
    chains: Key[Array, ""]


def sample_psi(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    mode: Mode,
    *,
    power: float = 1.0,
    enough: float = ENOUGH_DRAWS,
    sizes: ChainSizes | None = None,
    quiet: bool = True,
) -> PsiChains:
    """Posterior of psi.

    Args:
        key: determines all random numbers.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        mode: of psi given these stars, around which the chains start.
        power: factor of the log likelihood, see `SharedErrors.model_stars`.
        enough: effective draws, see `SharedErrors.effective_draws`.
        sizes: lengths of the chains; None takes more steps where they are fast.
        quiet: no progress bar.
    """
    keys = Keys(*jax.random.split(key, len(Keys._fields)))
    axes = make_whitening(mode.psi, mode.covariance)
    count = make_points(keys.points, N_POINTS)
    density = make_marginal_density(stars, model, layout, count, axes, power)
    n_points, fewest = enough_points(density)
    if sizes is None:
        sizes = LONG if n_points <= FEW_POINTS else USUAL
    own = {"points": make_points(keys.own, n_points, sizes.n_chains)}
    shape = sizes.n_chains, len(mode.psi)
    at = FIRST_SPREAD * np.asarray(jax.random.normal(keys.start, shape))
    first = FIRST._replace(n_chains=sizes.n_chains)
    at, _ = run_chains(keys.first, density, at, first, quiet, own, "nuts, first steps")
    psi, covariance = density.whitening.psi_on_host(at), mode.covariance
    for i, key_run in enumerate(jax.random.split(keys.chains, most_runs(enough)), 1):
        kept = found.psi if i > 1 and found.is_converged else psi
        each = kept.reshape(-1, shape[1])
        covariance = (1.0 - CURVED) * np.cov(each, rowvar=False) + CURVED * covariance
        axes = make_whitening(each.mean(axis=0), covariance)
        density = density._replace(whitening=axes)
        at = axes.coordinates(psi[:, -1])
        run = key_run, density, at, sizes, quiet, own
        at, n_divergent = run_chains(*run, f"nuts, run {i}")
        psi = axes.psi_on_host(at)
        last = PsiChains(psi, *convergence(psi), n_divergent, n_points, fewest)
        found = last if i == 1 else pool_runs(found, last)
        if found.is_converged and found.n_effective >= enough:
            break
    return found


def enough_points(density: MarginalDensity) -> tuple[int, float]:
    """Number of points that the chains need, and how many of them count for a star.

    The star is a precise one (quantile `FEWEST`). The number that counts is measured
    with the points of `density`, and is proportional to their number.
    """
    each = np.asarray(_effective_points(density))[density.counts > 0.0]
    fewest = float(np.quantile(each, FEWEST))
    if not fewest > 0.0:  # no number: the model has no star at some points
        return MOST_POINTS, 0.0
    n = len(density.points.log_weight)
    doublings = np.ceil(np.log2(ENOUGH_POINTS / fewest))
    n_points = int(np.clip(n * 2.0**doublings, LEAST_POINTS, MOST_POINTS))
    return n_points, fewest * n_points / n


@eqx.filter_jit  # not `jit`: see `mode._value_and_slope`
def _effective_points(density: MarginalDensity) -> AnyArray:
    return density.effective_points(density.whitening.centre)


def distance_of_mode(latents: Float[np.ndarray, "draw psi"], mode: Mode) -> float:
    """Distance of the mode from the mean of draws, in widths of the galaxy's latents.

    A network that was trained on stars of the model may be far off for others, and
    does not show it in its width.
    """
    draws = latents[:, :N_GLOBAL]
    away = mode.psi[:N_GLOBAL] - draws.mean(axis=0)
    squared = away @ np.linalg.solve(np.cov(draws, rowvar=False), away)
    return float(np.sqrt(squared))


def by_nuts(
    key: Key[Array, ""],
    stars: Star,
    model: Model,
    layout: Layout,
    latents: Float[np.ndarray, "draw psi"],
    mode: Mode,
    *,
    power: float = 1.0,
    enough: float = ENOUGH_DRAWS,
    sizes: ChainSizes | None = None,
    quiet: bool = True,
) -> tuple[Float[np.ndarray, "kept psi"], dict]:
    """Draws of NUTS where it converges, else those of the network, and the checks.

    Args:
        key: determines all random numbers.
        stars: `make_stars`.
        model: forward model and prior.
        layout: of psi.
        latents: draws of psi from the network.
        mode: of psi given these stars.
        power: factor of the log likelihood, see `SharedErrors.model_stars`.
        enough: effective draws, see `SharedErrors.effective_draws`.
        sizes: lengths of the chains; None takes more steps where they are fast.
        quiet: no progress bar.
    """
    try:
        how = {"power": power, "enough": enough, "sizes": sizes, "quiet": quiet}
        found = sample_psi(key, stars, model, layout, mode, **how)
    except np.linalg.LinAlgError:  # chains that stand still, or are no numbers
        return latents, {"sampler": "network"}
    checks = {
        "sampler": "nuts" if found.is_converged else "network",
        "r_hat": found.r_hat,
        "n_effective": found.n_effective,
        "divergences": found.n_divergent,
        "points": found.n_points,
        "effective_points": found.fewest_points,
        "likelihood_power": power,
        "runs": found.n_runs,
    }
    if found.n_runs > 1:
        checks["runs_apart"] = found.apart
    if found.is_converged and found.n_effective < enough:
        checks["wanted_draws"] = enough
    draws = found.psi.reshape(-1, found.psi.shape[-1])
    return (draws if found.is_converged else latents), checks


def budget_of_draws(
    latents: Float[np.ndarray, "draw psi"], layout: Layout, n_effective: float
) -> dict[str, dict[str, float]]:
    """Relative decrease of the width of each galaxy parameter if a block is held.

    From draws alone: the rms residual of a linear regression of the galaxy's latents on
    those of the block. It is the width with the block held if the posterior is normal.

    Args:
        latents: draws of psi.
        layout: of psi; a latent with the scale 0 is held already.
        n_effective: independent draws, which lose one degree of freedom for each
            latent of the block.
    """
    away, scale = latents - latents.mean(axis=0), np.asarray(layout.scale)
    galaxy, at, index = away[:, :N_GLOBAL], layout.slices(), np.arange(len(scale))
    variance, budget = galaxy.var(axis=0), {}
    for name, members in (*((b, (b,)) for b in BLOCKS), ("all", BLOCKS)):
        rows = np.concatenate([index[at[member]] for member in members])
        block = away[:, rows[scale[rows] > 0.0]]
        slope = np.linalg.lstsq(block, galaxy, rcond=None)[0]
        left = np.mean((galaxy - block @ slope) ** 2, axis=0) / variance
        freedom = (n_effective - 1.0) / max(n_effective - 1.0 - block.shape[1], 1.0)
        share = np.clip(1.0 - np.sqrt(left * freedom), 0.0, 1.0)
        budget[name] = dict(zip(PARAMETERS, share.tolist(), strict=False))
    return budget
