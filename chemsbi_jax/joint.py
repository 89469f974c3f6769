"""Gold standard: NUTS over the galaxy and every star at once, by numpyro."""

import warnings
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float, Key
from numpyro.infer import MCMC, NUTS

from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.galaxy.likelihood import Observed, log_likelihood, observe
from chemsbi_jax.npe.model import N_LOCAL, Npe, features
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import Forward, GalaxyPosterior, Stars

with warnings.catch_warnings():
    # the first import of each day announces ArviZ 1.0, which pyproject.toml excludes
    warnings.filterwarnings("ignore", r"\s*ArviZ is undergoing", FutureWarning)
    import arviz as az

N_START_DRAWS = 256  # of each star's flow, for the whitening
STEP = 0.05  # in latents, for the response of a star to the global parameters
MAX_R_HAT, MIN_ESS = 1.01, 400.0  # the gate (Vehtari+ 2021)


class Whitening(NamedTuple):
    """Affine map from nearly standard-normal coordinates to latents."""

    centre: Float[Array, " 2"]
    scale: Float[Array, "2 2"]
    star_centre: Float[Array, "star 4"]
    star_scale: Float[Array, "star 4 4"]
    response: Float[Array, "star 4 2"]  # of a star's latents to the global ones


class NutsResult(NamedTuple):
    """The galaxy's posterior, and whether it can be believed."""

    posterior: GalaxyPosterior
    star_draws: Float[np.ndarray, "star draw 6"]  # theta, thinned
    convergence: dict


def to_latents(
    white: Whitening, galaxy: Float[Array, " 2"], local: Float[Array, "star 4"]
) -> tuple[Float[Array, " 2"], Float[Array, "star 4"]]:
    """Global and local latents from whitened coordinates."""
    shift = white.scale @ galaxy
    stars = white.star_centre + jnp.einsum("nij,nj->ni", white.star_scale, local)
    return white.centre + shift, stars + white.response @ shift


def join(first: Float[Array, " 2"], rest: Float[Array, "star 4"]) -> Array:
    """Latents (star, 6) of stars that share the global ones."""
    shared = jnp.broadcast_to(first, (*rest.shape[:-1], N_GLOBAL))
    return jnp.concatenate([shared, rest], axis=-1)


def make_potential(
    forward: Forward, prior: Prior, observed: Observed, white: Whitening
):
    """Minus the log posterior of the whitened coordinates, up to a constant."""

    def potential(at: dict[str, Array]) -> Array:
        first, rest = to_latents(white, at["galaxy"], at["stars"])
        theta = priors.from_normal(prior, join(first, rest))
        log_prior = -0.5 * (jnp.sum(first**2) + jnp.sum(rest**2))
        return -log_prior - jnp.sum(log_likelihood(forward, theta, observed))

    return potential


@eqx.filter_jit
def whiten(
    key: Key[Array, ""],
    npe: Npe,
    values: Float[Array, "star element"],
    mean: Float[Array, " 2"],
    covariance: Float[Array, "2 2"],
) -> Whitening:
    """Coordinates from the network: where each star's local parameters should lie.

    Args:
        key: of the draws.
        npe: posterior of one star.
        values: abundances [dex].
        mean: of the global latents.
        covariance: of the global latents.
    """
    noise = jax.random.normal(key, (N_LOCAL, N_START_DRAWS))

    def one(star: Array) -> tuple[Array, Array, Array]:
        flow = npe.star_flow.given(star)

        def draws(first: Array) -> Array:
            before = jnp.broadcast_to(first[:, None], (N_GLOBAL, N_START_DRAWS))
            return flow.draw(noise, before)

        local = draws(mean)
        steps = STEP * jnp.eye(N_GLOBAL)
        up, down = (
            jnp.stack([draws(mean + s * step).mean(axis=1) for step in steps], -1)
            for s in (1.0, -1.0)
        )
        scale = jnp.linalg.cholesky(jnp.cov(local) + 1e-6 * jnp.eye(N_LOCAL))
        return local.mean(axis=1), scale, (up - down) / (2.0 * STEP)

    centre, scale, response = lax.map(one, features(npe, values).T)
    return Whitening(mean, jnp.linalg.cholesky(covariance), centre, scale, response)


