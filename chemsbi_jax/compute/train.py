"""One training loop for every network: scanned steps, one host visit per epoch."""

import hashlib
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Array, Float, Int, Key, PyTree
from tqdm import tqdm

from chemsbi_jax.errors import ConvergenceError
from chemsbi_jax.storage.checkpoints import (
    require_same_settings,
    restore_checkpoint,
    save_checkpoint,
)
from chemsbi_jax.storage.files import sha256_of_arrays

N_HEX = 12  # digits of a checksum, enough to distinguish two trainings
Draw = Callable[[Key[Array, ""], PyTree], PyTree]
"""(key, data) -> batch"""
Optimizer = optax.GradientTransformation
Loss = Callable[[PyTree, PyTree, PyTree], Float[Array, ""]]
"""(params, batch, data) -> number to minimise"""


@dataclass(frozen=True)
class FitConfig:
    """How long to train, and when to stop."""

    n_epochs: int = 100
    """Epochs at most."""
    steps_per_epoch: int = 500
    """Optimiser steps between two evaluations of the held-out loss."""
    patience: int | None = None
    """Epochs without a better held-out loss before stopping; None never stops."""


class FitState(NamedTuple):
    """All that the next epoch needs, so training resumes with the same result."""

    params: PyTree
    opt_state: optax.OptState
    best_params: PyTree  # those with the lowest held-out loss
    best_loss: Float[Array, ""]
    epoch: Int[Array, ""]  # epochs done
    best_epoch: Int[Array, ""]
    train_loss: Float[Array, " epoch"]  # mean over each epoch; NaN where not done
    held_out_loss: Float[Array, " epoch"]


class FitResult(NamedTuple):
    """What training gives."""

    params: PyTree  # with the lowest held-out loss
    train_loss: np.ndarray  # (epoch,)
    held_out_loss: np.ndarray  # (epoch,)


def fit(
    key: Key[Array, ""],
    params: PyTree,
    *,
    optimizer: optax.GradientTransformation,
    draw: Draw,
    loss: Loss,
    data: PyTree,
    held_out: PyTree,
    config: FitConfig,
    start_counts: bool = False,
    checkpoint: Path | None = None,
    quiet: bool = False,
    on_epoch: Callable[[int, PyTree, float], Any] | None = None,
) -> FitResult:
    """Minimise `loss` over batches that `draw` makes afresh from `data`.

    Args:
        key: epoch `i` uses `fold_in(key, i)`, so a resumed run repeats the same draws.
        params: trainable arrays.
        optimizer: an optax transformation.
        draw: makes a batch.
        loss: mean loss of a batch; also applied to `held_out`.
        data: arrays for `draw` and `loss` that do not train.
        held_out: a batch that is never trained on; determines early stopping.
        config: length of the training.
        start_counts: return the initial `params` if no epoch has a lower held-out loss.
        checkpoint: folder that keeps the state after each epoch; the same run with the
            same folder goes on where it ended, or gives its result at once.
        quiet: no progress bar.
        on_epoch: called with (epochs done, params, held-out loss) after each epoch;
            a true return value ends the training.

    Raises:
        ConvergenceError: no epoch has a finite held-out loss.
        InputError: `checkpoint` holds another training; names what differs.
        OutputError: `checkpoint` can't be written to, or is full.
    """
    first = jax.jit(loss)(params, held_out, data) if start_counts else jnp.inf
    first = jnp.where(jnp.isfinite(first), first, jnp.inf)
    state = _start(params, optimizer, config, first)
    run_epoch = _make_epoch(optimizer, draw, loss, config)
    if checkpoint is not None:
        settings = _settings(run_epoch, config, key, state, data, held_out)
        require_same_settings(checkpoint, "fit", settings)
        state = restore_checkpoint(checkpoint, state)
    bar = tqdm(total=config.n_epochs, initial=int(state.epoch), disable=quiet)
    with bar:
        while not _is_done(state, config):
            state = run_epoch(key, state, data, held_out)  # key reuse: folds epoch in
            if checkpoint is not None:
                save_checkpoint(checkpoint, state)
            now = float(state.held_out_loss[int(state.epoch) - 1])
            bar.set_postfix(held_out=f"{now:.5g}", best=f"{float(state.best_loss):.5g}")
            bar.update()
            if on_epoch and on_epoch(int(state.epoch), state.params, now):
                break
    return _result(state)


def _result(state: FitState) -> FitResult:
    """The best parameters, unless no epoch had a finite held-out loss."""
    done = int(state.epoch)
    if done and not np.isfinite(float(state.best_loss)):
        raise ConvergenceError(
            f"Expected a finite held-out loss; got none in {done} epochs of training. "
            "Are all training data finite, and is the learning rate low enough?"
        )
    losses = (np.asarray(x[:done]) for x in (state.train_loss, state.held_out_loss))
    return FitResult(state.best_params, *losses)


