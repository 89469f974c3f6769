"""Gold standard: NUTS over the galaxy and every star at once, by numpyro.

The chains move in coordinates in which each star is nearly a standard normal: a chart
that importance sampling has fitted to it, which also follows the galaxy's parameters.
As it is a bijection, a bad chart costs time and not truth.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Bool, Float, Key
from numpyro.infer import MCMC, NUTS

from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.diagnostics.convergence import check_convergence
from chemsbi_jax.galaxy import exact_of_stars
from chemsbi_jax.galaxy.chart import Chart, push
from chemsbi_jax.galaxy.exact import local_charts
from chemsbi_jax.galaxy.likelihood import Observed, log_likelihood, standardised
from chemsbi_jax.npe.model import N_LOCAL, Npe
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import Forward, GalaxyPosterior, Stars

FIELDS = ("diverging", "num_steps", "accept_prob")
N_MORE = 2  # times that the chains may go on
# step times the fourth root of the number of coordinates (Beskos+ 2013 for the power);
# the number is empirical: of 200 and 1000 stars three to four in five are accepted
STEP, SMALLER = 1.35, 1.5  # and how much smaller each new try is
MIN_ACCEPT = 0.55  # below, the chains start anew as after divergences
N_STAR_DRAWS = 100  # of each star, kept in the result
N_CURVATURE = 32  # draws of a star, for its curvature
EDGE = 4.98  # prior widths of local parameters: the emulators end at 5
CURVATURES = (0.1, 1e5)  # squared; what lies outside is an accident of the draws


class NutsResult(NamedTuple):
    """The galaxy's posterior, and whether it can be believed."""

    posterior: GalaxyPosterior
    star_draws: Float[np.ndarray, "star draw 6"]  # theta, thinned; NaN if left out
    convergence: dict


class Joint(NamedTuple):
    """Posterior of a galaxy and its stars, in coordinates that are nearly normal."""

    forward: Forward
    prior: Prior
    observed: Observed
    charts: Chart
    stretch: Float[Array, "star 4 4"]  # the chains' coordinates to those of the charts
    centre: Float[Array, " 2"]  # of the global latents
    scale: Float[Array, "2 2"]  # lower triangle

    def to_latents(
        self, galaxy: Float[Array, " 2"], stars: Float[Array, "4 star"]
    ) -> tuple[Float[Array, "star 6"], Float[Array, ""]]:
        """Latents of all stars, and the log volume of the map."""
        noise = jnp.einsum("nij,jn->in", self.stretch, stars)
        each = jax.vmap(push, (0, None, 1), (1, 0))
        local, log_det = each(self.charts, galaxy, noise)
        first = self.centre + self.scale @ galaxy
        shared = jnp.broadcast_to(first[:, None], (N_GLOBAL, stars.shape[1]))
        return jnp.concatenate([shared, local]).T, log_det.sum()

    def potential(self, at: dict[str, Array]) -> Array:
        """Minus the log posterior density of the coordinates, up to a constant."""
        latent, log_det = self.to_latents(at["galaxy"], at["stars"])
        theta = to_theta(self.prior, latent)
        first, rest = latent[0, :N_GLOBAL], latent[:, N_GLOBAL:]
        log_prior = -0.5 * (jnp.sum(first**2) + jnp.sum(rest**2))
        gain = log_likelihood(self.forward, theta, self.observed)
        return -log_prior - jnp.sum(gain) - log_det


def to_theta(
    prior: Prior, latent: Float[Array, "*b param"]
) -> Float[Array, "*b param"]:
    """Parameters of stars; a smooth bijection keeps the local ones within `EDGE`.

    The prior is cut there (6e-7 of it): where an emulator ends, a step of the chains
    would meet a cliff. The latents stay standard normals.
    """
    inner = _within(latent[..., N_GLOBAL:])
    return priors.from_normal(
        prior, jnp.concatenate([latent[..., :N_GLOBAL], inner], axis=-1)
    )


def _within(latent: Array) -> Array:
    # by the upper tail, which float32 resolves
    size = jnp.where(latent < 0.0, -latent, latent)
    cut = ndtr(-EDGE)
    inner = -ndtri(cut + (1.0 - 2.0 * cut) * ndtr(-size))
    return jnp.where(latent < 0.0, -inner, inner)


