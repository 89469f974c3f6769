"""Further training of the networks of the stars, behind the wide head.

The first part of the training ends with a narrow head. The second part widens the head
with the networks of the stars fixed. Here these networks are trained for the wide head,
on new galaxies in each step; the head and the flow follow slowly, as batches of a
hundred galaxies are too few for them. A new second part comes after it (`bank`).
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import equinox as eqx
import jax
from jaxtyping import Array, Key

from chemsbi_jax.compute.train import (
    FitConfig,
    FitResult,
    Optimizer,
    clipped_adam_of_groups,
    fit,
)
from chemsbi_jax.galaxy.hierarchical.network import SharedNetwork
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.training import (
    GROUPS,
    MAX_GRADIENT,
    Groups,
    batch_loss,
    draw_batch,
    draw_held_out,
    fixed_inputs,
)


@dataclass(frozen=True)
class Tuning:
    """Schedule of the further training of the networks of the stars."""

    learning_rate: float = 1e-3
    """Largest learning rate of Adam; it falls to zero along a cosine."""
    density_rate: float = 0.1
    """Learning rate of the head and the flow, over that of the other weights."""
    groups: Groups = GROUPS
    """Galaxies of a batch, and the stars of each."""
    n_held_out: int = 8
    """Batches that are not trained on."""
    fit: FitConfig = FitConfig(n_epochs=330, steps_per_epoch=100)
    """Length of the training."""


def tune_star_networks(
    key_held_out: Key[Array, ""],
    key_fit: Key[Array, ""],
    network: SharedNetwork,
    model: Model,
    layout: Layout,
    outlier_width: float,
    config: Tuning,
    *,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> tuple[SharedNetwork, FitResult]:
    """Train all weights further, those of the head and the flow slowly.

    Args:
        key_held_out: determines the galaxies that measure the loss only.
        key_fit: determines the galaxies of the training.
        network: after the second part of the training.
        model: forward model and prior.
        layout: of psi, with the default prior scales.
        outlier_width: of the outliers' abundances [dex].
        config: schedule.
        checkpoint: folder for a resumable state.
        quiet: no progress bar.

    Returns:
        The network, and its losses per epoch (`batch_loss`) [nat]; the given network
        if none has a lower loss.
    """
    data = (model, layout, outlier_width)
    params, static = eqx.partition(network, eqx.is_inexact_array)

    def loss(params, batch, _):
        return batch_loss(fixed_inputs(network, eqx.combine(params, static)), batch)

    result = fit(
        key_fit,
        params,
        optimizer=optimizer_of(params, config),
        draw=partial(draw_batch, groups=config.groups),
        loss=loss,
        data=data,
        held_out=draw_held_out(key_held_out, data, config.n_held_out, config.groups),
        config=config.fit,
        start_counts=True,
        checkpoint=checkpoint,
        quiet=quiet,
    )
    return eqx.combine(result.params, static), result


def optimizer_of(params: SharedNetwork, config: Tuning) -> Optimizer:
    """Adam with a small learning rate for the head and the flow."""
    groups = jax.tree.map(lambda _: "stars", params)
    density = jax.tree.map(lambda _: "density", (params.head, params.flow))
    groups = eqx.tree_at(lambda n: (n.head, n.flow), groups, density)
    n_steps = config.fit.n_epochs * config.fit.steps_per_epoch
    rate = config.learning_rate
    rates = {"stars": rate, "density": rate * config.density_rate}
    return clipped_adam_of_groups(rates, groups, n_steps, MAX_GRADIENT)
