"""A small conditional emulator, trained to give what a larger one does.

Chains that integrate over all stars of a galaxy need millions of evaluations; a third
of the time a call is worth a few thousandths of a dex there.
"""

import os
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import PARAMETERS
from chemsbi_jax.emulator.conditional import (
    YieldEmulator,
    emulate_yields,
    load_yield_emulator,
    predict_change,
)
from chemsbi_jax.emulator.conditional_training import (
    YieldEmulatorConfig,
    sample_factors,
    train_yield_emulator,
)
from chemsbi_jax.emulator.network import EmulatorConfig, emulate, train_emulator
from chemsbi_jax.priors import Prior
from chemsbi_jax.storage.weights import weights_folder

SMALL = "small"  # folder of the small emulator inside that of the large one
HIDDEN, TRUNK, WIDTH = (48, 48), 32, 24
N_ROWS = 400_000
SPREAD, FARTHEST = 1.4, 4.95  # of the latents, in prior widths: likelihoods go to 5
N_TEST = 20_000


class SmallEmulator(NamedTuple):
    """The trained emulator, and its errors [dex] on stars of the prior."""

    emulator: YieldEmulator
    rms: Float[np.ndarray, " element"]
    bias: Float[np.ndarray, " element"]


def train_small_emulator(
    key: Key[Array, ""],
    large: YieldEmulator,
    prior: Prior,
    *,
    n_epochs: int = 120,
    steps_per_epoch: int = 1000,
    quiet: bool = False,
) -> SmallEmulator:
    """Distil an emulator (Hinton, Vinyals & Dean 2015, arXiv 1503.02531).

    Args:
        key: determines all random numbers.
        large: the emulator to approximate.
        prior: of the six parameters; the rows are drawn from a wider one.
        n_epochs: of each of the two networks.
        steps_per_epoch: of 1024 rows.
        quiet: no progress bars.
    """
    key_theta, key_factors, key_base, key_change, key_test = jax.random.split(key, 5)
    edge = FARTHEST / SPREAD
    shape = N_ROWS, len(PARAMETERS)
    latents = SPREAD * jax.random.truncated_normal(key_theta, -edge, edge, shape)
    theta = priors.from_normal(prior, latents)
    factors = sample_factors(key_factors, N_ROWS)
    fit = FitConfig(n_epochs=n_epochs, steps_per_epoch=steps_per_epoch)
    base, _ = train_emulator(
        key_base,
        theta,
        jax.jit(emulate)(theta, large.base),
        (large.base.theta_low, large.base.theta_high),
        EmulatorConfig(hidden=HIDDEN, fit=fit),
        quiet=quiet,
    )
    small, _ = train_yield_emulator(
        key_change,
        theta,
        factors,
        jax.jit(predict_change)(theta, factors, large),
        base,
        YieldEmulatorConfig(trunk=TRUNK, width=WIDTH, fit=fit),
        quiet=quiet,
    )
    return SmallEmulator(small, *_errors(key_test, small, large, prior))


def _errors(key: Key[Array, ""], small, large, prior: Prior):
    """Root mean square and mean of the differences [dex]."""
    key_theta, key_factors = jax.random.split(key)
    latents = jax.random.normal(key_theta, (N_TEST, len(PARAMETERS)))
    theta = priors.from_normal(prior, latents)
    factors = jnp.asarray(sample_factors(key_factors, N_TEST, uniform_share=0.0))
    call = jax.jit(emulate_yields)
    away = np.asarray(call(theta, factors, small) - call(theta, factors, large))
    away = away[np.isfinite(away).all(axis=1)]
    return np.sqrt((away**2).mean(axis=0)), away.mean(axis=0)


def load_small_emulator(name: str | os.PathLike = "tng") -> YieldEmulator:
    """The small emulator beside the shipped weights of this name, or in a folder.

    Raises:
        WeightsError: there is none, or it does not fit this package.
    """
    return load_yield_emulator(Path(weights_folder(name)) / SMALL)
