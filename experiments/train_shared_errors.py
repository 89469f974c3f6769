"""Train the network of shared errors; writes its weights and losses.

    python experiments/train_shared_errors.py --out runs/tng

The first part trains the whole network on galaxies that are drawn anew in each step,
from the priors of `SharedErrors` and the shipped emulator with yield factors. The
second part trains the head and the flow on a bank of mock galaxies. With `--start tng`,
the networks of the stars are the shipped ones, and only the second part runs; with
`--tune-epochs 330` these networks are trained further before it. A run that was stopped
before the second part goes on where it ended.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import jax
import numpy as np
from jax import Array

import chemsbi_jax as cs
from chemsbi_jax import plots
from chemsbi_jax.cli.run import check_flags, run_script, write_record
from chemsbi_jax.compute.train import FitConfig, FitResult
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import SharedErrors, load_shared_network
from chemsbi_jax.galaxy.hierarchical.bank import HeadTraining, train_on_bank
from chemsbi_jax.galaxy.hierarchical.network import NetworkSize, SharedNetwork
from chemsbi_jax.galaxy.hierarchical.shared import Layout, make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.trained import (
    FOLDER,
    Trained,
    save_shared_network,
    saved_spec,
)
from chemsbi_jax.galaxy.hierarchical.training import (
    SharedTraining,
    train_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.tuning import Tuning, tune_star_networks
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes
from chemsbi_jax.results.stopwatch import Stopwatch


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("runs/tng")
    """Folder; the network goes into its sub-folder shared."""
    start: str | None = None
    """Network whose networks of the stars are kept: tng, or a folder;
    the first part of the training is left out."""
    tune_epochs: int = 0
    """Epochs that train the networks of the stars of --start further."""
    n_epochs: int = 640
    """Epochs of the first part."""
    steps_per_epoch: int = 100
    """Steps of an epoch of the first part, and of --tune-epochs."""
    n_galaxies: int = HeadTraining.n_galaxies
    """Mock galaxies of the second part."""
    head_epochs: int = HeadTraining.fit.n_epochs
    """Epochs of the second part, of 1000 steps each."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar."""


def main(config: Config) -> dict:
    """Train the network and write it; returns the metrics."""
    least = {"n_epochs": 1, "steps_per_epoch": 1, "n_galaxies": 1000, "head_epochs": 1}
    check_flags(config, **least, tune_epochs=0)
    if config.tune_epochs and config.start is None:
        raise InputError(
            "Expected a network to train further; got --tune-epochs without --start. "
            "Give --start tng, or the folder of an earlier run."
        )
    watch, settings, prior = Stopwatch(config.quiet), SharedErrors(), cs.paper_prior()
    model = Model(forward_with_slopes(load_yield_emulator()), prior)
    layout = make_layout(settings, SHARED_FACTORS)
    task, folder = (model, layout, settings.outlier_width), config.out / FOLDER
    key_first, key_tune, key_second = jax.random.split(jax.random.key(config.seed), 3)
    with watch("train"):
        if config.start is None:
            network, size = _first_part(key_first, task, config)
        else:
            keys = key_first, key_tune
            network, size = _started(keys, task, config.start, config)
        steps = FitConfig(config.head_epochs, HeadTraining.fit.steps_per_epoch)
        head = HeadTraining(n_galaxies=config.n_galaxies, fit=steps)
        network, result = train_on_bank(
            key_second, network, *task, head, quiet=config.quiet
        )
    loss = float(result.held_out_loss.min())
    metrics = {"held_out_loss": loss, "seconds": watch.seconds}
    names = psi_names(SHARED_FACTORS)
    scales = dict(zip(names, map(float, layout.scale), strict=True))
    outliers = settings.outlier_share, settings.outlier_width
    trained = Trained(network, prior, scales, *outliers)
    first = "start", "tune_epochs", "n_epochs", "steps_per_epoch"
    flags = (*first, "n_galaxies", "head_epochs", "seed")
    spec = {
        "yields": "tng",
        "physics": "clean",
        **{name: getattr(config, name) for name in flags},
        "start_sha256": config.start and saved_spec(config.start)["sha256"],
        "metrics": metrics,
    }
    save_shared_network(config.out, trained, replace(size, last_width=head.width), spec)
    _plot(result, folder / "losses_head.png")
    write_record(folder, "train_shared_errors", config, metrics)
    return metrics


def _first_part(
    key, task: tuple[Model, Layout, float], config: Config
) -> tuple[SharedNetwork, NetworkSize]:
    """The whole network, and its widths."""
    training = SharedTraining(fit=FitConfig(config.n_epochs, config.steps_per_epoch))
    folder = config.out / FOLDER
    network, result = train_shared_network(
        key, *task, training, checkpoint=folder / "checkpoint", quiet=config.quiet
    )
    _plot(result, folder / "losses.png")
    return network, training.size


def _started(
    keys: tuple[Array, Array],
    task: tuple[Model, Layout, float],
    start: str,
    config: Config,
) -> tuple[SharedNetwork, NetworkSize]:
    """The network of --start, trained further with --tune-epochs, and its widths."""
    started, (_, layout, _) = load_shared_network(start), task
    found, expected = np.asarray([*started.scales.values()]), layout.scale
    if found.shape != expected.shape or not np.allclose(found, expected):
        raise InputError(
            f"Expected the prior scales of `SharedErrors` in {start}; got "
            "others. Train the first part again (without --start)."
        )
    network, size = started.network, NetworkSize(**saved_spec(start)["size"])
    if config.tune_epochs:
        tuning = Tuning(fit=FitConfig(config.tune_epochs, config.steps_per_epoch))
        folder = config.out / FOLDER
        network, result = tune_star_networks(
            *keys,
            network,
            *task,
            tuning,
            checkpoint=folder / "checkpoint",
            quiet=config.quiet,
        )
        _plot(result, folder / "losses_tuning.png")
    return network, size


def _plot(result: FitResult, path: Path) -> None:
    losses = np.asarray(result.train_loss), np.asarray(result.held_out_loss)
    plots.save_figure(plots.plot_losses(*losses), path)


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
