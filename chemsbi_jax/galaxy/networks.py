"""The posterior network and the forward model, which travel together."""

import os
from typing import NamedTuple

import numpy as np
from jax.tree_util import Partial

from chemsbi_jax.emulator import emulate, load_emulator
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.npe import load_npe
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.priors import Prior, to_spec
from chemsbi_jax.storage.weights import load_spec, training_of, weights_folder
from chemsbi_jax.types import Forward

N_SIGMA = 3.0  # standard deviations of a normal prior that an emulator must cover
ROUNDING = 1e-3  # tolerance at the ends of a prior, in units of the parameters


class Networks(NamedTuple):
    """What an inference needs beside the stars."""

    npe: Npe  # posterior of one star
    forward: Forward  # theta -> abundances [dex]: emulator or simulator


def load_networks(name: str | os.PathLike) -> Networks:
    """The posterior network and the emulator of one folder, which must fit together.

    Args:
        name: shipped weights, or a folder with both.

    Raises:
        WeightsError: one can't be used, or they were trained for different galaxies.
    """
    folder = weights_folder(name)
    npe, emulator = load_npe(name), load_emulator(name)
    one, other = (load_spec(folder, kind) for kind in ("npe", "emulator"))
    reads, has = npe.reader.abundances, tuple(emulator.abundances)
    differs = [] if reads == has else [f"npe reads {reads}, the emulator has {has}"]
    differs += [
        f"{key} is {one[key]!r} for npe and {other[key]!r} for the emulator"
        for key in ("yields", "physics")
        if key in one and key in other and one[key] != other[key]
    ]
    for box, (parameter, (low, high)) in zip(
        np.stack([emulator.theta_low, emulator.theta_high], axis=-1),
        _ranges(npe.prior).items(),
        strict=True,
    ):
        if low < box[0] - ROUNDING or high > box[1] + ROUNDING:
            differs.append(
                f"the prior of {parameter} goes from {low:.4g} to {high:.4g}, the "
                f"emulator from {box[0]:.4g} to {box[1]:.4g}"
            )
    if differs:
        raise WeightsError(
            f"{folder}: expected a posterior network and an emulator of the same "
            f"yields, physics and prior; they differ: {'; '.join(differs)}. Train one "
            f"of them again ({training_of('npe')}, {training_of('emulator')}), or name "
            "another folder."
        )
    return Networks(npe, Partial(emulate, emulator=emulator))


def _ranges(prior: Prior) -> dict[str, tuple[float, float]]:
    """Parameter -> where nearly all of its prior lies."""
    ranges = {}
    for name, (_, numbers) in to_spec(prior).items():
        centre, half = numbers.get("loc", 0.0), N_SIGMA * numbers.get("scale", 0.0)
        ends = numbers.get("low", centre - half), numbers.get("high", centre + half)
        ranges[name] = ends
    return ranges
