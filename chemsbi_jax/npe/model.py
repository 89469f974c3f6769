"""The posterior of one star as a network: density, draws, many stars at once."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.npe.protocols import ConditionalFlow, Reader
from chemsbi_jax.priors import Prior

N_LOCAL = len(PARAMETERS) - N_GLOBAL


class Npe(eqx.Module):
    """Neural posterior of one star, global parameters first.

    The flows live in latents in which the prior is a standard normal
    (`priors.to_normal`), so no draw ever leaves the prior's bounds.
    """

    galaxy_flow: ConditionalFlow  # noise -> 2 global latents | star
    star_flow: ConditionalFlow  # noise -> 4 local latents | star, global
    reader: Reader  # inputs of a star -> features
    prior: Prior


def features(
    npe: Npe, inputs: Float[Array, "*star input"]
) -> Float[Array, "feature *star"]:
    """Features of stars, the input of both flows."""
    return npe.reader(inputs)


def latent_log_prob(
    npe: Npe, latent: Float[Array, "*star param"], inputs: Float[Array, "*star input"]
) -> Float[Array, "*star"]:
    """Log density of all six latents of a star, or of each star of a table."""
    seen, latent = features(npe, inputs), latent.T
    first, rest = latent[:N_GLOBAL], latent[N_GLOBAL:]
    of_first = npe.galaxy_flow.given(seen).log_prob(first, first[:0])
    return of_first + npe.star_flow.given(seen).log_prob(rest, first)


def global_latent_log_prob(
    npe: Npe, latent: Float[Array, "*star 2"], inputs: Float[Array, "*star input"]
) -> Float[Array, "*star"]:
    """Exact log density of the two global latents of each star."""
    flow = npe.galaxy_flow.given(features(npe, inputs))
    return flow.log_prob(latent.T, latent.T[:0])


def global_slope(
    npe: Npe, latent: Float[Array, "star 2"], inputs: Float[Array, "star input"]
) -> Float[Array, "star 2"]:
    """Slope of each star's log likelihood of the global latents, each at its own place.

    The likelihood is the network's density without the prior.
    """
    flow = npe.galaxy_flow.given(features(npe, inputs))

    def log_likelihood(at: Array) -> Array:
        return flow.log_prob(at, at[:0]) - norm.logpdf(at).sum(axis=0)

    at = latent.T
    axes = jnp.eye(N_GLOBAL, dtype=at.dtype)[:, :, None]
    along = [jnp.broadcast_to(axis, at.shape) for axis in axes]
    return jnp.stack([jax.jvp(log_likelihood, (at,), (t,))[1] for t in along], axis=-1)


def log_prob(
    npe: Npe, theta: Float[Array, "*star param"], inputs: Float[Array, "*star input"]
) -> Float[Array, "*star"]:
    """Log posterior density of theta, for a star or a table of them."""
    latent = priors.to_normal(npe.prior, theta)
    change = priors.log_prob(npe.prior, theta) - norm.logpdf(latent).sum(axis=-1)
    return latent_log_prob(npe, latent, inputs) + change


def sample_latents(
    keys: Key[Array, " star"], npe: Npe, inputs: Float[Array, "star input"], n: int
) -> Float[Array, "star draw param"]:
    """`n` draws of the latents of every star, each star with its own key."""

    def one(star: tuple[Array, Array]) -> Array:
        key, seen = star
        noise = jax.random.normal(key, (len(PARAMETERS), n), seen.dtype)
        first, rest = noise[:N_GLOBAL], noise[N_GLOBAL:]
        first = npe.galaxy_flow.given(seen).draw(first, first[:0])
        rest = npe.star_flow.given(seen).draw(rest, first)
        return jnp.concatenate([first, rest]).T

    # one star after the other: its thousand draws fill the vector units and stay in
    # the cache, which many stars side by side would not
    return lax.map(
        one, (keys, features(npe, inputs).T), batch_size=npe.galaxy_flow.stars_at_once
    )


def sample_global_latents(
    keys: Key[Array, " star"], npe: Npe, inputs: Float[Array, "star input"], n: int
) -> Float[Array, "star draw 2"]:
    """Only the two global latents of every star: all that a galaxy needs.

    The noise of each star has mean zero and unit covariance exactly, so that a star
    without information has the moments of the prior, without the noise of the draws.
    """

    def one(star: tuple[Array, Array]) -> Array:
        key, seen = star
        noise = even_noise(key, n)
        return npe.galaxy_flow.given(seen).draw(noise, noise[:0]).T

    return lax.map(
        one, (keys, features(npe, inputs).T), batch_size=npe.galaxy_flow.stars_at_once
    )


def even_noise(key: Key[Array, ""], n: int) -> Float[Array, "2 n"]:
    """Normal draws, shifted and sheared to mean zero and unit covariance."""
    noise = jax.random.normal(key, (N_GLOBAL, n))
    if n <= N_GLOBAL:
        return noise
    noise = noise - noise.mean(axis=1, keepdims=True)
    first = noise[0] / jnp.sqrt(jnp.sum(noise[0] ** 2) / (n - 1))
    rest = noise[1] - first * (first @ noise[1]) / (n - 1)
    return jnp.stack([first, rest / jnp.sqrt(jnp.sum(rest**2) / (n - 1))])


def star_keys(key: Key[Array, ""], n_stars: int) -> Key[Array, " star"]:
    """A key for each star; a longer table does not change those of its first stars."""
    return jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n_stars))
