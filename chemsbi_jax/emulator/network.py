"""The emulator f(theta): a fully connected network, its training and its files."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Bool, Float, Key, PyTree

from chemsbi_jax.compute.devices import refuse_forked_process
from chemsbi_jax.compute.train import FitConfig, FitResult, fit
from chemsbi_jax.constants import PARAMETERS
from chemsbi_jax.errors import InputError, WeightsError
from chemsbi_jax.storage.weights import (
    load_arrays,
    load_spec,
    save_weights,
    training_of,
    weights_folder,
)
from chemsbi_jax.types import EIGHT, AbundanceNames

OUTLIER_SCALE = 0.3  # in standard deviations; beyond, the loss grows linearly


class Emulator(NamedTuple):
    """Weights and scaling of the network; its size follows from the shapes."""

    network: PyTree  # Flax parameters
    theta_mean: Float[Array, " param"]
    theta_scale: Float[Array, " param"]
    abundance_mean: Float[Array, " element"]  # dex
    abundance_scale: Float[Array, " element"]  # dex
    theta_low: Float[Array, " param"]  # the box that the training covered
    theta_high: Float[Array, " param"]
    abundances: AbundanceNames = EIGHT  # names of the elements' axis; static


@dataclass(frozen=True)
class EmulatorConfig:
    """Size of the network and schedule of its training."""

    hidden: tuple[int, ...] = (128, 128, 128)
    """Widths of the hidden layers."""
    batch_size: int = 1024
    """Simulations a step."""
    learning_rate: float = 3e-3
    """Initial learning rate of Adam; it falls to zero along a cosine."""
    decay: bool = True
    """False keeps the learning rate, as the reference does."""
    fit: FitConfig = FitConfig(n_epochs=60, steps_per_epoch=1000)
    """Length of the training."""


REFERENCE = EmulatorConfig(
    hidden=(100, 40),
    batch_size=64,
    learning_rate=1e-3,
    decay=False,
    fit=FitConfig(n_epochs=20, steps_per_epoch=7812),
)
"""The recipe of Buck+ 2025: 20 epochs of 500,000 simulations."""


class Mlp(nn.Module):
    """Fully connected network with tanh between its layers."""

    widths: Sequence[int]

    @nn.compact
    def __call__(self, x: Array) -> Array:
        """Standardised theta (..., 6) to standardised abundances."""
        for width in self.widths[:-1]:
            x = nn.tanh(nn.Dense(width)(x))
        return nn.Dense(self.widths[-1])(x)


def emulate(
    theta: Float[ArrayLike, "*batch param"], emulator: Emulator
) -> Float[Array, "*batch element"]:
    """Abundances [dex] of stars, as `simulate` gives them, from the network.

    Args:
        theta: parameters (..., 6) in the order of `PARAMETERS`.
        emulator: `load_emulator` or `train_emulator`.

    Returns:
        (..., n) dex in the order of `emulator.abundances` (`ABUNDANCES` for the shipped
        weights); NaN outside the box of the training (`in_range`), where a network
        would only guess.

    Raises:
        ValueError: the last axis of `theta` is not 6.
    """
    theta = jnp.asarray(theta, emulator.theta_mean.dtype)
    if theta.ndim == 0 or theta.shape[-1] != len(PARAMETERS):
        raise ValueError(
            f"Expected theta of shape (..., {len(PARAMETERS)}), in the order "
            f"{PARAMETERS}; got {theta.shape}."
        )
    inside = in_range(theta, emulator)
    return jnp.where(inside[..., None], _predict(theta, emulator), jnp.nan)


def in_range(
    theta: Float[Array, "*batch param"], emulator: Emulator
) -> Bool[Array, "*batch"]:
    """Whether each theta lies in the box that the training covered."""
    inside = (theta >= emulator.theta_low) & (theta <= emulator.theta_high)
    return jnp.all(inside, axis=-1)


def _predict(theta: Array, emulator: Emulator) -> Array:
    x = (theta - emulator.theta_mean) / emulator.theta_scale
    y = jnp.asarray(Mlp(_widths(emulator)).apply(emulator.network, x))
    return emulator.abundance_mean + emulator.abundance_scale * y


def _widths(emulator: Emulator) -> tuple[int, ...]:
    layers = emulator.network["params"]
    return tuple(layers[f"Dense_{i}"]["bias"].shape[0] for i in range(len(layers)))


def train_emulator(
    key: Key[Array, ""],
    theta: Float[ArrayLike, "n param"],
    abundances: Float[ArrayLike, "n element"],
    box: tuple[Float[ArrayLike, " param"], Float[ArrayLike, " param"]],
    config: EmulatorConfig = EmulatorConfig(),
    *,
    held_out_share: float = 0.02,
    checkpoint: Path | None = None,
    quiet: bool = False,
    on_epoch: Callable[[int, Emulator, float], Any] | None = None,
    names: Sequence[str] = EIGHT,
) -> tuple[Emulator, FitResult]:
    """Train on simulations; rows with NaN (no such star) are left out.

    Args:
        key: determines the first weights, the split and the batches.
        theta: parameters of the simulations.
        abundances: their abundances [dex].
        box: lowest and highest theta of the training, for `in_range`.
        config: size and schedule.
        held_out_share: part of the simulations that is only used to choose the best
            epoch.
        checkpoint: folder for a resumable state.
        quiet: no progress bar.
        on_epoch: see `compute.train.fit`; gets an `Emulator` instead of its arrays.
        names: of the columns of `abundances`.

    Returns:
        The emulator and its losses, per epoch.

    Raises:
        InputError: fewer than 100 simulations are finite.
    """
    theta, abundances = _finite_rows(theta, abundances)
    key_init, key_split, key_fit = jax.random.split(key, 3)
    order = np.asarray(jax.random.permutation(key_split, len(theta)))
    n_out = max(1, int(held_out_share * len(theta)))
    start = _initial(key_init, theta, abundances, box, config.hidden)
    start = start._replace(abundances=AbundanceNames(names))
    pairs = (jnp.asarray(theta[order]), jnp.asarray(abundances[order]))

    def finish(network: PyTree) -> Emulator:
        return start._replace(network=network)

    result = fit(
        key_fit,
        start.network,
        optimizer=_optimizer(config),
        draw=lambda k, data: _draw_rows(k, data[0], config.batch_size),
        loss=lambda network, batch, data: _loss(
            data[1]._replace(network=network), batch
        ),
        data=(jax.tree.map(lambda x: x[n_out:], pairs), start),
        held_out=jax.tree.map(lambda x: x[:n_out], pairs),
        config=config.fit,
        checkpoint=checkpoint,
        quiet=quiet,
        on_epoch=on_epoch and (lambda i, net, now: on_epoch(i, finish(net), now)),
    )
    return finish(result.params), result


def _finite_rows(
    theta: ArrayLike, abundances: ArrayLike
) -> tuple[np.ndarray, np.ndarray]:
    theta, abundances = np.asarray(theta), np.asarray(abundances)
    good = np.asarray(np.isfinite(abundances).all(axis=-1))
    if good.sum() < 100:
        raise InputError(
            f"Expected at least 100 finite simulations; got {good.sum()} of "
            f"{len(good)}."
        )
    return theta[good], abundances[good]


def _initial(
    key: Key[Array, ""],
    theta: Float[np.ndarray, "n param"],
    abundances: Float[np.ndarray, "n element"],
    box: tuple[Float[ArrayLike, " param"], Float[ArrayLike, " param"]],
    hidden: Sequence[int],
) -> Emulator:
    widths = (*hidden, abundances.shape[1])
    network = Mlp(widths).init(key, jnp.zeros(len(PARAMETERS)))
    low, high = (jnp.asarray(x, jnp.float32) for x in box)
    # medians and percentiles, as a few stars of the wide box are very far out
    q16, q50, q84 = np.quantile(abundances, [0.16, 0.5, 0.84], axis=0)
    scale = np.where(q84 > q16, (q84 - q16) / 2.0, 1.0)  # 1: an element is missing
    return Emulator(
        network=network,
        theta_mean=jnp.asarray(theta.mean(axis=0), jnp.float32),
        theta_scale=jnp.asarray(theta.std(axis=0), jnp.float32),
        abundance_mean=jnp.asarray(q50, jnp.float32),
        abundance_scale=jnp.asarray(scale, jnp.float32),
        theta_low=low,
        theta_high=high,
    )


def _optimizer(config: EmulatorConfig) -> optax.GradientTransformation:
    n_steps = config.fit.n_epochs * config.fit.steps_per_epoch
    rate = config.learning_rate
    return optax.adam(
        optax.cosine_decay_schedule(rate, n_steps) if config.decay else rate
    )


def _draw_rows(key: Key[Array, ""], rows: PyTree, n: int) -> PyTree:
    index = jax.random.randint(key, (n,), 0, rows[0].shape[0])
    return jax.tree.map(lambda x: x[index], rows)


def _loss(emulator: Emulator, batch: tuple[Array, Array]) -> Array:
    theta, abundances = batch
    errors = (_predict(theta, emulator) - abundances) / emulator.abundance_scale
    scale = OUTLIER_SCALE
    return jnp.mean(scale**2 * (jnp.sqrt(1.0 + (errors / scale) ** 2) - 1.0))


def save_emulator(folder: Path, emulator: Emulator, spec: Mapping) -> None:
    """Write emulator.safetensors and emulator.json (see `save_weights`)."""
    hidden = list(_widths(emulator)[:-1])
    about = {"hidden": hidden, "abundances": list(emulator.abundances)}
    save_weights(folder, "emulator", emulator, {**about, **spec})


def load_emulator(name: str | os.PathLike = "tng") -> Emulator:
    """Shipped weights, or those in a folder.

    Shipped are "tng", "tng-any", "tng-legacy" and "nkt13-k10-w7".

    Raises:
        WeightsError: unknown name, or weights that do not fit this package.
    """
    refuse_forked_process()
    folder = weights_folder(name)
    spec = load_spec(folder, "emulator")
    hidden = _hidden(folder / "emulator.json", spec)
    names = AbundanceNames(spec["abundances"])
    theta, element = jax.device_put((np.zeros(len(PARAMETERS)), np.zeros(len(names))))
    network = jax.eval_shape(Mlp((*hidden, len(names))).init, jax.random.key(0), theta)
    like = Emulator(network, theta, theta, element, element, theta, theta, names)
    return load_arrays(folder, "emulator", like)


def require_eight(emulator: Emulator, name: str | os.PathLike) -> None:
    """Refuse an emulator whose abundances the posterior networks do not read.

    Raises:
        WeightsError: naming what it has and the remedy.
    """
    if emulator.abundances != EIGHT:
        raise WeightsError(
            f"{name}: expected an emulator of {', '.join(EIGHT)}, which the posterior "
            f"networks read; got one of {', '.join(emulator.abundances)}. Name its "
            "yield set in place of the weights (--yields), whose method is exact."
        )


def _hidden(path: Path, spec: Mapping) -> list[int]:
    widths = spec.get("hidden")
    if isinstance(widths, list) and all(type(w) is int and w > 0 for w in widths):
        return widths
    raise WeightsError(
        f"{path}: expected widths of layers under the key hidden; got {widths!r}. "
        f"Train the network again ({training_of('emulator')}), or name another folder."
    )
