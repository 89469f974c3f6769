"""Second part of the training: the head and the flow, on a bank of mock galaxies.

Most of the training time goes to the networks that read the stars. This limits a batch
to about a hundred galaxies, which is enough for these networks, and too few for the
density of 44 latents. With the networks of the stars fixed, the summary of a mock
galaxy is computed once only. The head, with more units, and the flow are trained on
batches that are drawn at random from the summaries of a million galaxies.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree
from tqdm import tqdm

from chemsbi_jax.compute.train import FitConfig, FitResult, clipped_adam, fit
from chemsbi_jax.errors import ConvergenceError
from chemsbi_jax.galaxy.hierarchical.head import (
    Units,
    in_units,
    require_width,
    with_wide_head,
)
from chemsbi_jax.galaxy.hierarchical.mock import draw_mock
from chemsbi_jax.galaxy.hierarchical.network import (
    LogDensities,
    SharedNetwork,
    densities_of_summary,
    summarise,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.training import GALAXY_WEIGHT, MAX_GRADIENT
from chemsbi_jax.types import AnyArray

SIZES = ((10, 0.15), (30, 0.15), (100, 0.2), (300, 0.25), (1000, 0.25))
"""Stars of a galaxy of the bank, and the share of such galaxies."""
STARS_AT_ONCE = 200_000  # of one call
IN_PARALLEL = 16  # galaxies of a call whose stars are in memory
SMALLEST_SPREAD = 1e-4  # of a summary's feature


class Bank(NamedTuple):
    """What the density of psi is trained on."""

    summary: Float[AnyArray, "galaxy feature"]
    ratio: Float[AnyArray, "galaxy psi"]  # prior scales over the default ones
    psi: Float[AnyArray, "galaxy psi"]  # latents


@dataclass(frozen=True)
class HeadTraining:
    """Size of the bank and of the head, and the schedule of the training."""

    width: int = 384
    """Of the two layers of the head."""
    n_galaxies: int = 1_000_000
    """Of the bank."""
    held_out: float = 0.02
    """Share of the bank that is not trained on."""
    batch: int = 512
    """Galaxies of a batch."""
    learning_rate: float = 1e-3
    """Initial learning rate of Adam; it falls to zero along a cosine."""
    fit: FitConfig = FitConfig(n_epochs=72, steps_per_epoch=1000)
    """Length of the training."""


def train_on_bank(
    key: Key[Array, ""],
    network: SharedNetwork,
    model: Model,
    layout: Layout,
    outlier_width: float,
    config: HeadTraining,
    *,
    quiet: bool = False,
) -> tuple[SharedNetwork, FitResult]:
    """Draw a bank and train on it; see `draw_bank` and `train_head`.

    Raises:
        InputError: the head of the network is wider than `config.width`.
        ConvergenceError: a summary or a loss is not finite.
    """
    require_width(network, config.width)  # before the bank, which takes minutes
    key_bank, key_head = jax.random.split(key)
    task = network, model, layout, outlier_width, config.n_galaxies
    bank = draw_bank(key_bank, *task, quiet=quiet)
    return train_head(key_head, network, bank, config, quiet=quiet)


def draw_bank(
    key: Key[Array, ""],
    network: SharedNetwork,
    model: Model,
    layout: Layout,
    outlier_width: float,
    n_galaxies: int,
    *,
    quiet: bool = False,
) -> Bank:
    """Summaries of mock galaxies of all sizes, in random order.

    Args:
        key: determines everything random.
        network: its networks of the stars make the summaries.
        model: forward model and prior.
        layout: of psi, with the default prior scales.
        outlier_width: of the outliers' abundances [dex].
        n_galaxies: of the bank.
        quiet: no progress bar.

    Raises:
        ConvergenceError: a summary is not finite.
    """
    key_draw, key_order = jax.random.split(key)
    key_sizes = jax.random.split(key_draw, len(SIZES))
    parts, each = [], [round(n_galaxies * share) for _, share in SIZES]
    with tqdm(total=sum(each), desc="galaxies", disable=quiet) as bar:
        for key_size, (size, _), n in zip(key_sizes, SIZES, each, strict=True):
            at_once = min(n, max(IN_PARALLEL, STARS_AT_ONCE // size))
            for i, key_call in enumerate(jax.random.split(key_size, -(-n // at_once))):
                task = network, model, layout, outlier_width, size
                found = _summaries(jax.random.split(key_call, at_once), *task)
                n_kept = min(at_once, n - i * at_once)
                parts.append(jax.tree.map(lambda x, n=n_kept: np.asarray(x[:n]), found))
                bar.update(n_kept)
    bank = jax.tree.map(lambda *x: np.concatenate(x), *parts)
    if not np.isfinite(bank.summary).all():
        raise ConvergenceError(
            "Expected finite summaries of all mock galaxies; got NaN or infinity. Are "
            "the weights of the network finite?"
        )
    order = np.asarray(jax.random.permutation(key_order, len(bank.psi)))
    return jax.tree.map(lambda x: x[order], bank)


@eqx.filter_jit
def _summaries(keys: Key[Array, " galaxy"], *task: Any) -> Bank:
    """`summary_of` for each key; `task` is its further arguments."""
    return jax.lax.map(lambda key: summary_of(key, *task), keys, batch_size=IN_PARALLEL)


def summary_of(
    key: Key[Array, ""],
    network: SharedNetwork,
    model: Model,
    layout: Layout,
    outlier_width: float,
    size: int,
) -> Bank:
    """The summary of one galaxy of `draw_mock`, with that many stars."""
    galaxy = draw_mock(key, model, layout, outlier_width, size)
    summary = summarise(network, galaxy.stars, galaxy.counts)
    return Bank(summary, galaxy.ratio, galaxy.psi)


def train_head(
    key: Key[Array, ""],
    network: SharedNetwork,
    bank: Bank,
    config: HeadTraining,
    *,
    quiet: bool = False,
) -> tuple[SharedNetwork, FitResult]:
    """Widen the head, and train it and the flow on a bank.

    Args:
        key: determines the new weights and the batches.
        network: after the first part of the training.
        bank: of `draw_bank`.
        config: size and schedule.
        quiet: no progress bar.

    Returns:
        The network, and its losses per epoch [nat].
    """
    key_new, key_fit = jax.random.split(key)
    units = units_of(bank)
    start = in_units(with_wide_head(key_new, network, config.width), units)
    bank = bank._replace(summary=(bank.summary - units.mean) / units.spread)
    n = round(config.held_out * len(bank.psi))
    parts = (jax.tree.map(lambda x, s=s: x[s], bank) for s in np.s_[:n, n:])
    held_out, data = jax.device_put(tuple(parts))  # once, not in each epoch
    params, static = eqx.partition((start.head, start.flow), eqx.is_inexact_array)

    def draw(key: Key[Array, ""], data: Bank) -> Bank:
        rows = jax.random.randint(key, (config.batch,), 0, len(data.psi))
        return jax.tree.map(lambda x: x[rows], data)

    def loss(params: PyTree, batch: Bank, _) -> Float[Array, ""]:
        return bank_loss(_with(start, eqx.combine(params, static)), batch, config.batch)

    n_steps = config.fit.n_epochs * config.fit.steps_per_epoch
    result = fit(
        key_fit,
        params,
        optimizer=clipped_adam(config.learning_rate, n_steps, MAX_GRADIENT),
        draw=draw,
        loss=loss,
        data=data,
        held_out=held_out,
        config=config.fit,
        start_counts=True,
        quiet=quiet,
    )
    found = _with(start, eqx.combine(result.params, static))
    back = Units(-units.mean / units.spread, 1.0 / units.spread)
    return in_units(found, back), result


def bank_loss(network: SharedNetwork, bank: Bank, at_once: int) -> Float[Array, ""]:
    """Minus the mean log density of the true latents, as in the first part.

    Args:
        network: its head and flow.
        bank: galaxies.
        at_once: galaxies of one step, which limits the memory.
    """

    def one(galaxy: Bank) -> LogDensities:
        return densities_of_summary(network, *galaxy)

    found = jax.lax.map(one, bank, batch_size=at_once)
    return -jnp.mean(found.all + GALAXY_WEIGHT * found.galaxy)


def _with(network: SharedNetwork, last: tuple[eqx.nn.MLP, PyTree]) -> SharedNetwork:
    """The network with another head and flow."""
    return eqx.tree_at(lambda n: (n.head, n.flow), network, last)


def units_of(bank: Bank) -> Units:
    """Mean and standard deviation of each feature over the galaxies."""
    summary = np.asarray(bank.summary, float)
    spread = np.maximum(summary.std(axis=0), SMALLEST_SPREAD)
    return Units(summary.mean(axis=0).astype(np.float32), spread.astype(np.float32))
