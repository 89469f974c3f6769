"""Training of the posterior network on noisy stars."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Key, PyTree

from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig, FitResult, fit
from chemsbi_jax.constants import BIRTH_TIME, N_GLOBAL, PARAMETERS
from chemsbi_jax.npe.flow import SplineFlow
from chemsbi_jax.npe.maf import MafFlow
from chemsbi_jax.npe.measurements import Measurements, OneError
from chemsbi_jax.npe.model import (
    N_LOCAL,
    Npe,
    global_latent_log_prob,
    latent_log_prob,
)
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import Forward


@dataclass(frozen=True)
class NpeConfig:
    """The flow and the schedule of its training."""

    flow: SplineFlow | MafFlow = SplineFlow()
    """Kind and size of both flows."""
    batch_size: int = 1024
    """Stars a step."""
    learning_rate: float = 2e-3
    """Initial learning rate of Adam; it falls to zero along a cosine."""
    n_held_out: int = 10_000
    """Stars that are only used to choose the best epoch."""
    measure: Measurements = OneError()
    """Which readings the training stars have, and their errors."""
    fit: FitConfig = FitConfig(n_epochs=80, steps_per_epoch=500)
    """Length of the training."""


REFERENCE = NpeConfig(
    flow=MafFlow(),
    batch_size=200,
    learning_rate=5e-4,
    fit=FitConfig(n_epochs=200, steps_per_epoch=450, patience=20),
)
"""The recipe of Buck+ 2025, for 1e5 stored simulations."""


class FreshStars(NamedTuple):
    """New stars for every batch: the forward model draws them from the prior."""

    forward: Forward  # a PyTree, e.g. `jax.tree_util.Partial(emulate, ...)`
    prior: Prior

    def draw(self, key: Key[Array, ""], n: int) -> tuple[Array, Array]:
        """Latents (n, 6) and noise-free abundances (n, 8)."""
        latent = jax.random.normal(key, (n, len(PARAMETERS)))
        return latent, self.forward(priors.from_normal(self.prior, latent))


class StoredStars(NamedTuple):
    """A fixed set of simulations, reused in every epoch with new noise."""

    latent: Float[Array, "n param"]
    abundances: Float[Array, "n element"]  # noise-free, dex

    def draw(self, key: Key[Array, ""], n: int) -> tuple[Array, Array]:
        """Latents (n, 6) and noise-free abundances (n, 8)."""
        row = jax.random.randint(key, (n,), 0, self.latent.shape[0])
        return self.latent[row], self.abundances[row]


def train_npe(
    key: Key[Array, ""],
    stars: FreshStars | StoredStars,
    prior: Prior,
    config: NpeConfig = NpeConfig(),
    *,
    start: Npe | None = None,
    galaxy_only: bool = False,
    checkpoint: Path | None = None,
    quiet: bool = False,
    on_epoch: Callable[[int, Npe, float], Any] | None = None,
) -> tuple[Npe, FitResult]:
    """Maximise the mean log posterior density of noisy stars.

    Stars without abundances (NaN: the model has no such star) do not count.

    Args:
        key: determines the first weights and every batch.
        stars: where the training stars come from.
        prior: of the stars; the network's density is relative to it.
        config: flow and schedule.
        start: a network of the same kind to go on from, which is the result if no
            epoch is better; None is a new one.
        galaxy_only: train the flow of the global parameters only. A galaxy adds its
            error up once for each star, while that of the local ones stays as it is.
        checkpoint: folder for a resumable state.
        quiet: no progress bar.
        on_epoch: see `compute.train.fit`; gets an `Npe` instead of its arrays.

    Returns:
        The network, and the losses per epoch: mean -log density of the latents.
    """
    key_init, key_held_out, key_fit = jax.random.split(key, 3)
    noisy_stars = jax.jit(_noisy_stars, static_argnums=(3, 4))
    some = noisy_stars(key_held_out, stars, prior, config.n_held_out, config.measure)
    npe, held_out = start or _initial(key_init, some, prior, config), some[:2]
    arrays, static = eqx.partition(npe, eqx.is_array)
    trainable, frozen = eqx.partition(arrays, _is_trainable(arrays, galaxy_only))
    density = _galaxy_density if galaxy_only else latent_log_prob
    whole = lambda params: eqx.combine(params, frozen, static)  # noqa: E731
    n_steps = config.fit.n_epochs * config.fit.steps_per_epoch
    result = fit(
        key_fit,
        trainable,
        optimizer=_optimizer(config.learning_rate, n_steps),
        draw=lambda k, data: _noisy_stars(
            k, data[0], prior, config.batch_size, config.measure
        )[:2],
        loss=lambda params, batch, data: _loss(
            density, eqx.combine(params, data[1], static), batch
        ),
        data=(stars, frozen),
        held_out=held_out,
        config=config.fit,
        start_counts=start is not None,
        checkpoint=checkpoint,
        quiet=quiet,
        on_epoch=on_epoch and (lambda i, params, now: on_epoch(i, whole(params), now)),
    )
    return whole(result.params), result


def new_npe(key: Key[Array, ""], prior: Prior, config: NpeConfig) -> Npe:
    """An untrained network; its posterior is the prior."""
    key_galaxy, key_star = jax.random.split(key)
    return _with_flows(key_galaxy, key_star, prior, config)


def blank_npe(prior: Prior, config: NpeConfig) -> Npe:
    """A network for weights that are read from a file."""
    key = jax.random.key(0)
    return _with_flows(key, key, prior, config)  # key reuse: no first weight stays


def _with_flows(
    key_galaxy: Key[Array, ""],
    key_star: Key[Array, ""],
    prior: Prior,
    config: NpeConfig,
) -> Npe:
    reader = config.measure.blank_reader()
    n = reader.n_features
    return Npe(
        galaxy_flow=config.flow.build(key_galaxy, N_GLOBAL, n, 0),
        star_flow=config.flow.build(key_star, N_LOCAL, n, N_GLOBAL),
        reader=reader,
        prior=prior,
    )


def _initial(
    key: Key[Array, ""], some: tuple[Array, ...], prior: Prior, config: NpeConfig
) -> Npe:
    _, *known = (np.asarray(x) for x in some)
    good = np.isfinite(known[0]).all(axis=-1)
    reader = config.measure.make_reader(*(x[good] for x in known))
    return eqx.tree_at(lambda n: n.reader, new_npe(key, prior, config), reader)


def _is_trainable(npe: Npe, galaxy_only: bool) -> PyTree:
    """True for the arrays of the flows, False for scaling and prior."""
    no = jax.tree.map(lambda _: False, npe)

    def flows(n: Npe) -> tuple:
        return (n.galaxy_flow,) if galaxy_only else (n.galaxy_flow, n.star_flow)

    return eqx.tree_at(flows, no, jax.tree.map(eqx.is_inexact_array, flows(npe)))


def _optimizer(learning_rate: float, n_steps: int) -> optax.GradientTransformation:
    schedule = optax.cosine_decay_schedule(learning_rate, n_steps)
    return optax.chain(optax.clip_by_global_norm(5.0), optax.adam(schedule))


def _noisy_stars(
    key: Key[Array, ""],
    stars: FreshStars | StoredStars,
    prior: Prior,
    n: int,
    measure: Measurements,
) -> tuple[Array, Array, Array, Array]:
    """Latents, inputs of the network, and what these were made from."""
    key_stars, key_noise = jax.random.split(key)
    latent, abundances = stars.draw(key_stars, n)
    birth_time = priors.from_normal(prior, latent)[:, BIRTH_TIME]
    inputs = measure.observe(key_noise, abundances, birth_time)
    return latent, inputs, abundances, birth_time


def _galaxy_density(npe: Npe, latent: Array, inputs: Array) -> Array:
    return global_latent_log_prob(npe, latent[:, :N_GLOBAL], inputs)


def _loss(
    density: Callable[[Npe, Array, Array], Array],
    npe: Npe,
    batch: tuple[Array, Array],
) -> Array:
    latent, inputs = batch
    good = jnp.isfinite(inputs).all(axis=-1)
    safe = jnp.where(good[:, None], inputs, npe.reader.blank())
    gain = jnp.where(good, density(npe, latent, safe), 0.0)
    return -jnp.sum(gain) / jnp.sum(good)
