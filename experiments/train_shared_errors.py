"""Train the network of shared errors; writes its weights and losses.

    python experiments/train_shared_errors.py --out runs/tng

The shipped network comes from this script with its default flags. The galaxies are
drawn anew in each step, from the priors of `SharedErrors` and the shipped emulator with
yield factors. A run that was stopped goes on where it ended.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax

import chemsbi_jax as cs
from chemsbi_jax import plots
from chemsbi_jax.cli.run import check_flags, run_script, write_record
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.trained import (
    FOLDER,
    Trained,
    save_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.training import (
    SharedTraining,
    train_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes
from chemsbi_jax.results.stopwatch import Stopwatch


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("runs/tng")
    """Folder; the network goes into its sub-folder shared."""
    n_epochs: int = 640
    """Epochs of the training."""
    steps_per_epoch: int = 100
    """Steps of an epoch."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar."""


def main(config: Config) -> dict:
    """Train the network and write it; returns the metrics."""
    check_flags(config, n_epochs=1, steps_per_epoch=1)
    watch, settings, prior = Stopwatch(config.quiet), SharedErrors(), cs.paper_prior()
    forward = forward_with_slopes(load_yield_emulator())
    layout = make_layout(settings, SHARED_FACTORS)
    training = SharedTraining(fit=FitConfig(config.n_epochs, config.steps_per_epoch))
    folder = config.out / FOLDER
    with watch("train"):
        network, result = train_shared_network(
            jax.random.key(config.seed),
            Model(forward, prior),
            layout,
            settings.outlier_width,
            training,
            checkpoint=folder / "checkpoint",
            quiet=config.quiet,
        )
    metrics = {
        "held_out_loss": float(result.held_out_loss.min()),
        "seconds": watch.seconds,
    }
    names = psi_names(SHARED_FACTORS)
    scales = dict(zip(names, map(float, layout.scale), strict=True))
    outliers = settings.outlier_share, settings.outlier_width
    trained = Trained(network, prior, scales, *outliers)
    spec = {
        "yields": "tng",
        "physics": "clean",
        "n_epochs": config.n_epochs,
        "steps_per_epoch": config.steps_per_epoch,
        "seed": config.seed,
        "metrics": metrics,
    }
    save_shared_network(config.out, trained, training.size, spec)
    plots.save_figure(
        plots.plot_losses(result.train_loss, result.held_out_loss),
        folder / "losses.png",
    )
    write_record(folder, "train_shared_errors", config, metrics)
    return metrics


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
