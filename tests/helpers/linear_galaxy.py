"""A linear-Gaussian galaxy: networks that compile fast and whose answer is known."""

from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.stats import norm
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax import priors
from helpers.networks import untrained

SIGMA = 0.05  # dex
TRACES = []  # shapes for which a density was traced
MEAN, SD = np.array([-2.3, -2.89]), 0.3  # of the prior of the two parameters
# dex per latent; along the degeneracy a star has less information than across
SLOPES = 0.1 * np.array(
    [[1, -1], [2, -1], [0, 0], [1, -0.3], [-1, 1], [0.5, -1], [1, -0.5], [0.2, 0.1]]
)
PRECISION = SLOPES.T @ SLOPES / SIGMA**2  # of one star


class GivenStar(eqx.Module):
    """Gaussian posterior of one star, or of stars side by side."""

    mean: jax.Array  # (2, *star)
    root: jax.Array  # lower triangle of the covariance

    def draw(self, noise, before):
        return self.mean.reshape(2, *(1,) * (noise.ndim - 1)) + self.root @ noise

    def log_prob(self, at, before):
        noise = jnp.linalg.solve(self.root, at - self.mean)
        return norm.logpdf(noise).sum(axis=0) - jnp.log(jnp.diag(self.root)).sum()

    def log_prob_columns(self, first, second):
        TRACES.append(second.shape)
        x = jnp.stack([jnp.broadcast_to(first[:, None], second.shape), second])
        noise = jnp.linalg.solve(self.root, x.reshape(2, -1) - self.mean[:, None])
        log_det = jnp.log(jnp.diag(self.root)).sum()
        return (norm.logpdf(noise).sum(axis=0) - log_det).reshape(second.shape)


class LinearFlow(eqx.Module):
    """Abundances are SLOPES @ latents + noise; the means are off by `bias`."""

    stars_at_once: ClassVar = None

    gain: jax.Array
    root: jax.Array
    bias: jax.Array

    def given(self, features):
        mean = self.gain @ features
        bias = self.bias.reshape(2, *(1,) * (mean.ndim - 1))
        return GivenStar(mean + bias, self.root)


class Wide(eqx.Module):
    """Local parameters of which a star says nothing: their prior."""

    stars_at_once: ClassVar = None

    def given(self, features):
        return self

    def draw(self, noise, before):
        return noise

    def draw_and_log_det(self, noise, before):
        return noise, jnp.zeros(noise.shape[1:])


def forward(theta, slopes):
    return (theta[..., :2] - jnp.asarray(MEAN, jnp.float32)) / SD @ slopes.T


MODEL = Partial(forward, slopes=jnp.asarray(SLOPES, jnp.float32))


def networks(bias=(0.0, 0.0)):
    """Networks that are exact for these galaxies, or off by a bias [latents]."""
    covariance = np.linalg.inv(np.eye(2) + PRECISION)
    flow = LinearFlow(
        jnp.asarray(covariance @ SLOPES.T / SIGMA**2, jnp.float32),
        jnp.asarray(np.linalg.cholesky(covariance), jnp.float32),
        jnp.asarray(bias, jnp.float32),
    )
    npe = untrained(priors.paper_prior())
    npe = eqx.tree_at(lambda n: (n.galaxy_flow, n.star_flow), npe, (flow, Wide()))
    return cs.Networks(npe, MODEL)


def make_stars(n, truth=(-2.1, -2.6), seed=0):
    """`n` noisy stars of a galaxy."""
    latent = (np.array(truth) - MEAN) / SD
    noise = np.random.default_rng(seed).normal(size=(n, 8))
    return cs.Stars.complete(SLOPES @ latent + SIGMA * noise, SIGMA)


def closed_form(stars):
    """Mean and covariance of the posterior of (alpha_imf, log10_n_ia)."""
    precision = np.eye(2) + len(stars.values) * PRECISION
    push = (stars.values @ SLOPES).sum(axis=0) / SIGMA**2
    mean = MEAN + SD * np.linalg.solve(precision, push)
    return mean, SD**2 * np.linalg.inv(precision)
