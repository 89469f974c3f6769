"""The posterior of all shared parameters as one network of a galaxy's stars.

A galaxy is a set of stars: one small network reads each star. The mean of its outputs
over the stars (Zaheer+ 2017, deep sets), the first two moments of the readings and the
number of stars describe the galaxy. A second network reads each star again, together
with this description, as the information of a star depends on its galaxy. The means of
both give a first mean and width of each latent psi, and the context of a masked
autoregressive flow over the rest. Both networks have each star also in the units of its
galaxy (`moments`). The scales of the priors are part of the context, so that blocks can
be held, or have other priors, without a new training.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.stats import norm
from jaxtyping import Array, Float, Key, PyTree

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical.mock import N_READINGS, Mock
from chemsbi_jax.galaxy.hierarchical.moments import (
    FARTHEST,
    N_MOMENTS,
    find_moments,
)
from chemsbi_jax.galaxy.hierarchical.star import Star
from chemsbi_jax.galaxy.likelihood import IRON
from chemsbi_jax.npe.joint_flow import draw_joint, new_joint_flow
from chemsbi_jax.types import AnyArray

N_INPUTS = 5 * N_READINGS - 1
LARGEST_LOG_WIDTH = 3.0  # natural log, of a latent before the flow
USUAL_ERROR, USUAL_DATE_ERROR = 0.05, 1.0  # dex, Gyr
LOG_ERROR_SCALE = 1.15  # natural log
LOG_NUMBER = (4.0, 2.0)  # middle and scale of the log of the number of stars
LARGEST_NUMBER = 1000.0  # of stars in the training: more would be an extrapolation


@dataclass(frozen=True)
class NetworkSize:
    """Widths of the networks."""

    star_width: int = 96
    """Of the two layers that read a star, in both networks."""
    head_width: int = 112
    """Of the two layers that describe the galaxy for the second network."""
    last_width: int = 112
    """Of the two layers of the head, behind the means over the stars."""
    n_features: int = 56
    """Means over the stars, of each network."""
    galaxy: int = 24
    """Inputs of the second network that describe the galaxy."""
    context: int = 48
    """Inputs of the flow."""
    flow_layers: int = 3
    """Layers of the flow."""
    flow_width: int = 52
    """Width of a layer's network."""
    knots: int = 4
    """Knots of each spline."""


class SharedNetwork(eqx.Module):
    """Density of psi given the stars of a galaxy."""

    star: eqx.nn.MLP
    galaxy: eqx.nn.MLP
    second: eqx.nn.MLP  # reads a star beside the outputs of `galaxy`
    head: eqx.nn.MLP
    flow: PyTree  # of `new_joint_flow`
    centre: Float[Array, " reading"]  # of the readings
    width: Float[Array, " reading"]


def new_network(
    key: Key[Array, ""],
    n_psi: int,
    centre: Float[AnyArray, " reading"],
    width: Float[AnyArray, " reading"],
    size: NetworkSize,
) -> SharedNetwork:
    """A network before its training; `centre` and `width` standardise the readings."""
    key_star, key_galaxy, key_second, key_head, key_flow = jax.random.split(key, 5)

    def mlp(key: Key[Array, ""], n_in: int, n_out: int, width: int) -> eqx.nn.MLP:
        make: Callable = eqx.nn.MLP
        return make(n_in, n_out, width, 2, jax.nn.gelu, key=key)

    n_first = size.n_features + N_MOMENTS + 1
    n_head = n_first + size.n_features + n_psi
    return SharedNetwork(
        mlp(key_star, N_INPUTS, size.n_features, size.star_width),
        mlp(key_galaxy, n_first, size.galaxy, size.head_width),
        mlp(key_second, N_INPUTS + size.galaxy, size.n_features, size.star_width),
        mlp(key_head, n_head, size.context + 2 * n_psi, size.last_width),
        new_joint_flow(
            key_flow,
            n_psi,
            size.context,
            size.flow_layers,
            size.flow_width,
            size.knots,
        ),
        jnp.asarray(centre),
        jnp.asarray(width),
    )


