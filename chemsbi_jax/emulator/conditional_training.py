"""Training of the conditional emulator on pairs of simulations."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, ArrayLike, Float, Key, PyTree

from chemsbi_jax.compute.train import FitConfig, FitResult, fit
from chemsbi_jax.constants import YIELD_FACTORS
from chemsbi_jax.emulator.conditional import (
    N_SIGMA,
    YieldEmulator,
    init_network,
    predict_change,
)
from chemsbi_jax.emulator.network import Emulator
from chemsbi_jax.errors import InputError

FACTOR_SCALES = dict(
    sn2_c=0.3, sn2_n=0.3, sn2_o=0.3, sn2_ne=0.3, sn2_mg=0.3, sn2_si=0.3, sn2_fe=0.2,
    agb_c=0.3, agb_n=0.3, snia_si=0.25, snia_fe=0.15,
)  # fmt: skip
"""Standard deviation [dex] of each factor in the training.

At least the spread of the published yield sets, so that the box of 3 standard
deviations holds all of them.
"""
LOSS_SCALE = 0.003  # dex; beyond, the loss grows linearly
MIN_PAIRS = 100


@dataclass(frozen=True)
class YieldEmulatorConfig:
    """Size of the factor network and schedule of its training."""

    trunk: int = 64
    """Width of the two layers of theta."""
    width: int = 80
    """Width of the two layers of the factors."""
    batch_size: int = 1024
    """Pairs a step."""
    learning_rate: float = 3e-3
    """Initial learning rate of Adam; it falls to zero along a cosine."""
    fit: FitConfig = FitConfig(n_epochs=40, steps_per_epoch=1000)
    """Length of the training."""


def factor_scales() -> Float[np.ndarray, " factor"]:
    """Standard deviations [dex] of the factors, in the order of `YIELD_FACTORS`."""
    return np.array([FACTOR_SCALES[name] for name in YIELD_FACTORS])


def sample_factors(
    key: Key[Array, ""], n: int, uniform_share: float = 0.3
) -> Float[Array, "n factor"]:
    """Log10 factors for training, in the box of +-3 standard deviations.

    Args:
        key: determines the draws.
        n: how many.
        uniform_share: part of the rows that is uniform in the box; the others are
            normal, cut off at its edges.
    """
    key_normal, key_uniform, key_which = jax.random.split(key, 3)
    shape = (n, len(YIELD_FACTORS))
    normal = jax.random.truncated_normal(key_normal, -N_SIGMA, N_SIGMA, shape)
    uniform = jax.random.uniform(key_uniform, shape, minval=-N_SIGMA, maxval=N_SIGMA)
    is_uniform = jax.random.uniform(key_which, (n, 1)) < uniform_share
    return jnp.where(is_uniform, uniform, normal) * factor_scales()


def train_yield_emulator(
    key: Key[Array, ""],
    theta: Float[ArrayLike, "n param"],
    factors: Float[ArrayLike, "n factor"],
    change: Float[ArrayLike, "n element"],
    base: Emulator,
    config: YieldEmulatorConfig = YieldEmulatorConfig(),
    *,
    held_out_share: float = 0.02,
    checkpoint: Path | None = None,
    quiet: bool = False,
) -> tuple[YieldEmulator, FitResult]:
    """Train on pairs of simulations; rows with NaN (no such star) are left out.

    Args:
        key: determines the first weights, the split and the batches.
        theta: parameters of the simulations.
        factors: their log10 factors (`sample_factors`).
        change: abundances with the factors less those without [dex].
        base: the emulator of the same yields without factors.
        config: size and schedule.
        held_out_share: part of the pairs that is only used to choose the best epoch.
        checkpoint: folder for a resumable state.
        quiet: no progress bar.

    Returns:
        The emulator and its losses, per epoch.

    Raises:
        InputError: fewer than 100 pairs are finite.
    """
    key_init, key_split, key_fit = jax.random.split(key, 3)
    rows = _finite_rows(key_split, theta, factors, change)
    n_out = max(1, int(held_out_share * len(rows[0])))
    limit = jnp.asarray(N_SIGMA * factor_scales(), jnp.float32)
    start = YieldEmulator(
        base, init_network(key_init, config.trunk, config.width), limit
    )
    n_steps = config.fit.n_epochs * config.fit.steps_per_epoch
    rate = optax.cosine_decay_schedule(config.learning_rate, n_steps)
    result = fit(
        key_fit,
        start.network,
        optimizer=optax.adam(rate),
        draw=lambda k, data: _draw_rows(k, data[0], config.batch_size),
        loss=lambda network, batch, data: _loss(
            data[1]._replace(network=network), batch
        ),
        data=(tuple(x[n_out:] for x in rows), start._replace(network=None)),
        held_out=tuple(x[:n_out] for x in rows),
        config=config.fit,
        checkpoint=checkpoint,
        quiet=quiet,
    )
    return start._replace(network=result.params), result


def _finite_rows(key: Key[Array, ""], *rows: ArrayLike) -> tuple[Array, ...]:
    """Rows of finite simulations in a random order."""
    arrays = [np.asarray(x, np.float32) for x in rows]
    good = np.asarray(np.isfinite(arrays[-1]).all(axis=-1))
    if good.sum() < MIN_PAIRS:
        raise InputError(
            f"Expected at least {MIN_PAIRS} finite pairs of simulations; got "
            f"{good.sum()} of {len(good)}."
        )
    order = np.asarray(jax.random.permutation(key, int(good.sum())))
    return tuple(jnp.asarray(x[good][order]) for x in arrays)


def _draw_rows(key: Key[Array, ""], rows: PyTree, n: int) -> PyTree:
    index = jax.random.randint(key, (n,), 0, rows[0].shape[0])
    return jax.tree.map(lambda x: x[index], rows)


def _loss(emulator: YieldEmulator, batch: tuple[Array, Array, Array]) -> Array:
    theta, factors, change = batch
    errors = (predict_change(theta, factors, emulator) - change) / LOSS_SCALE
    return jnp.mean(jnp.sqrt(1.0 + errors**2) - 1.0)
