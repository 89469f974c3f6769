"""The command `train emulator --free-yields`: the conditional emulator."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, Key

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import plots, priors
from chemsbi_jax.cli.flags import EmulatorFlags
from chemsbi_jax.cli.run import training_flags, write_record
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import YIELD_FACTORS
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.simulator import Yields
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.checkpoints import require_same_settings
from chemsbi_jax.storage.weights import load_spec

N_PAIRS = 600_000
TEST_SIZES = (0.0, 0.5, 1.0, 2.0)
"""Factors of the tests, in units of their scales."""


def train(config: EmulatorFlags, physics: cs.Physics) -> dict:
    """Simulate pairs, train the network of the factors, measure; returns the metrics.

    Args:
        config: flags of train_emulator.py; `out` has the emulator without factors.
        physics: the preset that `config.physics` names.

    Raises:
        WeightsError: the emulator in `out` is one of other yields or physics.
    """
    watch = Stopwatch(config.quiet)
    keys = jax.random.split(jax.random.key(config.seed), 4)
    key_theta, key_factors, key_test, key_train = keys
    yields, n_pairs = cs.load_yields(config.yields), config.n_simulations or N_PAIRS
    base = matching_base(config)
    checkpoint = config.out / em.FOLDER / "checkpoint"
    require_same_settings(checkpoint, "flags", training_flags(config))
    with watch("simulate"):
        theta = priors.sample_mixture(key_theta, n_pairs)
        factors = em.sample_factors(key_factors, n_pairs)
        plain = simulate_blocks(theta, yields, physics, config.quiet)
        scaled = simulate_blocks(theta, yields, physics, config.quiet, factors=factors)
    with watch("train"):
        emulator, result = em.train_yield_emulator(
            key_train,
            theta,
            factors,
            scaled - plain,
            base,
            with_length(config),
            checkpoint=checkpoint,
            quiet=config.quiet,
        )
    with watch("test"):
        metrics = measure(
            key_test, emulator, em.factor_scales(), yields, physics, config.n_test
        )
    metrics |= {"seconds": watch.seconds}
    em.save_yield_emulator(
        config.out, emulator, specification(config, n_pairs, metrics)
    )
    plots.save_figure(
        plots.plot_losses(result.train_loss, result.held_out_loss),
        config.out / em.FOLDER / "emulator_losses.png",
    )
    write_record(config.out / em.FOLDER, "train_emulator", config, metrics)
    if not config.quiet:
        print(report(metrics))
    return metrics


def matching_base(config: EmulatorFlags) -> em.Emulator:
    """The emulator in `config.out`, which must be one of the same yields and physics.

    Raises:
        WeightsError: it is not, or can't be read.
    """
    spec = load_spec(config.out, "emulator")
    for name in ("yields", "physics"):
        if spec.get(name) != getattr(config, name):
            raise WeightsError(
                f"{config.out}: expected an emulator with {name} "
                f"{getattr(config, name)!r}; got {spec.get(name)!r}. Name another "
                f"folder (--out) or give --{name} {spec.get(name)}."
            )
    base = cs.load_emulator(config.out)
    em.require_eight(base, config.out)
    return base


def with_length(config: EmulatorFlags) -> em.YieldEmulatorConfig:
    """The default recipe with the length that the flags set."""
    recipe = em.YieldEmulatorConfig()
    fit = FitConfig(
        n_epochs=config.n_epochs or recipe.fit.n_epochs,
        steps_per_epoch=config.steps_per_epoch or recipe.fit.steps_per_epoch,
    )
    return em.YieldEmulatorConfig(fit=fit)


def specification(config: EmulatorFlags, n_pairs: int, metrics: dict) -> dict:
    """What the weights are: the description beside them."""
    scales = dict(zip(YIELD_FACTORS, em.factor_scales().tolist(), strict=True))
    return {
        "yields": config.yields,
        "physics": config.physics,
        "factor_scales": scales,
        "n_simulations": n_pairs,
        "seed": config.seed,
        "metrics": metrics,
    }


def measure(
    key: Key[Array, ""],
    emulator: em.YieldEmulator,
    scales: Float[ArrayLike, " factor"],
    yields: Yields,
    physics: cs.Physics,
    n: int,
) -> dict:
    """Errors in dex on the paper prior, by the size of the factors.

    The factors are normal, cut off where the training ended, with standard deviations
    of `TEST_SIZES` times `scales` [dex].
    """
    metrics = {}
    for size, key_size in zip(
        TEST_SIZES, jax.random.split(key, len(TEST_SIZES)), strict=True
    ):
        key_theta, key_factors = jax.random.split(key_size)
        theta = priors.sample(key_theta, cs.paper_prior(), n)
        factors = normal_factors(key_factors, n, size * np.asarray(scales), emulator)
        truth = simulate_blocks(theta, yields, physics, True, factors=factors)
        predicted = cs.emulate_yields(theta, factors, emulator)
        metrics[f"{size:g}_sigma"] = errors(predicted, truth)[0]
    return metrics


def normal_factors(
    key: Key[Array, ""],
    n: int,
    scales: Float[ArrayLike, " factor"],
    emulator: em.YieldEmulator,
) -> Float[Array, "n factor"]:
    """Normal log10 factors with these standard deviations, cut off at the box."""
    scales = jnp.asarray(scales, float)
    end = emulator.factor_limit / scales  # infinite where a factor is fixed
    draws = jax.random.truncated_normal(key, -end, end, (n, len(YIELD_FACTORS)))
    inside = emulator.factor_limit * (1.0 - 1e-6)  # whatever the rounding
    return jnp.clip(draws * scales, -inside, inside)


def errors(
    predicted: ArrayLike, truth: ArrayLike, names: Sequence[str] = cs.ABUNDANCES
) -> tuple[dict, np.ndarray]:
    """Errors per abundance [dex], and which rows are finite in both arrays."""
    error = np.asarray(predicted) - np.asarray(truth)
    good = np.asarray(np.isfinite(error).all(axis=1))
    error = error[good].astype(float)
    size = np.abs(error)
    each = {
        "bias_dex": error.mean(axis=0),
        "rms_dex": np.sqrt((error**2).mean(axis=0)),
        "p95_dex": np.quantile(size, 0.95, axis=0),
        "p999_dex": np.quantile(size, 0.999, axis=0),
        "median_dex": np.median(size, axis=0),
    }
    metrics = {
        name: dict(zip(names, np.round(values, 6).tolist(), strict=True))
        for name, values in each.items()
    }
    counts = {"n_test": int(good.sum()), "n_without_star": int((~good).sum())}
    return metrics | counts, good


def error_table(metrics: dict) -> str:
    """Rows of abundances, columns of errors."""
    names = ("bias_dex", "rms_dex", "p95_dex", "p999_dex")
    lines = ["abundance  " + "  ".join(f"{n:>9s}" for n in names)]
    for a in metrics[names[0]]:
        row = "  ".join(f"{metrics[n][a]:9.5f}" for n in names)
        lines.append(f"{a:9s}  {row}")
    return "\n".join(lines)


def report(metrics: dict) -> str:
    """The tables of all sizes, for the screen."""
    parts = [
        f"factors of {size:g} times their scales:\n"
        + error_table(metrics[f"{size:g}_sigma"])
        for size in TEST_SIZES
    ]
    return "\n".join([*parts, f"seconds: {metrics['seconds']}"])