def inputs_of(network: SharedNetwork, stars: Star) -> Float[Array, "*star input"]:
    """Inputs of the network of a star: readings, errors, gaps, and which are [X/H]."""
    value = stars.values - stars.over_h * stars.values[..., IRON : IRON + 1]
    value = (value - network.centre) / network.width
    usual = jnp.full(N_READINGS, USUAL_ERROR).at[-1].set(USUAL_DATE_ERROR)
    error = 0.5 * jnp.log(stars.variance / usual**2) / LOG_ERROR_SCALE
    parts = (
        stars.seen * jnp.clip(value, -FARTHEST, FARTHEST),
        stars.seen * error,
        stars.seen,
        stars.over_h[..., :-1],
    )
    return jnp.concatenate(parts, axis=-1)


def summarise(
    network: SharedNetwork, stars: Star, counts: Float[AnyArray, " star"]
) -> Float[Array, " feature"]:
    """Mean features and moments of the stars of one galaxy, and their number."""
    inputs = inputs_of(network, stars)
    seen = stars.seen * counts[:, None]
    moments = find_moments(inputs[:, :N_READINGS], seen)
    inputs = jnp.concatenate([inputs, moments.stars], axis=-1)
    features = jax.vmap(network.star)(inputs)
    n = jnp.maximum(jnp.sum(counts), 1.0)
    mean = counts @ features / n
    middle, scale = LOG_NUMBER
    number = (jnp.log(jnp.minimum(n, LARGEST_NUMBER)) - middle) / scale
    first = jnp.concatenate([mean, moments.values, number[None]])
    galaxy = network.galaxy(first)
    again = jax.vmap(lambda x: network.second(jnp.concatenate([x, galaxy])))(inputs)
    return jnp.concatenate([counts @ again / n, first])


class Condition(NamedTuple):
    """What the density of psi depends on.

    The first latents of an autoregressive flow see little of its context, so all of
    them get a mean and a width of their own before.
    """

    mean: Float[Array, " psi"]
    log_width: Float[Array, " psi"]
    context: Float[Array, " context"]  # of the flow


def condition(
    network: SharedNetwork,
    summary: Float[AnyArray, " feature"],
    ratio: Float[AnyArray, " psi"],
) -> Condition:
    """From the stars, and the prior scales over the default ones."""
    n = len(ratio)
    out = network.head(jnp.concatenate([summary, ratio - 1.0]))
    log_width = LARGEST_LOG_WIDTH * jnp.tanh(out[n : 2 * n] / LARGEST_LOG_WIDTH)
    return Condition(out[:n], log_width, out[2 * n :])


class LogDensities(NamedTuple):
    """Log densities of the true latents of one galaxy [nat]."""

    all: Float[Array, ""]  # of the flow
    galaxy: Float[Array, ""]  # of the galaxy's two: normal, by the first mean and width


def log_densities(network: SharedNetwork, galaxy: Mock) -> LogDensities:
    """Log densities of the true latents of one galaxy."""
    summary = summarise(network, galaxy.stars, galaxy.counts)
    return densities_of_summary(network, summary, galaxy.ratio, galaxy.psi)


def densities_of_summary(
    network: SharedNetwork,
    summary: Float[AnyArray, " feature"],
    ratio: Float[AnyArray, " psi"],
    psi: Float[AnyArray, " psi"],
) -> LogDensities:
    """Log densities of latents, given the summary of a galaxy's stars."""
    given = condition(network, summary, ratio)
    rest = (psi - given.mean) * jnp.exp(-given.log_width)
    all_latents = network.flow.log_prob(rest, given.context) - jnp.sum(given.log_width)
    first = slice(N_GLOBAL)
    normal = norm.logpdf(rest[first]) - given.log_width[first]
    return LogDensities(all_latents, jnp.sum(normal))


@eqx.filter_jit
def sample(
    key: Key[Array, ""],
    network: SharedNetwork,
    summary: Float[Array, " feature"],
    ratio: Float[AnyArray, " psi"],
    n: int,
) -> Float[Array, "draw psi"]:
    """Draws of psi given the summary of a galaxy's stars."""
    given = condition(network, summary, ratio)
    rest = draw_joint(key, network.flow, n, given.context)
    return given.mean + jnp.exp(given.log_width) * rest