def run_nuts(
    key: Key[Array, ""],
    forward: Forward,
    stars: Stars,
    npe: Npe,
    start: GalaxyPosterior,
    *,
    n_chains: int = 2,
    n_warmup: int = 200,
    n_draws: int = 400,
    max_tree_depth: int = 6,
    quiet: bool = False,
) -> NutsResult:
    """Joint posterior over 2 global and 4 local parameters a star.

    Args:
        key: decides everything random.
        forward: theta (..., 6) -> abundances [dex]: the emulator or the simulator.
        stars: any errors, missing abundances and birth times are used as they are.
        npe: gives prior, starting point and whitening; it does not change the result.
        start: first guess of the global parameters.
        n_chains: run side by side.
        n_warmup: steps that adapt the sampler, per chain.
        n_draws: kept steps, per chain.
        max_tree_depth: at most 2 to this power of gradients a step.
        quiet: no progress bar.
    """
    key_white, key_start, key_run = jax.random.split(key, 3)
    white = _whiten_around(key_white, npe, stars, start)
    observed = observe(stars)
    kernel = NUTS(
        potential_fn=make_potential(forward, npe.prior, observed, white),
        dense_mass=[("galaxy",)],
        max_tree_depth=max_tree_depth,
    )
    sampler = MCMC(
        kernel,
        num_warmup=n_warmup,
        num_samples=n_draws,
        num_chains=n_chains,
        chain_method="vectorized",
        progress_bar=not quiet,
    )
    begin = _scatter(key_start, len(stars.values), n_chains)
    sampler.run(key_run, init_params=begin, extra_fields=("diverging", "num_steps"))
    return _collect(sampler, npe.prior, white)


def _whiten_around(key, npe: Npe, stars: Stars, start: GalaxyPosterior) -> Whitening:
    scale = jnp.array([float(d.variance) ** 0.5 for d in npe.prior[:N_GLOBAL]])
    centre = jnp.array([float(d.mean) for d in npe.prior[:N_GLOBAL]])
    values = jnp.where(stars.observed, stars.values, npe.feature_mean)
    return whiten(
        key,
        npe,
        values,
        (jnp.asarray(start.mean) - centre) / scale,
        jnp.asarray(start.covariance) / jnp.outer(scale, scale),
    )


def _scatter(key, n_stars: int, n_chains: int) -> dict[str, Array]:
    key_galaxy, key_stars = jax.random.split(key)
    return {
        "galaxy": jax.random.normal(key_galaxy, (n_chains, N_GLOBAL)),
        "stars": 0.3 * jax.random.normal(key_stars, (n_chains, n_stars, N_LOCAL)),
    }


def _collect(sampler: MCMC, prior: Prior, white: Whitening) -> NutsResult:
    at = sampler.get_samples(group_by_chain=True)
    both = jax.vmap(jax.vmap(lambda g, s: to_latents(white, g, s)))
    first, rest = both(at["galaxy"], at["stars"])  # (chain, draw, ...)
    global_prior = tuple(prior)[:N_GLOBAL]
    theta = np.asarray(priors.from_normal(global_prior, first), float)
    extra = sampler.get_extra_fields(group_by_chain=True)
    flat = theta.reshape(-1, N_GLOBAL)
    convergence = check_convergence(theta, np.asarray(extra["diverging"]))
    convergence["gradients_per_draw"] = float(np.mean(extra["num_steps"]))
    posterior = GalaxyPosterior(
        "nuts", flat, flat.mean(axis=0), np.cov(flat, rowvar=False), {}
    )
    thin = max(1, first.shape[1] // 50)
    some = jax.vmap(jax.vmap(join))(first[:, ::thin], rest[:, ::thin])
    star_draws = np.asarray(priors.from_normal(prior, some))
    star_draws = star_draws.reshape(-1, *star_draws.shape[2:]).swapaxes(0, 1)
    return NutsResult(posterior, star_draws, convergence)


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
