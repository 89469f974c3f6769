"""Train the network of shared errors; writes its weights and losses.

    python experiments/train_shared_errors.py --out runs/tng

The first part trains the whole network on galaxies that are drawn anew in each step,
from the priors of `SharedErrors` and the shipped emulator with yield factors. The
second part trains the head and the flow on a bank of mock galaxies. With `--start tng`,
the networks of the stars are the shipped ones, and only the second part runs. With
`--tune-epochs 330`, these networks are trained further before it. A run that was
stopped before the second part goes on where it ended.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import equinox as eqx
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
    """Network to start from, tng or a folder: there is no first part.
    Its networks of the stars stay, or are trained further (--tune-epochs)."""
    tune_epochs: int = 0
    """Epochs that train the networks of the stars of --start further."""
    n_epochs: int = 640
    """Epochs of the first part, if there is no --start."""
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
    _check(config)
    watch, settings, prior = Stopwatch(config.quiet), SharedErrors(), cs.paper_prior()
    model = Model(forward_with_slopes(load_yield_emulator()), prior)
    layout = make_layout(settings, SHARED_FACTORS)
    task, folder = (model, layout, settings.outlier_width), config.out / FOLDER
    with watch("train"):
        network, size, result = _train(task, config)
    loss = float(result.held_out_loss.min())
    metrics = {"held_out_loss": loss, "seconds": watch.seconds}
    names = psi_names(SHARED_FACTORS)
    scales = dict(zip(names, map(float, layout.scale), strict=True))
    outliers = settings.outlier_share, settings.outlier_width
    trained = Trained(network, prior, scales, *outliers)
    spec = {
        "yields": "tng",
        "physics": "clean",
        **_flags_of_parts(config),
        "start_sha256": config.start and saved_spec(config.start)["sha256"],
        "metrics": metrics,
    }
    save_shared_network(config.out, trained, size, spec)
    _plot(result, folder / "losses_head.png")
    write_record(folder, "train_shared_errors", config, metrics)
    return metrics


def _check(config: Config) -> None:
    least = {"n_epochs": 1, "steps_per_epoch": 1, "n_galaxies": 1000, "head_epochs": 1}
    check_flags(config, **least, tune_epochs=0)
    if config.start is None:
        if config.tune_epochs:
            raise InputError(
                "Expected a network to train further; got --tune-epochs without "
                "--start. Give --start tng, or the folder of an earlier run."
            )
    elif Path(config.start).resolve() == config.out.resolve():
        raise InputError(
            f"Expected another folder than that of --start; got --out {config.out}, "
            "whose network would be replaced. Give a new folder."
        )


def _train(
    task: tuple[Model, Layout, float], config: Config
) -> tuple[SharedNetwork, NetworkSize, FitResult]:
    """All parts of the training: the network, its widths, losses of the last part."""
    key_first, key_tune, key_second = jax.random.split(jax.random.key(config.seed), 3)
    if config.start is None:
        network, size = _first_part(key_first, task, config)
    else:
        network, size = _load_start(config.start, task[1], config.tune_epochs > 0)
    if config.tune_epochs:
        # the tuning needs --start, with which there is no first part
        keys = key_first, key_tune  # key reuse: of the first part, which did not run
        network = _tuned(*keys, network, task, config)
    steps = FitConfig(config.head_epochs, HeadTraining.fit.steps_per_epoch)
    head = HeadTraining(n_galaxies=config.n_galaxies, fit=steps)
    network, result = train_on_bank(
        key_second, network, *task, head, quiet=config.quiet
    )
    return network, replace(size, last_width=head.width), result


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


def _load_start(
    start: str, layout: Layout, is_tuned: bool
) -> tuple[SharedNetwork, NetworkSize]:
    """The network of --start and its widths, if it has the priors and the head."""
    started = load_shared_network(start)
    found, expected = np.asarray([*started.scales.values()]), layout.scale
    if found.shape != expected.shape or not np.allclose(found, expected):
        raise InputError(
            f"Expected the prior scales of `SharedErrors` in {start}; got "
            "others. Train the first part again (without --start)."
        )
    size = NetworkSize(**saved_spec(start)["size"])
    if is_tuned and size.last_width != HeadTraining.width:
        raise InputError(
            f"Expected a head of {HeadTraining.width} units in {start} for "
            f"--tune-epochs; got {size.last_width}. Run the second part first "
            "(without --tune-epochs)."
        )
    return started.network, size


def _tuned(
    key_held_out: Array,
    key_fit: Array,
    network: SharedNetwork,
    task: tuple[Model, Layout, float],
    config: Config,
) -> SharedNetwork:
    """The network after --tune-epochs."""
    found, result = tune_star_networks(
        key_held_out,
        key_fit,
        network,
        *task,
        Tuning(fit=FitConfig(config.tune_epochs, config.steps_per_epoch)),
        checkpoint=config.out / FOLDER / "checkpoint_tuning",
        quiet=config.quiet,
    )
    _plot(result, config.out / FOLDER / "losses_tuning.png")
    if eqx.tree_equal(found, network):
        print("No epoch of --tune-epochs has a lower held-out loss than --start.")
    return found


def _flags_of_parts(config: Config) -> dict:
    """The flags of each part of the training; None for a part that did not run."""
    is_first, is_tuned = config.start is None, config.tune_epochs > 0
    return {
        "start": config.start,
        "tune_epochs": config.tune_epochs if is_tuned else None,
        "n_epochs": config.n_epochs if is_first else None,
        "steps_per_epoch": config.steps_per_epoch if is_first or is_tuned else None,
        "n_galaxies": config.n_galaxies,
        "head_epochs": config.head_epochs,
        "seed": config.seed,
    }


def _plot(result: FitResult, path: Path) -> None:
    losses = np.asarray(result.train_loss), np.asarray(result.held_out_loss)
    plots.save_figure(plots.plot_losses(*losses), path)


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
