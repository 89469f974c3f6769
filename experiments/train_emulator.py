"""Train the emulator on fresh simulations; writes weights, losses and error figures.

    python experiments/train_emulator.py --out runs/emulator

The shipped weights come from this script with its default flags (and --physics legacy
for tng-legacy). An interrupted run with the same flags goes on where it ended.

    python experiments/train_emulator.py --free-yields --yields NAME --out runs/NAME

trains the conditional emulator f(theta, yield factors): first the emulator of the yield
set, unless --out has one, then the network of the factors, into the sub-folder yields.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import free_yields
import jax
import numpy as np

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import plots, priors
from chemsbi_jax.checkpoints import require_same_settings
from chemsbi_jax.scripts import (
    Stopwatch,
    check_flags,
    run_script,
    simulate_blocks,
    training_flags,
    write_record,
)
from chemsbi_jax.train import FitConfig

N_SIMULATIONS = 2_000_000
PHYSICS = {"clean": cs.CLEAN, "legacy": cs.LEGACY}


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("runs/emulator")
    """Folder for weights, figures and records."""
    yields: str = "tng"
    """Yield set: tng, alternative, alternative-reference, or a table of your own."""
    physics: Literal["clean", "legacy"] = "clean"
    """Physics preset of the simulations."""
    free_yields: bool = False
    """Train the network of the yield factors, on top of the emulator in --out."""
    recipe: Literal["default", "reference"] = "default"
    """Ours, or that of Buck+ 2025 (100-40, batch 64, 20 epochs, wide prior only)."""
    n_simulations: int | None = None
    """Training simulations; None is 2,000,000, and 600,000 pairs of free yields."""
    n_test: int = 20_000
    """Fresh simulations from the paper prior that measure the errors."""
    n_epochs: int | None = None
    """Epochs; None keeps those of the recipe."""
    steps_per_epoch: int | None = None
    """Steps an epoch; None keeps those of the recipe."""
    seed: int = 0
    """Of everything random."""
    quiet: bool = False
    """No progress bars."""


def main(config: Config) -> dict:
    """Train what the flags ask for; returns the metrics."""
    check_flags(config, n_simulations=1, n_test=1, n_epochs=1, steps_per_epoch=1)
    if not config.free_yields:
        return train(config)
    if not (config.out / "emulator.json").is_file():
        train(replace(config, free_yields=False))
    return free_yields.train(config, PHYSICS[config.physics])


def train(config: Config) -> dict:
    """Simulate, train, measure; returns the metrics."""
    watch = Stopwatch(config.quiet)
    key_theta, key_test, key_train = jax.random.split(jax.random.key(config.seed), 3)
    yields, physics = cs.load_yields(config.yields), PHYSICS[config.physics]
    n_simulations = config.n_simulations or N_SIMULATIONS
    checkpoint = config.out / "checkpoint"
    require_same_settings(checkpoint, "flags", training_flags(config))
    with watch("simulate"):
        if config.recipe == "reference":
            theta = priors.sample(key_theta, cs.wide_prior(), n_simulations)
        else:
            theta = priors.sample_mixture(key_theta, n_simulations)
        abundances = simulate_blocks(theta, yields, physics, config.quiet)
        test_theta = priors.sample(key_test, cs.paper_prior(), config.n_test)
        test = simulate_blocks(test_theta, yields, physics, quiet=True)
    recipe = em.REFERENCE if config.recipe == "reference" else em.EmulatorConfig()
    recipe = with_length(recipe, config)
    with watch("train"):
        emulator, result = em.train_emulator(
            key_train,
            theta,
            abundances,
            priors.box(cs.wide_prior()),
            recipe,
            checkpoint=checkpoint,
            quiet=config.quiet,
        )
    metrics = measure(cs.emulate(test_theta, emulator), test) | {
        "seconds": watch.seconds
    }
    spec = {
        "yields": config.yields,
        "physics": config.physics,
        "recipe": config.recipe,
        "prior": "mixture" if config.recipe == "default" else "wide",
        "n_simulations": n_simulations,
        "seed": config.seed,
        "metrics": metrics,
    }
    em.save_emulator(config.out, emulator, spec)
    plots.save_figure(
        plots.plot_losses(result.train_loss, result.held_out_loss),
        config.out / "emulator_losses.png",
    )
    residuals = np.asarray(cs.emulate(test_theta, emulator)) - np.asarray(test)
    plots.save_figure(
        plots.plot_emulator_errors(np.asarray(test_theta), residuals),
        config.out / "emulator_errors.png",
    )
    write_record(config.out, "train_emulator", config, metrics)
    if not config.quiet:
        print(report(metrics))
    return metrics


def with_length(recipe: em.EmulatorConfig, config: Config) -> em.EmulatorConfig:
    """The recipe with the length that the flags ask for."""
    fit = FitConfig(
        n_epochs=config.n_epochs or recipe.fit.n_epochs,
        steps_per_epoch=config.steps_per_epoch or recipe.fit.steps_per_epoch,
    )
    return em.EmulatorConfig(
        recipe.hidden, recipe.batch_size, recipe.learning_rate, recipe.decay, fit
    )


def measure(predicted, truth) -> dict:
    """Errors in dex per abundance, and the reference's APE (percent)."""
    metrics, good = free_yields.errors(predicted, truth)
    size = np.abs(np.asarray(predicted) - np.asarray(truth))[good]
    truth = np.asarray(truth)[good]
    # meaningless where an abundance crosses zero; only to compare with the reference
    ape = 100.0 * size / np.maximum(np.abs(truth), 1e-12)
    metrics["ape_percent"] = {
        "median": round(float(np.median(ape)), 4),
        "q16": round(float(np.quantile(ape, 0.16)), 4),
        "q84": round(float(np.quantile(ape, 0.84)), 4),
    }
    return metrics


def report(metrics: dict) -> str:
    """A table for the screen."""
    ape = metrics["ape_percent"]
    return "\n".join(
        [
            free_yields.error_table(metrics),
            f"APE {ape['median']:.2f} % ({ape['q16']:.2f} to {ape['q84']:.2f} %)",
            f"seconds: {metrics['seconds']}",
        ]
    )


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
