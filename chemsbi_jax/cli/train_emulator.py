"""The command `train emulator`: weights, losses and error figures."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import plots, priors
from chemsbi_jax.cli import train_conditional
from chemsbi_jax.cli.flags import EmulatorFlags
from chemsbi_jax.cli.run import check_flags, training_flags, write_record
from chemsbi_jax.compute.train import FitConfig, FitResult
from chemsbi_jax.galaxy.shipped_sets import sums_of
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.checkpoints import require_same_settings
from chemsbi_jax.types import AnyArray

N_SIMULATIONS = 2_000_000
PHYSICS = {"clean": cs.CLEAN, "legacy": cs.LEGACY}


def main(config: EmulatorFlags) -> dict:
    """Train the networks that the flags name; returns the metrics."""
    check_flags(config, n_simulations=1, n_test=1, n_epochs=1, steps_per_epoch=1)
    if not config.free_yields:
        return train(config)
    if not (config.out / "emulator.json").is_file():
        train(replace(config, free_yields=False))
    return train_conditional.train(config, PHYSICS[config.physics])


def train(config: EmulatorFlags) -> dict:
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
            names=yields.abundances,
        )
    metrics = measure(emulator, test_theta, test) | {"seconds": watch.seconds}
    em.save_emulator(config.out, emulator, describe(config, metrics))
    draw_figures(config.out, emulator, result, np.asarray(test_theta), test)
    write_record(config.out, "train_emulator", config, metrics)
    if not config.quiet:
        print(report(metrics))
    return metrics


def describe(config: EmulatorFlags, metrics: dict) -> dict:
    """What the weights were trained on, for their JSON file."""
    return {
        "yields": config.yields,
        "yields_sums": sums_of(cs.load_yields(config.yields)),
        "physics": config.physics,
        "recipe": config.recipe,
        "prior": "mixture" if config.recipe == "default" else "wide",
        "n_simulations": config.n_simulations or N_SIMULATIONS,
        "seed": config.seed,
        "metrics": metrics,
    }


def draw_figures(
    folder: Path,
    emulator: em.Emulator,
    result: FitResult,
    theta: np.ndarray,
    truth: np.ndarray,
) -> None:
    """The losses, and the errors of the emulator over the parameters."""
    losses = plots.plot_losses(result.train_loss, result.held_out_loss)
    plots.save_figure(losses, folder / "emulator_losses.png")
    residuals = np.asarray(cs.emulate(theta, emulator)) - np.asarray(truth)
    errors = plots.plot_emulator_errors(theta, residuals, emulator.abundances)
    plots.save_figure(errors, folder / "emulator_errors.png")


def with_length(recipe: em.EmulatorConfig, config: EmulatorFlags) -> em.EmulatorConfig:
    """The recipe with the length that the flags set."""
    fit = FitConfig(
        n_epochs=config.n_epochs or recipe.fit.n_epochs,
        steps_per_epoch=config.steps_per_epoch or recipe.fit.steps_per_epoch,
    )
    return em.EmulatorConfig(
        recipe.hidden, recipe.batch_size, recipe.learning_rate, recipe.decay, fit
    )


def measure(
    emulator: em.Emulator,
    theta: Float[AnyArray, "n param"],
    truth: Float[AnyArray, "n element"],
) -> dict:
    """Errors in dex per abundance, and the reference's APE (percent)."""
    predicted = cs.emulate(theta, emulator)
    metrics, good = train_conditional.errors(predicted, truth, emulator.abundances)
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
    lines = [train_conditional.error_table(metrics)]
    ape = metrics["ape_percent"]
    lines.append(f"APE {ape['median']:.2f} % ({ape['q16']:.2f} to {ape['q84']:.2f} %)")
    return "\n".join([*lines, f"seconds: {metrics['seconds']}"])
