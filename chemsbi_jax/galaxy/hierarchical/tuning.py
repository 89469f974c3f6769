"""Further training of the networks of the stars, behind the wide head.

The first part of the training ends with a narrow head. The second part widens the head
with the networks of the stars fixed. Here these networks are trained for the wide head,
on new galaxies in each step; the head and the flow follow slowly, as batches of a
hundred galaxies are too few for them. A new second part comes after it (`bank`).
"""

from dataclasses import dataclass
from pathlib import Path

import equinox as eqx
import jax
import optax
from jaxtyping import Array, Key

from chemsbi_jax.compute.train import FitConfig, FitResult, fit
from chemsbi_jax.galaxy.hierarchical.network import SharedNetwork
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.training import (
    MAX_GRADIENT,
    batch_loss,
    draw_batch,
    draw_held_out,
)


@dataclass(frozen=True)
class Tuning:
    """Schedule of the further training of the networks of the stars."""

    learning_rate: float = 1e-3
    """Largest learning rate of Adam; it falls to zero along a cosine."""
    density_rate: float = 0.1
    """Learning rate of the head and the flow, over that of the other weights."""
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
        key_held_out: determines the galaxies that are not trained on.
        key_fit: determines those that are.
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
        fixed = jax.tree.map(jax.lax.stop_gradient, (network.centre, network.width))
        found = eqx.combine(params, static)
        found = eqx.tree_at(lambda n: (n.centre, n.width), found, fixed)
        return batch_loss(found, batch)

    result = fit(
        key_fit,
        params,
        optimizer=_optimizer(params, config),
        draw=draw_batch,
        loss=loss,
        data=data,
        held_out=draw_held_out(key_held_out, data, config.n_held_out),
        config=config.fit,
        start_counts=True,
        checkpoint=checkpoint,
        quiet=quiet,
    )
    return eqx.combine(result.params, static), result


def _optimizer(params: SharedNetwork, config: Tuning) -> optax.GradientTransformation:
    """Adam of clipped gradients, with a rate for the density and one for the rest."""
    n_steps = config.fit.n_epochs * config.fit.steps_per_epoch

    def adam(rate: float) -> optax.GradientTransformation:
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, rate, n_steps // 50 + 1, n_steps
        )
        return optax.adam(schedule)

    rate = config.learning_rate
    rates = {"stars": adam(rate), "density": adam(rate * config.density_rate)}
    groups = jax.tree.map(lambda _: "stars", params)
    density = jax.tree.map(lambda _: "density", (params.head, params.flow))
    groups = eqx.tree_at(lambda n: (n.head, n.flow), groups, density)
    return optax.chain(
        optax.clip_by_global_norm(MAX_GRADIENT),
        optax.multi_transform(rates, groups),
    )
