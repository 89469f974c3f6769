"""The command `simulate`: stars with parameters drawn from a prior, and a figure."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import plots, priors
from chemsbi_jax.cli.flags import SimulateFlags
from chemsbi_jax.cli.run import check_flags, write_record
from chemsbi_jax.compute.devices import spread
from chemsbi_jax.plots.simulations import plot_simulations
from chemsbi_jax.simulator.blocks import SIMULATE_BLOCK
from chemsbi_jax.simulator.star_formation import star_formation
from chemsbi_jax.storage.files import whole_file

PHYSICS = {"clean": cs.CLEAN, "legacy": cs.LEGACY}


def main(config: SimulateFlags) -> dict:
    """Draw, simulate, write; returns the metrics."""
    check_flags(config, n=1)
    yields, physics = cs.load_yields(config.yields), PHYSICS[config.physics]
    theta = draw(jax.random.key(config.seed), config)
    abundances, speed = run_blocks(theta, yields, physics, config.quiet)
    metrics = count(theta, abundances, physics) | speed
    with whole_file(config.out / "simulations.npz") as path:
        np.savez(
            path,
            theta=np.asarray(theta),
            abundances=abundances,
            parameter_names=np.array(cs.PARAMETERS),
            abundance_names=np.array(yields.abundances),
        )
    write_record(config.out, "simulate", config, metrics)
    if metrics["n_born"]:
        figure = plot_simulations(theta, abundances, yields.abundances)
        plots.save_figure(figure, config.plots / "simulations.png")
    if not config.quiet:
        print(report(metrics))
    return metrics


def draw(key: jax.Array, config: SimulateFlags) -> jax.Array:
    """Theta (n, 6) from the prior that the flags name."""
    if config.prior == "mixed":
        return priors.sample_mixture(key, config.n)
    prior = cs.paper_prior() if config.prior == "paper" else cs.wide_prior()
    return priors.sample(key, prior, config.n)


def run_blocks(
    theta: jax.Array, yields: cs.simulator.Yields, physics: cs.Physics, quiet: bool
) -> tuple[np.ndarray, dict]:
    """Simulate on all cores; abundances in dex, and how long it took.

    The first block runs twice, so that compilation does not count in the speed.
    """
    run = spread(lambda block: cs.simulate(block, yields, physics))
    n, size = len(theta), min(SIMULATE_BLOCK, len(theta))
    blocks = jnp.pad(theta, ((0, -n % size), (0, 0)), mode="edge")
    blocks = np.asarray(blocks).reshape(-1, size, theta.shape[-1])
    start, start_cpu = time.perf_counter(), time.process_time()
    run(blocks[0]).block_until_ready()
    compiled, compiled_cpu = time.perf_counter(), time.process_time()
    parts = []
    with tqdm(total=n, disable=quiet, desc="simulate", unit="star") as bar:
        for block in blocks:
            parts.append(np.asarray(run(block)))
            bar.update(min(size, n - bar.n))
    seconds = time.perf_counter() - compiled
    cpu_seconds = time.process_time() - compiled_cpu
    n_run = len(blocks) * size
    speed = {
        "n_devices": jax.local_device_count(),
        "first_block_seconds": round(compiled - start, 3),
        "first_block_cpu_seconds": round(compiled_cpu - start_cpu, 3),
        "seconds": round(seconds, 3),
        "cpu_seconds": round(cpu_seconds, 3),
        "simulations_per_second": round(n_run / seconds),
        "simulations_per_cpu_second": round(n_run / cpu_seconds),
    }
    return np.concatenate(parts)[:n], speed


def count(theta: jax.Array, abundances: np.ndarray, physics: cs.Physics) -> dict:
    """How many stars were born, and why the others were not."""
    is_born = np.isfinite(abundances).all(axis=1)
    peak, birth_time = theta[:, 3], theta[:, 5]
    history = jax.vmap(lambda p, t: star_formation(p, t, physics))(peak, birth_time)
    is_ongoing = np.asarray(history.ongoing)
    return {
        "n": len(theta),
        "n_born": int(is_born.sum()),
        "nan_share": float(np.mean(~is_born)),
        "nan_share_star_formation_over": float(np.mean(~is_ongoing)),
        "nan_share_element_used_up": float(np.mean(is_ongoing & ~is_born)),
    }


def report(metrics: dict) -> str:
    """What goes to the screen."""
    return (
        "{n} simulations, {n_born} stars; without a star: {nan_share:.3%} (star "
        "formation below 5 % of its mean: {nan_share_star_formation_over:.3%}, an "
        "element used up: {nan_share_element_used_up:.3%})\n"
        "{simulations_per_second} simulations/s on {n_devices} cores "
        "({simulations_per_cpu_second} per CPU second) after the first block, "
        "compilation included: {first_block_seconds:.1f} s"
    ).format(**metrics)
