"""The alternative yields: Nomoto 2013, Karakas & Lugaro 2016, Thielemann 2003."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from chemsbi_jax.constants import AGB_M_MIN, ELEMENTS, IMF_M_MAX, SN2_M_MIN
from chemsbi_jax.storage.datasets import fetch, find_local
from chemsbi_jax.yields.mass_bins import StellarModels, bin_models
from chemsbi_jax.yields.types import SNIaYields, SourceYields, Yields

log = logging.getLogger("chemsbi_jax")

NOMOTO_METALLICITIES = (0.05, 0.02, 0.008, 0.004, 0.001)
"""Mass fraction of metals of file 0 to 4."""

ATOMIC_NUMBER = {
    "C": 6, "Fe": 26, "H": 1, "He": 2, "Mg": 12, "N": 7, "Ne": 10, "O": 8, "Si": 14,
}  # fmt: skip

# Initial -> final mass [Msun] at Z = 0.001 as Chempy has it; the file (Fishlock+ 2014,
# ApJ 797, 44) has none. Too large above 2 Msun: the ejected masses in that file leave
# 0.84, not 1.40 Msun of a star of 3.25 Msun.
FISHLOCK_FINAL_MASS = {
    1.0: 0.678, 1.25: 0.669, 1.5: 0.657, 2.0: 0.668, 2.25: 0.839, 2.5: 0.948,
    2.75: 1.057, 3.0: 1.189, 3.25: 1.403, 3.5: 1.176, 4.0: 1.726, 4.5: 1.659,
    5.0: 1.740, 5.5: 1.962, 6.0: 1.725, 7.0: 2.062,
}  # fmt: skip

# Chempy has 0.744 Msun for 4 Msun at Z = 0.03, the file's header 0.774 Msun.
CHEMPY_FINAL_MASS = {(0.03, 4.0): 0.744}

KARAKAS_FILES = {0.001: "z001", 0.007: "z007", 0.014: "z014", 0.03: "z03"}
"""Mass fraction of metals -> name in the files."""

# Where an initial composition is not at hand it is that of Z = 0.03 with other weights:
# metals times a factor (read off the iron-peak elements of the 1 Msun ejecta), helium
# times the ratio of the Y in the headers of the yield files.
RECONSTRUCTED = {0.007: (0.249794, 0.26 / 0.30), 0.014: (0.499538, 0.28 / 0.30)}


def load_alternative(corrected: bool = True) -> Yields:
    """The alternative set of Philcox & Rybizki 2019 (ApJ 887, 9).

    SN II: Nomoto, Kobayashi & Tominaga 2013 (ARA&A 51, 457); AGB: Karakas & Lugaro
    2016 (ApJ 825, 26) and Fishlock+ 2014; SN Ia: Thielemann+ 2003.

    Args:
        corrected: Chempy computes the AGB net yields per unit *ejected* mass and uses
            them per unit *initial* mass, which overdoes them. True puts the missing
            ejected fraction in; False reproduces Chempy. Chempy's final masses are
            used either way, those that look wrong included.
    """
    return Yields(sn2=_nomoto(), agb=_karakas(corrected=corrected), sn_ia=_thielemann())


def _nomoto() -> SourceYields:
    """Fields are already per unit initial mass."""
    models = []
    for i, metallicity in enumerate(NOMOTO_METALLICITIES):
        path = fetch(f"yields/alternative/nomoto2013/nomoto_net_met_ind_{i}.npy")
        table = np.load(path, allow_pickle=False)
        net = np.stack([table[e] for e in ELEMENTS], axis=-1)
        unprocessed = table["unprocessed_mass_in_winds"]
        models.append(StellarModels(metallicity, table["Mass"], net, unprocessed))
    return bin_models(models, SN2_M_MIN, IMF_M_MAX)


def _thielemann() -> SNIaYields:
    """One line of names, one line of masses [Msun]; the remnant is minus the total."""
    path = fetch("yields/alternative/thielemann2003/0.02.txt")
    names, numbers = (line.split() for line in path.read_text().splitlines()[:2])
    row = {name: float(x) for name, x in zip(names, numbers, strict=True)}
    return SNIaYields(
        ejecta=jnp.asarray([row[e] for e in ELEMENTS]), mass=jnp.asarray(row["Mass"])
    )


def _karakas(corrected: bool) -> SourceYields:
    models = []
    for metallicity, label in KARAKAS_FILES.items():
        path = fetch(f"yields/alternative/karakas2016/yield_{label}.dat")
        masses, final, ejecta = _read_ejecta(path)
        for i, mass in enumerate(masses):
            final[i] = CHEMPY_FINAL_MASS.get((metallicity, mass), final[i])
        unprocessed = 1.0 - final / masses
        net = ejecta - _initial_composition(metallicity)
        if corrected:
            net = unprocessed[:, None] * net
        models.append(StellarModels(metallicity, masses, net, unprocessed))
    return bin_models(models, AGB_M_MIN, SN2_M_MIN)


def _read_ejecta(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Initial and final masses [Msun] and mass fractions in the ejecta, a row a star.

    One block of lines a star, hydrogen first; the sixth column is the mean mass
    fraction in the ejecta in both layouts (Karakas & Lugaro, Fishlock).
    """
    text = path.read_text()
    ejecta = np.stack([_traced(b) for b in _blocks(text, column=5)])
    masses = re.findall(r"Initial mass = *([\d.]+)", text)
    final = re.findall(r"Final mass = *([\d.]+)", text)
    if not masses:
        masses, final = FISHLOCK_FINAL_MASS.keys(), FISHLOCK_FINAL_MASS.values()
    return np.array([*masses], float), np.array([*final], float), ejecta


