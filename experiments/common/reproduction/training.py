"""The networks of `reproduce.py --from-scratch`, in minutes."""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
from jax.tree_util import Partial
from jaxtyping import Array, Key

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import npe as networks
from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.errors import DatasetError
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.simulator.blocks import simulate_blocks
from common.reproduction.galaxies import missing_yields


@dataclass(frozen=True)
class Scratch:
    """Sizes of --from-scratch: five minutes on two idle cores."""

    n_simulations: int = 500_000
    """Training simulations of the emulator."""
    emulator_epochs: int = 15
    """Epochs of the emulator."""
    emulator_steps: int = 1000
    """Steps of an epoch of the emulator."""
    npe_epochs: int = 11
    """Epochs of the posterior network."""
    npe_steps: int = 500
    """Steps of an epoch of the posterior network."""


def train_from_scratch(
    key: Key[Array, ""], size: Scratch, folder: Path, watch: Stopwatch
) -> None:
    """Simulate, train the emulator and the posterior network, save both.

    Raises:
        DatasetError: the yield tables are not on the machine.
    """
    absent = missing_yields("tng")
    if absent:
        raise DatasetError(
            f"--from-scratch needs {', '.join(absent)}: set CHEMSBI_DATA to a folder "
            "with them, or get them with experiments/download.py."
        )
    key_theta, key_emulator, key_npe = jax.random.split(key, 3)
    made_by = {"recipe": "reproduce --from-scratch", "scratch": asdict(size)}
    made_by |= {"yields": "tng", "physics": "clean"}
    emulator = _train_emulator(key_theta, key_emulator, size, watch)
    em.save_emulator(folder, emulator, made_by)
    length = FitConfig(size.npe_epochs, size.npe_steps)
    recipe, prior = replace(networks.NpeConfig(), fit=length), cs.paper_prior()
    stars = networks.FreshStars(Partial(cs.emulate, emulator=emulator), prior)
    with watch("train npe"):
        npe, _ = networks.train_npe(key_npe, stars, prior, recipe, quiet=watch.quiet)
    networks.save_npe(folder, npe, recipe, made_by)


def _train_emulator(key_theta, key_train, size: Scratch, watch: Stopwatch):
    with watch("simulate"):
        theta = priors.sample_mixture(key_theta, size.n_simulations)
        tables = cs.load_yields("tng")
        abundances = simulate_blocks(theta, tables, cs.CLEAN, watch.quiet)
    length = FitConfig(size.emulator_epochs, size.emulator_steps)
    recipe, box = replace(em.EmulatorConfig(), fit=length), priors.box(cs.wide_prior())
    with watch("train emulator"):
        emulator, _ = em.train_emulator(
            key_train, theta, abundances, box, recipe, quiet=watch.quiet
        )
    return emulator
