"""Made-up yield sets with few and with many elements."""

import json
from pathlib import Path

import numpy as np

from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.emulator import EmulatorConfig
from chemsbi_jax.galaxy.any_yields import Recipe
from helpers.paths import TOY

SOURCE = {"Na": "Mg", "Al": "Mg", "S": "Si", "Ca": "Si", "Ti": "O", "Mn": "Fe",
          "Ni": "Fe"}  # fmt: skip
SHARE = {"Na": 0.06, "Al": 0.08, "S": 0.5, "Ca": 0.1, "Ti": 0.001, "Mn": 0.01,
         "Ni": 0.05}  # fmt: skip
FOUR = ("H", "He", "Fe", "Mg", "O")
TRUTH = (-2.2, -2.8)
N = 2000  # of all simulations: one shape is one compiled program for each set
SMALL = Recipe(
    n_simulations=N,
    n_test=N,
    config=EmulatorConfig(
        hidden=(32, 32), batch_size=256, fit=FitConfig(n_epochs=6, steps_per_epoch=200)
    ),
)


def write_set(path: Path, elements: tuple[str, ...]) -> Path:
    """The toy set with other elements; a further one is a share of a default one."""
    toy = json.loads(TOY.read_text())
    for channel, key in (("sn2", "net"), ("agb", "net"), ("sn_ia", "ejecta")):
        table = toy[channel][key]
        further = {e: SHARE[e] * np.array(table[x]) for e, x in SOURCE.items()}
        table |= {e: numbers.tolist() for e, numbers in further.items()}
        toy[channel][key] = {e: table[e] for e in elements}
    toy["sn_ia"]["mass"] = sum(toy["sn_ia"]["ejecta"].values())
    path.write_text(json.dumps(toy))
    return path