def run_nuts(
    key: Key[Array, ""],
    forward: Forward,
    stars: Stars,
    npe: Npe,
    start: GalaxyPosterior | None = None,
    *,
    n_chains: int = 2,
    n_warmup: int = 80,
    n_draws: int = 500,
    max_tree_depth: int = 4,
    step: float = STEP,
    n_tries: int = 3,
    quiet: bool = False,
) -> NutsResult:
    """Joint posterior over 2 global and 4 local parameters a star.

    Args:
        key: decides everything random.
        forward: theta (..., 6) -> abundances [dex]: the emulator or the simulator.
        stars: any errors, missing abundances and birth times are used as they are.
        npe: gives the prior and the coordinates; it does not change the result.
        start: first guess of the global parameters; None asks the network.
        n_chains: side by side, one a device if there are enough of them.
        n_warmup: steps that are not kept, per chain.
        n_draws: kept steps, per chain; as many again, twice at most, where r-hat or
            the effective sample size of these misses the gate.
        max_tree_depth: at most 2 to this power of gradients a step.
        step: of the leapfrog, times the fourth root of the number of coordinates. The
            coordinates have unit curvature, so that nothing has to be adapted.
        n_tries: after divergences, or where too few steps are accepted, the chains
            start anew with smaller steps, as often as this at most; the result is that
            of the last try.
        quiet: no progress bar.
    """
    key_start, key_joint, key_run = jax.random.split(key, 3)
    joint, counts = make_joint(key_joint, forward, stars, npe, start, quiet)
    begin = _scatter(key_start, counts.sum(), n_chains)
    n_coordinates = N_GLOBAL + N_LOCAL * int(counts.sum())
    for i in range(n_tries):
        kernel = NUTS(
            potential_fn=joint.potential,
            step_size=step * n_coordinates**-0.25 / SMALLER**i,
            adapt_step_size=False,
            adapt_mass_matrix=False,
            max_tree_depth=max_tree_depth + (i > 1),
        )
        key_try = jax.random.fold_in(key_run, i)
        sampler = _run(kernel, key_try, begin, n_warmup, n_draws, quiet)
        known = sampler.get_extra_fields()
        accepted = float(np.mean(known["accept_prob"]))
        if accepted > MIN_ACCEPT and not np.any(known["diverging"]):
            break
    result = _until_it_passes(sampler, joint, counts)
    tries = {"tries": i + 1, "accepted": accepted}
    return result._replace(convergence=result.convergence | tries)


def _until_it_passes(sampler: MCMC, joint: Joint, counts: np.ndarray) -> NutsResult:
    """The chains go on where only their length stands between them and the gate."""
    sampled = _sampled(sampler)
    result = _collect(*sampled, joint, counts)
    for _ in range(N_MORE):
        if result.convergence["converged"] or result.convergence["divergences"]:
            break
        sampler.post_warmup_state = sampler.last_state
        sampler.run(sampler.last_state.rng_key, extra_fields=FIELDS)
        sampled = jax.tree.map(
            lambda *x: jnp.concatenate(x, axis=1), sampled, _sampled(sampler)
        )
        result = _collect(*sampled, joint, counts)
    return result


def _sampled(sampler: MCMC) -> tuple[dict[str, Array], dict[str, Array]]:
    """Draws and what is known of each, (chain, draw, ...)."""
    at = sampler.get_samples(group_by_chain=True)
    return at, sampler.get_extra_fields(group_by_chain=True)


def _run(kernel: NUTS, key, begin: dict, n_warmup: int, n_draws: int, quiet) -> MCMC:
    n_chains = len(begin["galaxy"])
    enough = jax.local_device_count() >= n_chains
    sampler = MCMC(
        kernel,
        num_warmup=n_warmup,
        num_samples=n_draws,
        num_chains=n_chains,
        chain_method="parallel" if enough else "vectorized",
        progress_bar=not quiet,
    )
    sampler.run(key, init_params=begin, extra_fields=FIELDS)
    return sampler


