"""Errors of the conditional emulator against the simulator, and its speed.

    python experiments/check_emulator.py --weights tng

prints, for yield factors of 0, 0.5, 1 and 2 times --scales, the error of each abundance
on fresh galaxies of the paper prior, and evaluations per second of CPU time.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from common.clock import measure
from jax.tree_util import Partial
from jaxtyping import Float

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import priors
from chemsbi_jax.cli import train_conditional
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.cli.train_emulator import PHYSICS
from chemsbi_jax.constants import YIELD_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical.yield_prior import default_scale
from chemsbi_jax.results import write_summary
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.storage.files import whole_file
from chemsbi_jax.storage.weights import load_spec, weights_folder


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    weights: str = "tng"
    """Shipped weights, or a folder with an emulator and its sub-folder yields."""
    out: Path | None = None
    """JSON file for the numbers; None only prints them."""
    scales: tuple[float, ...] | None = None
    """Standard deviation [dex] of each yield factor; None takes the training's."""
    prior: bool = False
    """Take the scales of the prior of the second interval (`SharedErrors`)."""
    n_test: int = 20_000
    """Galaxies for each size of the factors."""
    n_speed: int = 64_000
    """Evaluations in one call, for the speed."""
    seed: int = 1
    """Random seed; 0 is the seed of the training's own test."""
    quiet: bool = False
    """Print no stages of the work."""


def main(config: Config) -> dict:
    """Measure errors and speed; returns both."""
    check_flags(config, n_test=1, n_speed=1, scales=0)
    watch, scales = Stopwatch(config.quiet), factor_scales(config)
    key_errors, key_speed = jax.random.split(jax.random.key(config.seed))
    spec = load_spec(weights_folder(config.weights) / em.FOLDER, "emulator")
    emulator, yields = (
        cs.load_yield_emulator(config.weights),
        cs.load_yields(spec["yields"]),
    )
    with watch("errors"):
        metrics = train_conditional.measure(
            key_errors,
            emulator,
            scales,
            yields,
            PHYSICS[spec["physics"]],
            config.n_test,
        )
    with watch("speed"):
        metrics["evaluations_per_cpu_second"] = speed(
            key_speed, emulator, config.n_speed
        )
    if config.out is not None:
        write_summary(config.out, metrics)
        with whole_file(config.out.with_suffix(".md")) as path:
            path.write_text(table(metrics), encoding="utf-8")
    print(train_conditional.report(metrics | {"seconds": watch.seconds}))
    for name, number in metrics["evaluations_per_cpu_second"].items():
        print(f"{name:40s} {number:12.0f} evaluations/CPU s")
    return metrics


def table(metrics: dict) -> str:
    """Markdown: rms and mean error [dex] of each abundance by size of the factors."""
    sizes = [key for key in metrics if key.endswith("_sigma")]
    heads = [f"{key.removesuffix('_sigma')} times their scales" for key in sizes]
    lines = [
        f"| rms; mean error [dex] | {' | '.join(heads)} |",
        "|---|" + "---|" * len(sizes),
    ]
    for name in cs.ABUNDANCES:
        each = [metrics[key] for key in sizes]
        cells = [f"{m['rms_dex'][name]:.4f}; {m['bias_dex'][name]:+.5f}" for m in each]
        lines.append(f"| `{name}` | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def factor_scales(config: Config) -> Float[np.ndarray, " factor"]:
    """The flag --scales, checked, or the scales of the prior or the training.

    Raises:
        InputError: not one number for each factor, or scales and a prior.
    """
    if config.prior and config.scales is not None:
        raise InputError("Expected --scales or --prior; got both. Remove one of them.")
    if config.prior:
        return np.array([default_scale(name) for name in YIELD_FACTORS])
    if config.scales is None:
        return em.factor_scales()
    if len(config.scales) != len(YIELD_FACTORS):
        raise InputError(
            f"Expected --scales with {len(YIELD_FACTORS)} numbers, in the order "
            f"{' '.join(YIELD_FACTORS)}; got {len(config.scales)}."
        )
    return np.array(config.scales)


def speed(key: jax.Array, emulator: em.YieldEmulator, n: int) -> dict[str, float]:
    """Evaluations per second of CPU time, in batches of `n`, by what is computed."""
    key_theta, key_factors = jax.random.split(key)
    theta = priors.sample(key_theta, cs.paper_prior(), n)
    factors = train_conditional.normal_factors(
        key_factors, n, em.factor_scales(), emulator
    )

    def total(theta: jax.Array, factors: jax.Array) -> jax.Array:
        return jnp.nansum(cs.emulate_yields(theta, factors, emulator))

    cases: dict[str, Callable[..., Any]] = {
        "emulate": lambda theta, _: cs.emulate(theta, emulator.base),
        "emulate_yields": lambda theta, factors: cs.emulate_yields(
            theta, factors, emulator
        ),
        "with gradient to theta and factors": jax.grad(total, (0, 1)),
        "with gradient, one vector of factors": lambda theta, factors: jax.grad(
            total, (0, 1)
        )(theta, factors[0]),
    }
    rates = {}
    for name, function in cases.items():
        call = Partial(jax.jit(function), theta, factors)
        rates[name] = n / measure(call)["cpu_seconds"]
    return rates


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
