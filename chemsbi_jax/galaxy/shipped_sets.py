"""Networks of yield sets that ship with the package, beside those of TNG."""

import os

import numpy as np

from chemsbi_jax.emulator import Emulator, load_emulator
from chemsbi_jax.storage.weights import EMULATORS, load_spec, weights_folder
from chemsbi_jax.yields import Yields

TOLERANCE = 1e-5  # relative; sums of the same tables differ by rounding


def sums_of(yields: Yields) -> dict[str, dict[str, float]]:
    """Sums of the tables of each channel, by element; they differ between sets."""
    channels = {
        "sn2": np.asarray(yields.sn2.net, float).sum(axis=(0, 1)),
        "agb": np.asarray(yields.agb.net, float).sum(axis=(0, 1)),
        "sn_ia": np.asarray(yields.sn_ia.ejecta, float),
    }
    return {
        name: {e: float(f"{x:.7g}") for e, x in zip(yields.elements, sums, strict=True)}
        for name, sums in channels.items()
    }


def shipped_emulator(
    name: str | os.PathLike, yields: Yields
) -> tuple[Emulator, dict[str, float]] | None:
    """The shipped emulator of a yield set and its rms errors [dex].

    Args:
        name: of the set, as for `load_yields`.
        yields: the set as it is on this machine.

    Returns:
        None if there is no emulator of this set with these elements, or it was trained
        with other tables.
    """
    weights = EMULATORS.get(str(name))
    if weights is None:
        return None
    spec = load_spec(weights_folder(weights), "emulator")
    is_same = tuple(spec["abundances"]) == yields.abundances
    if not is_same or not _are_near(spec["yields_sums"], sums_of(yields)):
        return None
    return load_emulator(weights), spec["metrics"]["rms_dex"]


def _are_near(one: dict, other: dict) -> bool:
    """Whether two results of `sums_of` are those of the same tables."""
    numbers = [
        [sums[channel][e] for channel in one for e in one[channel]]
        for sums in (one, other)
    ]
    largest = np.abs(numbers[0]).max()
    return bool(np.allclose(*numbers, rtol=TOLERANCE, atol=TOLERANCE**2 * largest))
