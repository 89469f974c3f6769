"""Train the small conditional emulator that NUTS over shared errors uses.

    python experiments/train_small_emulator.py --out runs/tng

It is trained to give what the conditional emulator (`train_emulator.py --free-yields`)
does, and is written to the folder small in --out. About 6 minutes on two cores.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax.cli.run import check_flags, run_script, write_record
from chemsbi_jax.emulator.small import N_ROWS, SMALL, train_small_emulator
from chemsbi_jax.storage.weights import load_spec, weights_folder


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("runs/tng")
    """Folder for the weights; they go to its folder small."""
    emulator: str = "tng"
    """Conditional emulator to approximate: tng, or a folder."""
    n_epochs: int = 120
    """Epochs of each of the two networks."""
    steps_per_epoch: int = 1000
    """Steps of 1024 rows per epoch."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bars, and no numbers on the screen."""


def main(config: Config) -> dict:
    """Train, measure and save; returns the errors [dex]."""
    check_flags(config, n_epochs=1, steps_per_epoch=1)
    large = em.load_yield_emulator(config.emulator)
    found = train_small_emulator(
        jax.random.key(config.seed),
        large,
        cs.paper_prior(),
        n_epochs=config.n_epochs,
        steps_per_epoch=config.steps_per_epoch,
        quiet=config.quiet,
    )
    names = large.base.abundances
    errors = {
        "rms_dex": dict(zip(names, map(float, found.rms), strict=True)),
        "bias_dex": dict(zip(names, map(float, found.bias), strict=True)),
    }
    folder, of = config.out / SMALL, weights_folder(config.emulator)
    spec = {k: load_spec(of, "emulator").get(k) for k in ("yields", "physics")}
    spec |= {"distilled_from": load_spec(of / em.FOLDER, "emulator").get("sha256")}
    spec |= {"n_simulations": N_ROWS, "seed": config.seed, "metrics": errors}
    em.save_emulator(folder, found.emulator.base, spec)
    em.save_yield_emulator(folder, found.emulator, spec)
    write_record(folder, "train_small_emulator", config, errors)
    if not config.quiet:
        for name in names:
            numbers = errors["rms_dex"][name], errors["bias_dex"][name]
            print(f"{name}: rms {numbers[0]:.4f}, mean {numbers[1]:+.4f} dex")
    return errors


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
