"""Speed of the simulator in batches, on one core and on all."""

from pathlib import Path

import jax
from common.clock import measure

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.compute.devices import spread

CHEMPY = 3.5  # simulations/s of Chempy on one core, as published; not measured here


def run(config, out: Path) -> dict:
    """Simulations per second, warm, and the time to compile."""
    yields = cs.load_yields(config.yields)
    theta = priors.sample(jax.random.key(config.seed), cs.paper_prior(), config.n_batch)

    def simulate(block):
        return cs.simulate(block, yields)

    report = {"n_batch": config.n_batch, "dtype": str(theta.dtype)}
    functions = {"one_core": jax.jit(simulate), "all_cores": spread(simulate)}
    for name, function in functions.items():
        times = measure(lambda function=function: function(theta))
        speed = config.n_batch / times["seconds"]
        report[name] = times | {
            "simulations_per_second": speed,
            "simulations_per_cpu_second": config.n_batch / times["cpu_seconds"],
            "times_chempy": speed / CHEMPY,
        }
    return report | {"n_devices": jax.local_device_count(), "chempy_published": CHEMPY}


def rows(report: dict) -> list[str]:
    """Lines of the report."""
    lines = []
    for name in ("one_core", "all_cores"):
        r = report[name]
        lines.append(
            f"- {name.replace('_', ' ')}: {r['simulations_per_second']:,.0f} "
            f"simulations/s ({r['simulations_per_cpu_second']:,.0f} per CPU second), "
            f"compiled in {r['compile_seconds']:.1f} s "
            f"({r['compile_cpu_seconds']:.1f} CPU s); {r['times_chempy']:,.0f} times "
            f"Chempy's {report['chempy_published']}/s (published, not run here)"
        )
    return lines