def _initial_composition(metallicity: float) -> Float[np.ndarray, " element"]:
    """Mass fractions that the stars of one metallicity were born with."""
    folder = "yields/alternative/karakas2016"
    if metallicity == 0.001:
        return _read_initial(fetch(f"{folder}/surf_z001.dat"))
    solar = fetch(f"{folder}/surf_z03_first90lines.dat")
    if metallicity == 0.03:
        return _read_initial(solar)
    label = KARAKAS_FILES[metallicity]
    original = find_local(f"{folder}/surf_{label}.dat")
    if original is not None:
        log.info("AGB, Z = %g: initial composition from %s", metallicity, original)
        return _read_initial(original)
    log.info(
        "AGB, Z = %g: initial composition reconstructed from that of Z = 0.03 "
        "(surf_%s.dat is not in the data folder)", metallicity, label,
    )  # fmt: skip
    return _scaled_composition(solar, *RECONSTRUCTED[metallicity])


def _read_initial(path: Path) -> Float[np.ndarray, " element"]:
    """The first block of a surface-abundance file."""
    return _traced(next(_blocks(path.read_text(), column=6)))


def _scaled_composition(
    path: Path, metals: float, helium: float
) -> Float[np.ndarray, " element"]:
    block = next(_blocks(path.read_text(), column=6))
    total = sum(block.values())
    scaled = {z: metals * x / total for z, x in block.items()}
    scaled[2] = helium * block[2] / total
    scaled[1] = 1.0 - sum(x for z, x in scaled.items() if z != 1)
    return _traced(scaled)


def _blocks(text: str, column: int) -> Iterator[dict[int, float]]:
    """Blocks of atomic number -> mass fraction; hydrogen starts a block.

    Names do not do: hydrogen and phosphorus are both written "p".
    """
    block: dict[int, float] = {}
    for line in text.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        number = int(words[1])
        if number == 1 and block:
            yield block
            block = {}
        block[number] = float(words[column])
    yield block


def _traced(block: dict[int, float]) -> Float[np.ndarray, " element"]:
    """Share of each traced element in the sum over all elements of the block."""
    total = sum(block.values())
    return np.array([block[ATOMIC_NUMBER[e]] for e in ELEMENTS]) / total
