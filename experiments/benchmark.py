"""Speeds beside those of the peers, in one run; writes benchmark.json and .md.

    python experiments/benchmark.py --peer-python PYTHON --out runs/benchmark

PYTHON is that of an environment with the extra `bench` (sbi, torch); without it the
columns of the peers have "not run". Set CHEMSBI_DATA (experiments/download.py). Times
are warm medians of five with compilation apart, unless stated.
"""

import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
from benchmarks import draws, emulator, npe, simulator, start
from common.clock import load_average

from chemsbi_jax.cli.run import run_script, write_record
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.storage.files import whole_file

Part = Literal["simulator", "npe", "emulator", "draws", "start"]


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("runs/benchmark")
    """Folder for the results and for what can be used again."""
    parts: tuple[Part, ...] = ("simulator", "npe", "emulator", "draws", "start")
    """What to measure, in this order."""
    peer_python: Path | None = None
    """Python of an environment with sbi 0.27 and torch."""
    peer_data: Path | None = None
    """Folder with train.npz and test.npz of make_data.py; None makes them."""
    sbi_converged: Path | None = None
    """JSON of sbi_npe.py without --budgets: sbi at its convergence."""
    yields: str = "tng"
    """Yield set of the simulations."""
    weights: str = "tng"
    """Shipped weights or a folder, for the draws."""
    n_batch: int = 20_000
    """Simulations of a batch, for their speed."""
    n_train: int = 100_000
    """Stars that train both posterior networks."""
    n_test: int = 5_000
    """Test stars of their log densities."""
    budgets: tuple[float, ...] = (30.0, 60.0, 300.0)
    """Wall-clock seconds of training, for both."""
    npe_batch_size: int = 512
    """Stars of a training step of our network."""
    npe_learning_rate: float = 5e-3
    """Initial learning rate of our network."""
    beat_epochs: int = 10
    """Epochs of a short training that is compared with converged sbi."""
    beat_steps: int = 40
    """Steps of each of these epochs."""
    beat_learning_rate: float = 1e-2
    """Initial learning rate of that training."""
    n_simulations: int = 500_000
    """Simulations that train both emulators."""
    n_valid: int = 20_000
    """Simulations of each of the two sets that score them."""
    emulator_hidden: tuple[int, ...] = (64, 64)
    """Widths of our emulator."""
    emulator_batch_size: int = 512
    """Simulations of a training step of our emulator."""
    emulator_learning_rate: float = 1e-2
    """Initial learning rate of our emulator."""
    emulator_epochs: int = 20
    """Epochs of our emulator."""
    emulator_steps: int = 500
    """Steps of an epoch of our emulator."""
    peer_epochs: int = 20
    """Epochs of the reference recipe in PyTorch."""
    n_stars: int = 1000
    """Stars whose posteriors are drawn from."""
    n_draws: int = 1000
    """Draws a star."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """Print nothing during the training."""


MODULES = {
    "simulator": simulator,
    "npe": npe,
    "emulator": emulator,
    "draws": draws,
    "start": start,
}


def main(config: Config) -> dict:
    """Measure the parts; the files are written after each of them."""
    watch = Stopwatch(config.quiet)
    report = {
        "machine": {
            "cores": os.cpu_count(),
            "devices": jax.local_device_count(),
            "processor": platform.machine(),
            "versions": {"python": platform.python_version(), "jax": jax.__version__},
        },
        "parts": {},
    }
    parts = report["parts"]
    for name in config.parts:
        before = load_average()
        with watch(name):
            if name == "draws":
                part = draws.run(config, config.out, parts.get("npe"))
            else:
                part = MODULES[name].run(config, config.out)
        parts[name] = {"load_average": [before, load_average()]} | part
        write(config.out, report)
    report["seconds"] = watch.seconds
    write_record(config.out, "benchmark_run", config, {"seconds": watch.seconds})
    write(config.out, report)
    if not config.quiet:
        print(markdown(report))
    return report


def write(out: Path, report: dict) -> None:
    """benchmark.json and benchmark.md, each whole."""
    with whole_file(out / "benchmark.json") as path:
        path.write_text(json.dumps(report, indent=1, allow_nan=False) + "\n")
    with whole_file(out / "benchmark.md") as path:
        path.write_text(markdown(report))


def markdown(report: dict) -> str:
    """The numbers as a person reads them."""
    machine = report["machine"]
    lines = ["# Speed", "", f"{machine['cores']} cores ({machine['processor']}), "]
    lines[-1] += f"{machine['devices']} JAX devices, jax {machine['versions']['jax']}. "
    lines[-1] += (
        "A load above 0 before a part means that other processes used the cores."
    )
    for name, part in report["parts"].items():
        before, after = part["load_average"]
        lines += ["", f"## {name}", "", f"Load average {before} before, {after} after."]
        lines += ["", *MODULES[name].rows(part)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