def clipped_adam(
    rate: float, n_steps: int, max_norm: float
) -> optax.GradientTransformation:
    """Adam of clipped gradients: its rate rises over 2 % of the steps, then falls to 0.

    Args:
        rate: the largest learning rate.
        n_steps: of the whole training.
        max_norm: of the gradient of one step.
    """
    return optax.chain(optax.clip_by_global_norm(max_norm), _adam(rate, n_steps))


def clipped_adam_of_groups(
    rates: Mapping[str, float], groups: PyTree, n_steps: int, max_norm: float
) -> optax.GradientTransformation:
    """`clipped_adam` with a learning rate for each group of parameters.

    Args:
        rates: the largest learning rate of each group.
        groups: the name of its group for each parameter, in the tree of these.
        n_steps: of the whole training.
        max_norm: of the gradient of one step, of all groups together.
    """
    each: dict[Hashable, optax.GradientTransformation] = {
        name: _adam(rate, n_steps) for name, rate in rates.items()
    }
    return optax.chain(
        optax.clip_by_global_norm(max_norm), optax.multi_transform(each, groups)
    )


def _adam(rate: float, n_steps: int) -> optax.GradientTransformation:
    rise = n_steps // 50 + 1
    total = max(n_steps, rise + 1)  # one step alone has no decay, which optax refuses
    return optax.adam(optax.warmup_cosine_decay_schedule(0.0, rate, rise, total))


def _start(
    params: PyTree,
    optimizer: optax.GradientTransformation,
    config: FitConfig,
    loss: Float[Array, ""],
) -> FitState:
    # dtypes as after an epoch: the second one must not be compiled anew
    real, integer = jnp.result_type(float), jnp.result_type(int)
    return FitState(
        params=params,
        opt_state=optimizer.init(params),
        best_params=params,
        best_loss=jnp.asarray(loss, real),
        epoch=jnp.asarray(0, integer),
        best_epoch=jnp.asarray(0, integer),
        train_loss=jnp.full(config.n_epochs, jnp.nan, real),
        held_out_loss=jnp.full(config.n_epochs, jnp.nan, real),
    )


def _settings(
    run_epoch: jax.stages.Wrapped, config: FitConfig, *arguments: PyTree
) -> dict:
    """All settings of the result, by name; arrays as a short checksum."""
    key, start, data, held_out = arguments
    # numpyro's priors order their leaves by Python's random hashes, anew in each
    # process, and so the program's arguments: only a sorted list of words is the same
    text = run_epoch.lower(*arguments).as_text()
    words = sorted(re.sub(r"[%@#][\w.$:]+", "", text).split())
    return {
        **asdict(config),
        "random key (seed)": jax.random.key_data(key).tolist(),
        "first weights": _checksum(start),
        "training data": _checksum(data),
        "held-out data": _checksum(held_out),
        "training step (network, loss, batch size, learning rate, version)": (
            hashlib.sha256(" ".join(words).encode()).hexdigest()[:N_HEX]
        ),
    }


def _checksum(tree: PyTree) -> str:
    leaves = sorted(
        sha256_of_arrays({"": np.asarray(x)}) for x in jax.tree.leaves(tree)
    )
    return hashlib.sha256(" ".join(leaves).encode()).hexdigest()[:N_HEX]


def _is_done(state: FitState, config: FitConfig) -> bool:
    if int(state.epoch) >= config.n_epochs:
        return True
    if config.patience is None:
        return False
    return int(state.epoch) - int(state.best_epoch) >= config.patience


def _make_epoch(
    optimizer: optax.GradientTransformation, draw: Draw, loss: Loss, config: FitConfig
) -> jax.stages.Wrapped:
    @jax.jit
    def run_epoch(
        key: Key[Array, ""], state: FitState, data: PyTree, held_out: PyTree
    ) -> FitState:
        def step(carry: tuple, key: Key[Array, ""]) -> tuple:
            params, opt_state = carry
            batch = draw(key, data)
            value, grads = jax.value_and_grad(loss)(params, batch, data)
            updates, opt_state = optimizer.update(grads, opt_state, params)
            return (optax.apply_updates(params, updates), opt_state), value

        keys = jax.random.split(
            jax.random.fold_in(key, state.epoch), config.steps_per_epoch
        )
        (params, opt_state), losses = lax.scan(
            step, (state.params, state.opt_state), keys
        )
        return _after_epoch(
            state, params, opt_state, losses.mean(), loss(params, held_out, data)
        )

    return run_epoch


def _after_epoch(
    state: FitState, params: PyTree, opt_state: PyTree, train: Array, held_out: Array
) -> FitState:
    is_better = held_out < state.best_loss
    best = jax.tree.map(
        lambda new, old: jnp.where(is_better, new, old), params, state.best_params
    )
    epoch = state.epoch + 1
    return FitState(
        params=params,
        opt_state=opt_state,
        best_params=best,
        best_loss=jnp.where(is_better, held_out, state.best_loss),
        epoch=epoch,
        best_epoch=jnp.where(is_better, epoch, state.best_epoch),
        train_loss=state.train_loss.at[state.epoch].set(train),
        held_out_loss=state.held_out_loss.at[state.epoch].set(held_out),
    )
