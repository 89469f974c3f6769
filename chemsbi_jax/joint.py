"""Gold standard: NUTS over the galaxy and every star at once, by numpyro.

The chains move in the coordinates of the posterior network (Hoffman+ 2019, "NeuTra"):
each star's local parameters are its flow's image of four standard normals. Where the
network is right the posterior is a standard normal in them, where it is wrong they are
still a bijection: the network decides the speed, never the result.
"""

import warnings
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key
from numpyro.infer import MCMC, NUTS

from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.galaxy.likelihood import Observed, log_likelihood, observe
from chemsbi_jax.npe.model import N_LOCAL, Npe, features
from chemsbi_jax.types import Forward, GalaxyPosterior, Stars

with warnings.catch_warnings():
    # the first import of each day announces ArviZ 1.0, which pyproject.toml excludes
    warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
    import arviz as az

MAX_R_HAT, MIN_ESS = 1.01, 400.0  # the gate (Vehtari+ 2021)
N_STAR_DRAWS = 100  # of each star, kept in the result


class NutsResult(NamedTuple):
    """The galaxy's posterior, and whether it can be believed."""

    posterior: GalaxyPosterior
    star_draws: Float[np.ndarray, "star draw 6"]  # theta, thinned
    convergence: dict


class Joint(eqx.Module):
    """Posterior of a galaxy and its stars, in coordinates that are nearly normal."""

    forward: Forward
    npe: Npe
    observed: Observed
    seen: Float[Array, "feature star"]
    centre: Float[Array, " 2"]  # of the global latents
    scale: Float[Array, "2 2"]  # lower triangle

    def to_latents(
        self, galaxy: Float[Array, " 2"], stars: Float[Array, "4 star"]
    ) -> tuple[Float[Array, "star 6"], Float[Array, ""]]:
        """Latents of all stars, and the log volume of the map."""
        first = self.centre + self.scale @ galaxy
        shared = jnp.broadcast_to(first[:, None], (N_GLOBAL, stars.shape[1]))
        flow = self.npe.star_flow.given(self.seen)
        local, log_det = flow.draw_and_log_det(stars, shared)
        return jnp.concatenate([shared, local]).T, log_det.sum()

    def potential(self, at: dict[str, Array]) -> Array:
        """Minus the log posterior density of the coordinates, up to a constant."""
        latent, log_det = self.to_latents(at["galaxy"], at["stars"])
        theta = priors.from_normal(self.npe.prior, latent)
        first, rest = latent[0, :N_GLOBAL], latent[:, N_GLOBAL:]
        log_prior = -0.5 * (jnp.sum(first**2) + jnp.sum(rest**2))
        gain = log_likelihood(self.forward, theta, self.observed)
        return -log_prior - jnp.sum(gain) - log_det


def run_nuts(
    key: Key[Array, ""],
    forward: Forward,
    stars: Stars,
    npe: Npe,
    start: GalaxyPosterior,
    *,
    n_chains: int = 2,
    n_warmup: int = 150,
    n_draws: int = 400,
    max_tree_depth: int = 6,
    quiet: bool = False,
) -> NutsResult:
    """Joint posterior over 2 global and 4 local parameters a star.

    Args:
        key: decides everything random.
        forward: theta (..., 6) -> abundances [dex]: the emulator or the simulator.
        stars: any errors, missing abundances and birth times are used as they are.
        npe: gives the prior and the coordinates; it does not change the result.
        start: first guess of the global parameters.
        n_chains: side by side, one a device if there are enough of them.
        n_warmup: steps that adapt the sampler, per chain.
        n_draws: kept steps, per chain.
        max_tree_depth: at most 2 to this power of gradients a step.
        quiet: no progress bar.
    """
    key_start, key_run = jax.random.split(key)
    joint = make_joint(forward, stars, npe, start)
    kernel = NUTS(
        potential_fn=joint.potential,
        dense_mass=[("galaxy",)],
        max_tree_depth=max_tree_depth,
        target_accept_prob=0.8,
    )
    enough = jax.local_device_count() >= n_chains
    sampler = MCMC(
        kernel,
        num_warmup=n_warmup,
        num_samples=n_draws,
        num_chains=n_chains,
        chain_method="parallel" if enough else "vectorized",
        progress_bar=not quiet,
    )
    begin = _scatter(key_start, len(stars.values), n_chains)
    sampler.run(key_run, init_params=begin, extra_fields=("diverging", "num_steps"))
    return _collect(sampler, joint)