def make_joint(
    key: Key[Array, ""],
    forward: Forward,
    stars: Stars,
    npe: Npe,
    start: GalaxyPosterior | None,
    quiet: bool = True,
) -> tuple[Joint, Bool[np.ndarray, " star"]]:
    """The density that `run_nuts` draws from, and which stars it has.

    Those that no parameters explain are left out, as `exact_posterior` does.
    """
    result = exact_of_stars(key, npe, forward, stars, start, rough=True, quiet=quiet)
    charts = local_charts(result, npe, forward)
    kept = np.flatnonzero(result.counts)
    charts, observed = jax.tree.map(lambda x: x[kept], (charts, result.stars.observed))
    joint = Joint(
        forward=forward,
        prior=npe.prior,
        observed=observed,
        charts=charts,
        stretch=jnp.broadcast_to(jnp.eye(N_LOCAL), (len(kept), N_LOCAL, N_LOCAL)),
        centre=jnp.asarray(result.grid.mean, jnp.float32),
        scale=jnp.linalg.cholesky(jnp.asarray(result.grid.covariance, jnp.float32)),
    )
    stretch = find_stretch(jax.random.fold_in(key, 1), joint)
    return joint._replace(stretch=stretch), result.counts


@eqx.filter_jit
def find_stretch(key: Key[Array, ""], joint: Joint) -> Float[Array, "star 4 4"]:
    """Coordinates in which no star is steeper than the others, on average.

    The steepest star decides the step of all; its rms curvature becomes the unit.
    """

    def one(star: tuple) -> Array:
        key, chart, observed = star

        def residuals(noise: Array) -> Array:
            local, _ = push(chart, jnp.zeros(N_GLOBAL), noise)
            theta = to_theta(joint.prior, jnp.concatenate([joint.centre, local]))
            return jnp.concatenate(
                [local, standardised(joint.forward, theta, observed)]
            )

        noise = jax.random.normal(key, (N_CURVATURE, N_LOCAL))
        slopes = jax.vmap(jax.jacfwd(residuals))(noise)
        curvature = jnp.einsum("nri,nrj->nij", slopes, slopes)
        square = jnp.einsum("nij,njk->ik", curvature, curvature) / N_CURVATURE
        values, vectors = jnp.linalg.eigh(square)
        values = jnp.clip(values, *CURVATURES)
        return vectors / values**0.25  # columns: its square is their inverse root

    keys = jax.random.split(key, len(joint.stretch))
    return lax.map(one, (keys, joint.charts, joint.observed))


def _scatter(key, n_stars: int, n_chains: int) -> dict[str, Array]:
    key_galaxy, key_stars = jax.random.split(key)
    return {
        "galaxy": jax.random.normal(key_galaxy, (n_chains, N_GLOBAL)),
        "stars": 0.5 * jax.random.normal(key_stars, (n_chains, N_LOCAL, n_stars)),
    }


def _collect(at: dict, extra: dict, joint: Joint, counts: np.ndarray) -> NutsResult:
    first = joint.centre + at["galaxy"] @ joint.scale.T
    theta = priors.from_normal(tuple(joint.prior)[:N_GLOBAL], first)
    theta = np.asarray(theta, float)
    flat = theta.reshape(-1, N_GLOBAL)
    convergence = check_convergence(theta, np.asarray(extra["diverging"]))
    convergence["gradients_per_draw"] = float(np.mean(extra["num_steps"]))
    checks = {"left_out": np.flatnonzero(~counts).tolist()}
    posterior = GalaxyPosterior(
        "nuts", flat, flat.mean(axis=0), np.cov(flat, rowvar=False), checks
    )
    thin = max(1, len(flat) // N_STAR_DRAWS)
    galaxy, stars = (x.reshape(-1, *x.shape[2:])[::thin] for x in at.values())
    latent = eqx.filter_jit(jax.vmap(lambda g, s: joint.to_latents(g, s)[0]))
    some = np.asarray(to_theta(joint.prior, latent(galaxy, stars)))
    star_draws = np.full((len(counts), len(some), some.shape[-1]), np.nan)
    star_draws[counts] = some.swapaxes(0, 1)
    return NutsResult(posterior, star_draws, convergence)
