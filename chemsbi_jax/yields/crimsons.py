"""Tables of the package crimsons 0.1.2 (MIT): Nomoto 2013; others to compare with."""

from pathlib import Path

import h5py
import numpy as np

from chemsbi_jax.yields.errors import YieldsError
from chemsbi_jax.yields.galcem import IWAMOTO, LC18
from chemsbi_jax.yields.hdf5 import array, texts
from chemsbi_jax.yields.packages import packaged
from chemsbi_jax.yields.parts import Models, Part, explosion, from_gross

SOURCE = "crimsons 0.1.2"
NOMOTO = "Nomoto, Kobayashi & Tominaga 2013, ARA&A 51, 457"

# Remnant masses [Msun] of stars of 13, 15, 18, 20, 25, 30, 40 Msun (Nomoto+ 2013).
# The tables hold the explosion alone; the rest of the star is lost in its wind.
REMNANTS = {
    0.001: (1.65, 1.53, 1.7, 1.85, 1.91, 2.06, 3.17),
    0.004: (1.61, 1.5, 2.143, 1.76, 1.68, 2.56, 2.81),
    0.008: (1.606, 1.5, 1.901, 1.67, 1.734, 2.362, 2.552),
    0.02: (1.6, 1.5, 1.58, 1.55, 1.804, 2.1, 2.21),
    0.05: (1.54, 1.62, 1.46, 1.63, 1.88, 2.32, 2.28),
}
# Hydrogen and helium at birth, by metallicity
HYDROGEN_HELIUM = {
    0.001: (0.75047, 0.24853),
    0.004: (0.74289, 0.25311),
    0.008: (0.73279, 0.25921),
    0.02: (0.70247, 0.27753),
    0.05: (0.65, 0.30),
}
# Share of the metals at birth: photosphere of Anders & Grevesse 1989 (GeCoA 53, 197)
METAL_SHARE = {
    "Li": 5.129e-07, "Be": 8.58e-09, "B": 2.968e-07, "C": 0.157834, "N": 0.056881,
    "O": 0.492874, "F": 2.497e-05, "Ne": 0.08986, "Na": 0.001779, "Mg": 0.03344,
    "Al": 0.002882, "Si": 0.03607, "P": 0.000316, "S": 0.018822, "Cl": 0.0002389,
    "Ar": 0.00525, "K": 0.0001871, "Ca": 0.003322, "Sc": 2.048e-06, "Ti": 0.0001693,
    "V": 1.844e-05, "Cr": 0.0008802, "Mn": 0.0004881, "Fe": 0.09454, "Co": 0.0001774,
    "Ni": 0.003778, "Cu": 3.73e-05, "Zn": 9.421e-05,
}  # fmt: skip

# Faults of the file. A lost leading digit took 10 and 30 Msun of hydrogen from stars of
# 60, 80 and 120 Msun, solar, 300 km/s; and one SN Ia has another's name.
LOST_HYDROGEN = {60.0: 10.0, 80.0: 10.0, 120.0: 30.0}
MISLABELLED = {"cdd1": "cdd2"}


def nomoto(hypernovae: float = 0.0) -> Part:
    """Core collapse (Nomoto, Kobayashi & Tominaga 2013).

    Args:
        hypernovae: share of hypernovae among the stars from 20 Msun up.
    """
    elements, masses, metallicities, table = _read("SNII/Nomoto13_PopII")
    _, energetic, _, hyper = _read("SNII/Nomoto13_Hypernovae_PopII")
    models = []
    for i, z in enumerate(metallicities):
        supernova = table[i]
        ejecta = supernova.copy()
        row = np.searchsorted(masses, energetic)
        ejecta[row] += hypernovae * (hyper[i] - supernova[row])
        wind = masses - np.array(REMNANTS[float(z)]) - supernova.sum(axis=1)
        models.append(_with_wind(float(z), masses, elements, ejecta, wind))
    name = f"nkt13hn{100 * hypernovae:.0f}" if hypernovae else "nkt13"
    return Part(name, "sn2", NOMOTO, SOURCE, elements, tuple(models))


def _with_wind(
    metallicity: float,
    masses: np.ndarray,
    elements: tuple[str, ...],
    explosions: np.ndarray,
    wind: np.ndarray,
) -> Models:
    """The wind has the composition that the star was born with."""
    hydrogen, helium = HYDROGEN_HELIUM[metallicity]
    initial = {e: metallicity * share for e, share in METAL_SHARE.items()}
    initial |= {"H": hydrogen, "He": helium}
    born = np.array([initial.get(e, 0.0) for e in elements])
    exploded = explosions.sum(axis=1)
    ejected = exploded + wind
    net = explosions - born * exploded[:, None]
    gross = explosions + born * wind[:, None]
    return Models(metallicity, masses, born, gross, net, ejected)


def limongi(velocity: int, repaired: bool = True) -> Part:
    """Set R of Limongi & Chieffi 2018, to compare with galcem's; without X0.

    Args:
        velocity: initial rotation, 0, 150 or 300 km/s.
        repaired: put back the hydrogen of `LOST_HYDROGEN`.
    """
    elements, masses, metallicities, table = _read("SNII/Limongi18")
    table = table[:, (0, 150, 300).index(velocity)].copy()
    if repaired and velocity == 300:
        hydrogen = elements.index("H")
        for mass, lost in LOST_HYDROGEN.items():
            table[-1, list(masses).index(mass), hydrogen] += lost
    unknown = np.full(len(elements), np.nan)
    models = tuple(
        from_gross(float(z), masses, unknown, gross)
        for z, gross in zip(metallicities, table, strict=True)
    )
    return Part(f"lc18r_v{velocity}", "sn2", LC18, SOURCE, elements, models)


def iwamoto(model: str) -> Part:
    """A model of Iwamoto+ 1999, to compare with galcem's.

    What the file calls CDD1 is CDD2; it does not have CDD1.

    Raises:
        YieldsError: the file does not have the model.
    """
    with h5py.File(_file()) as file:
        labels = [n.lower() for n in texts(file, "SNIa/Iwamoto99/model")]
    names = [MISLABELLED.get(label, label) for label in labels]
    if model not in names:
        raise YieldsError(f"Expected a model of {', '.join(names)}; got {model!r}.")
    elements, _, _, table = _read("SNIa/Iwamoto99")
    models = explosion(table[names.index(model), 0])
    return Part(model, "sn_ia", IWAMOTO, SOURCE, elements, models)


def _file() -> Path:
    return packaged("crimsons", "yields", "data", "stellar_yields.h5")


def _read(
    group: str,
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, np.ndarray]:
    """Elements, masses, metallicities, Msun; the first column is the energy."""
    with h5py.File(_file()) as file:
        elements = tuple(texts(file, f"{group}/elements")[1:])
        names = ("mass", "metallicity", "yields")
        masses, z, table = (array(file, f"{group}/{name}") for name in names)
    return elements, masses, z, table[..., 1:]