def make_joint(
    forward: Forward, stars: Stars, npe: Npe, start: GalaxyPosterior
) -> Joint:
    """The density that `run_nuts` draws from."""
    scale = jnp.array([float(d.variance) ** 0.5 for d in npe.prior[:N_GLOBAL]])
    centre = jnp.array([float(d.mean) for d in npe.prior[:N_GLOBAL]])
    # a gap only makes the coordinates worse
    values = jnp.where(stars.observed, stars.values, npe.feature_mean)
    covariance = jnp.asarray(start.covariance) / jnp.outer(scale, scale)
    return Joint(
        forward=forward,
        npe=npe,
        observed=observe(stars),
        seen=features(npe, values),
        centre=(jnp.asarray(start.mean) - centre) / scale,
        scale=jnp.linalg.cholesky(covariance),
    )


def _scatter(key, n_stars: int, n_chains: int) -> dict[str, Array]:
    key_galaxy, key_stars = jax.random.split(key)
    return {
        "galaxy": jax.random.normal(key_galaxy, (n_chains, N_GLOBAL)),
        "stars": 0.5 * jax.random.normal(key_stars, (n_chains, N_LOCAL, n_stars)),
    }


def _collect(sampler: MCMC, joint: Joint) -> NutsResult:
    at = sampler.get_samples(group_by_chain=True)
    prior = joint.npe.prior
    first = joint.centre + at["galaxy"] @ joint.scale.T
    theta = np.asarray(priors.from_normal(tuple(prior)[:N_GLOBAL], first), float)
    extra = sampler.get_extra_fields(group_by_chain=True)
    flat = theta.reshape(-1, N_GLOBAL)
    convergence = check_convergence(theta, np.asarray(extra["diverging"]))
    convergence["gradients_per_draw"] = float(np.mean(extra["num_steps"]))
    posterior = GalaxyPosterior(
        "nuts", flat, flat.mean(axis=0), np.cov(flat, rowvar=False), {}
    )
    thin = max(1, len(flat) // N_STAR_DRAWS)
    galaxy, stars = (x.reshape(-1, *x.shape[2:])[::thin] for x in at.values())
    latent = eqx.filter_jit(jax.vmap(lambda g, s: joint.to_latents(g, s)[0]))
    star_draws = priors.from_normal(prior, latent(galaxy, stars))
    return NutsResult(posterior, np.asarray(star_draws).swapaxes(0, 1), convergence)


def check_convergence(
    draws: Float[np.ndarray, "chain draw 2"], diverging: Bool[np.ndarray, "chain draw"]
) -> dict:
    """The gate: r-hat, bulk and tail effective sample size, divergences."""
    each = {}
    for i, name in enumerate(PARAMETERS[:N_GLOBAL]):
        x = draws[..., i]
        each[name] = {
            "r_hat": float(az.rhat(x)),
            "ess_bulk": float(az.ess(x, method="bulk")),
            "ess_tail": float(az.ess(x, method="tail")),
        }
    n_divergent = int(diverging.sum())
    ok = n_divergent == 0 and all(
        v["r_hat"] <= MAX_R_HAT and min(v["ess_bulk"], v["ess_tail"]) >= MIN_ESS
        for v in each.values()
    )
    return {"converged": bool(ok), "divergences": n_divergent, **each}
