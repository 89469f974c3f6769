"""Training of the network of shared parameters on fresh mock galaxies."""

from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.compute.train import FitConfig, FitResult, clipped_adam, fit
from chemsbi_jax.galaxy.hierarchical.mock import Mock, draw_mock
from chemsbi_jax.galaxy.hierarchical.network import (
    NetworkSize,
    SharedNetwork,
    log_densities,
    new_network,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.likelihood import IRON
from chemsbi_jax.types import AnyArray

Groups = tuple[tuple[int, int], ...]
GROUPS: Groups = ((4, 1000), (8, 300), (24, 100), (32, 30), (48, 10))
"""Galaxies of a batch, and the stars of each."""
N_HELD_OUT = 4  # batches
MAX_GRADIENT = 5.0  # norm
# of the density of the galaxy's two latents, beside that of all 44: the 42 others would
# dominate the loss
GALAXY_WEIGHT = 4.0


@dataclass(frozen=True)
class SharedTraining:
    """Size of the network and schedule of its training."""

    size: NetworkSize = field(default_factory=NetworkSize)
    """Widths."""
    learning_rate: float = 2e-3
    """Initial learning rate of Adam; it falls to zero along a cosine."""
    fit: FitConfig = FitConfig(n_epochs=640, steps_per_epoch=100)
    """Length of the training."""


def train_shared_network(
    key: Key[Array, ""],
    model: Model,
    layout: Layout,
    outlier_width: float | Float[AnyArray, ""],
    config: SharedTraining,
    *,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> tuple[SharedNetwork, FitResult]:
    """Train on galaxies whose psi, priors, errors and gaps are drawn anew each step.

    Args:
        key: determines everything random.
        model: forward model and prior.
        layout: of psi, with the default prior scales.
        outlier_width: of the outliers' abundances [dex].
        config: size and schedule.
        checkpoint: folder for a resumable state.
        quiet: no progress bar.

    Returns:
        The network, and its losses per epoch (`batch_loss`) [nat].
    """
    key_out, key_init, key_fit = jax.random.split(key, 3)
    data = (model, layout, outlier_width)
    held_out = draw_held_out(key_out, data, N_HELD_OUT, GROUPS)
    centre, width = _moments(held_out[1])  # any group will do
    start = new_network(key_init, len(layout.scale), centre, width, config.size)
    params, static = eqx.partition(start, eqx.is_inexact_array)
    n_steps = config.fit.n_epochs * config.fit.steps_per_epoch

    def loss(params, batch, _):
        return batch_loss(fixed_inputs(start, eqx.combine(params, static)), batch)

    result = fit(
        key_fit,
        params,
        optimizer=clipped_adam(config.learning_rate, n_steps, MAX_GRADIENT),
        draw=partial(draw_batch, groups=GROUPS),
        loss=loss,
        data=data,
        held_out=held_out,
        config=config.fit,
        checkpoint=checkpoint,
        quiet=quiet,
    )
    return eqx.combine(result.params, static), result


def batch_loss(network: SharedNetwork, batch: list[Mock]) -> Float[Array, ""]:
    """Minus the mean log density of the true latents, over galaxies of all sizes.

    The density of the galaxy's two latents, normal with the first mean and width, is
    added with the weight `GALAXY_WEIGHT`.
    """
    total, weights = 0.0, 0.0
    for group in batch:
        found = jax.vmap(lambda galaxy: log_densities(network, galaxy))(group)
        each = found.all + GALAXY_WEIGHT * found.galaxy
        # between the inverse error of the group's mean (power 1/2), with which the few
        # large galaxies of a batch hardly count, and equal weights (power 0)
        weight = len(each) ** 0.25
        total, weights = total - weight * jnp.mean(each), weights + weight
    return jnp.asarray(total / weights)


def fixed_inputs(start: SharedNetwork, network: SharedNetwork) -> SharedNetwork:
    """The network with the units of the readings of `start`, which are not trained."""
    units = start.centre, start.width
    return eqx.tree_at(lambda n: (n.centre, n.width), network, units)


def draw_held_out(
    key: Key[Array, ""], data: tuple, n: int, groups: Groups
) -> list[Mock]:
    """`n` batches of `draw_batch`, as one."""
    draw = jax.jit(partial(draw_batch, groups=groups))
    drawn = [draw(k, data) for k in jax.random.split(key, n)]
    return jax.tree.map(lambda *x: jnp.concatenate(x), *drawn)


def draw_batch(key: Key[Array, ""], data: tuple, *, groups: Groups) -> list[Mock]:
    """Mock galaxies of one step.

    Args:
        key: determines everything random.
        data: forward model and prior, layout of psi, width of the outliers [dex].
        groups: galaxies of a batch, and the stars of each.
    """
    model, layout, outlier_width = data
    batch = []
    for key_group, (n, size) in zip(
        jax.random.split(key, len(groups)), groups, strict=True
    ):

        def one(k: Array, size: int = size) -> Mock:
            return draw_mock(k, model, layout, outlier_width, size)

        batch.append(jax.vmap(one)(jax.random.split(key_group, n)))
    return batch


def _moments(galaxies: Mock) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each reading over the stars that have it."""
    stars = jax.tree.map(np.asarray, galaxies.stars)
    value = stars.values - stars.over_h * stars.values[..., IRON : IRON + 1]
    seen = stars.seen * np.asarray(galaxies.counts)[..., None]
    total = seen.sum(axis=(0, 1))
    mean = (seen * value).sum(axis=(0, 1)) / total
    spread = (seen * (value - mean) ** 2).sum(axis=(0, 1)) / total
    return mean, np.sqrt(spread)
