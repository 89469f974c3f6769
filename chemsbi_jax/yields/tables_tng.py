"""The yields of IllustrisTNG."""

from pathlib import Path

import h5py
import jax.numpy as jnp

from chemsbi_jax.constants import AGB_M_MIN, IMF_M_MAX, SN2_M_MIN
from chemsbi_jax.storage.datasets import fetch
from chemsbi_jax.yields.hdf5 import floats, texts
from chemsbi_jax.yields.mass_bins import StellarModels, bin_models
from chemsbi_jax.yields.types import SNIaYields, SourceYields, Yields

SPECIES = (
    "Carbon", "Iron", "Hydrogen", "Helium", "Magnesium", "Nitrogen", "Neon", "Oxygen",
    "Silicon",
)  # fmt: skip
"""`constants.ELEMENTS` as the TNG files spell them."""


def load_tng() -> Yields:
    """The yields of IllustrisTNG (Pillepich+ 2018, MNRAS 473, 4077).

    SN II: Portinari+ 1998, Kobayashi+ 2006; AGB: Karakas 2010, Doherty+ 2014,
    Fishlock+ 2014; SN Ia: Nomoto+ 1997.
    """
    return Yields(
        sn2=_tng_source(fetch("yields/tng/SNII.hdf5"), SN2_M_MIN, IMF_M_MAX),
        agb=_tng_source(fetch("yields/tng/AGB.hdf5"), AGB_M_MIN, SN2_M_MIN),
        sn_ia=_tng_sn_ia(fetch("yields/tng/SNIa.hdf5")),
    )


def _tng_source(path: Path, m_min: float, m_max: float) -> SourceYields:
    models = []
    with h5py.File(path) as file:
        masses = floats(file, "Masses")
        rows = _traced_rows(file)
        metallicities = floats(file, "Metallicities")
        groups = texts(file, "Yield_names")
        # the AGB file names one group more than it has
        for metallicity, group in zip(metallicities, groups, strict=False):
            net = floats(file, f"Yields/{group}/Yield") / masses  # of all 11 species
            ejected = floats(file, f"Yields/{group}/Ejected_mass") / masses
            unprocessed = ejected - net.sum(axis=0)
            models.append(StellarModels(metallicity, masses, net[rows].T, unprocessed))
    return bin_models(models, m_min, m_max)


def _tng_sn_ia(path: Path) -> SNIaYields:
    with h5py.File(path) as file:
        ejecta = floats(file, "Yield")
        rows = _traced_rows(file)
    return SNIaYields(ejecta=jnp.asarray(ejecta[rows]), mass=jnp.asarray(ejecta.sum()))


def _traced_rows(file: h5py.File) -> list[int]:
    species = texts(file, "Species_names")
    return [species.index(s) for s in SPECIES]
