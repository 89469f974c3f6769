"""Made-up tables of the surveys, with rows that must be dropped."""

import numpy as np
import pytest
from astropy.table import Table

from chemsbi_jax.catalog import CatalogOptions, read_catalog
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import CatalogError

I = {name: i for i, name in enumerate(ABUNDANCES)}  # noqa: E741


def save(table, folder, name="stars.fits"):
    path = folder / name
    table.write(path)
    return path


def read(path, **options):
    return read_catalog(path, CatalogOptions(**options))


def refusal(path, **options):
    with pytest.raises(CatalogError) as info:
        read(path, **options)
    return str(info.value)


# Made-up stars of each survey. Row 1 is good; row 2 has a bad star flag; row 3 has a
# bad flag for magnesium; row 4 is row 1's star again; row 5 has nothing measured.
def galah(release):
    snr = "snr_c3_iraf" if release == 3 else "snr_px_ccd3"
    table = Table({"sobject_id": np.array([7, 8, 9, 7, 6], dtype=np.int64)})
    table["flag_sp"] = [0, 32, 0, 0, 0]
    table[snr] = [80.0, 90.0, 45.0, 70.0, 60.0]
    table["logg"] = [4.4, 4.3, 2.1, 4.4, 4.0]
    table["fe_h"] = [-0.31, -0.2, -0.1, -0.33, np.nan]
    table["e_fe_h"] = 0.06
    table["flag_fe_h"] = [0, 0, 0, 0, 0]
    for x in ("C", "O", "Mg", "Si"):
        name = f"{x}_fe" if release == 3 else f"{x.lower()}_fe"
        table[name] = np.array([0.11, 0.12, 0.13, 0.14, np.nan], dtype=np.float32)
        table[f"e_{name}"] = np.array([0.04] * 5, dtype=np.float32)
        table[f"flag_{name}"] = [0, 0, int(x == "Mg"), 0, 32]
    table["age_bstep"] = [3.0, 4.0, 15.0, 6.0, 7.0]
    table["e_age_bstep"] = [0.5, 0.5, 0.1, 0.5, 0.5]
    return table


def apogee():
    table = Table({"APOGEE_ID": ["2M01", "2M02", "2M03", "2M01", "2M05"]})
    table["ASPCAPFLAG"] = np.array([1 << 7, 1 << 23, 0, 0, 0], dtype=np.int64)
    table["EXTRATARG"] = [0, 0, 0, 1 << 4, 0]
    table["LOGG"] = [4.4, 4.3, 2.1, 4.4, 4.0]
    table["FE_H"] = [-0.31, -0.2, -0.1, -0.33, -9999.99]
    table["FE_H_ERR"] = [0.06, 0.06, 0.06, 0.06, -9999.99]
    table["FE_H_FLAG"] = [0, 0, 1 << 8, 0, 0]  # a warning
    for x in ("C", "N", "O", "MG", "SI"):
        table[f"{x}_FE"] = [0.11, 0.12, 0.13, 0.14, -9999.99]
        table[f"{x}_FE_ERR"] = [0.04, 0.04, 0.04, 25.9, 0.04]
        table[f"{x}_FE_FLAG"] = [1 << 5, 0, (1 << 6) * (x == "MG"), 0, 0]
    return table


def sdss5():
    table = Table({"sdss_id": np.array([7, 8, 9, 7, 6], dtype=np.int64)})
    table["flag_bad"] = [False, True, False, False, False]
    table["logg"] = [4.4, 4.3, 2.1, 4.4, 4.0]
    table["fe_h"] = [-0.31, -0.2, -0.1, -0.33, np.nan]
    table["e_fe_h"] = 0.03
    table["fe_h_flags"] = [0, 0, 1 << 10, 0, 0]
    for x in ("c", "n", "o", "mg", "si"):
        table[f"{x}_h"] = [-0.2, -0.1, 0.0, -0.1, np.nan]
        table[f"e_{x}_h"] = 0.04
        table[f"{x}_h_flags"] = [0, 0, (1 << 8) * (x == "mg"), 0, 0]
    return table


SURVEYS = {
    "GALAH DR3": (lambda: galah(3), "galah", "flag_sp is not 0"),
    "GALAH DR4": (lambda: galah(4), "galah", "flag_sp is not 0"),
    "APOGEE DR16/DR17": (apogee, "apogee", "ASPCAPFLAG has STAR_BAD (bit 23)"),
    "SDSS-V": (sdss5, "sdss5", "flag_bad is set"),
}
