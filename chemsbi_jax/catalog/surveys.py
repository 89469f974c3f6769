"""What the tables of large surveys call their columns, and which rows they warn of.

Data only; `column_names` finds a survey's columns in a table.

Sources: GALAH DR2, Buder+ 2018 (MNRAS 478, 4513). GALAH DR3 and DR4,
galah-survey.org/dr3/flags, /dr3/using_the_data, /dr4/flags,
/dr4/table_schema, /dr4/using_the_data (Buder+ 2021, 2025). APOGEE DR16 and DR17,
sdss.org/dr17/irspec/abundances, /irspec/apogee-bitmasks (Joensson+ 2020,
Abdurro'uf+ 2022) and bitmask.py of github.com/sdss/apogee. SDSS-V DR19 and DR20,
sdss.org/dr19/mwm/data/abundances and models/aspcap.py of github.com/sdss/astra.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

ANY = -1  # every bit


class Cut(NamedTuple):
    """Rows that a survey does not recommend."""

    column: str  # lower case
    reason: str  # for the report
    bits: int = 0  # bad if one of these bits is set; a missing flag has them all
    above: float | None = None  # or: good only above this value


class Survey(NamedTuple):
    """Columns of one survey's tables; all names in lower case."""

    name: str  # of the flag --survey
    title: str
    marks: tuple[str, ...]  # columns that identify the survey, all of them
    identifying: tuple[str, ...]  # and at least one of these, or the flag of a value
    releases: tuple[str, ...]  # columns of this release only, any of them
    columns: Mapping[str, tuple[str, ...]]  # our name -> theirs, the first one present
    error: str  # pattern of an error's column
    flag: str  # pattern of the flag of a value
    flag_bits: int  # bits of that flag which make a value unusable
    over: str  # "fe": the table has [X/Fe]; "h": it has [X/H]
    cuts: tuple[Cut, ...]  # stars that its authors advise against
    unflagged: tuple[str, ...] = ()  # values without a flag, or with a faulty one
    hidden: tuple[str, ...] = ()  # columns with one of our names, but not to be used
    hdu: int | None = None  # of the FITS file
    solar: str = ""  # sentence about its zero point


_GALAH_SUN = (
    "GALAH's zero points come from its own analysis of the Sun and Sun-like stars, so "
    "the abundances were not converted."
)
_ASPCAP_SUN = (
    "ASPCAP sets its zero points so that nearby stars of solar metallicity have solar "
    "abundances, on a scale close to grevesse2007. The abundances were not converted; "
    "--solar-from grevesse2007 converts them."
)

GALAH_DR3 = Survey(
    name="galah",
    title="GALAH DR3",
    marks=("sobject_id", "fe_h"),
    identifying=("flag_sp", "flag_cannon", "snr_c3_iraf", "snr_px_ccd3"),
    releases=("snr_c3_iraf", "snr_c2_iraf", "flag_guess", "red_flag"),
    columns=MappingProxyType(
        {"id": ("sobject_id",), "age": ("age_bstep",), "e_age": ("e_age_bstep",)}
    ),
    error="e_{}",
    flag="flag_{}",
    flag_bits=ANY,
    over="fe",
    cuts=(
        Cut("flag_sp", "flag_sp is not 0", bits=ANY),
        Cut("flag_fe_h", "flag_fe_h is not 0", bits=ANY),
        Cut("snr_c3_iraf", "snr_c3_iraf is not above 30", above=30.0),
    ),
    unflagged=("fe_h",),  # a cut of stars in DR3, faulty in DR4
    hidden=("age", "e_age"),  # a by-product of log g; the survey recommends age_bstep
    solar=_GALAH_SUN,
)
GALAH_DR4 = GALAH_DR3._replace(
    title="GALAH DR4",
    releases=("snr_px_ccd3", "flag_sp_fit", "flag_red", "gaiadr3_source_id"),
    columns=MappingProxyType(
        {"id": ("sobject_id",), "age": ("age_bstep", "age"), "e_age": ("e_age_bstep",)}
    ),
    cuts=(  # flag_fe_h of this release is faulty; the survey advises not to use it
        Cut("flag_sp", "flag_sp is not 0", bits=ANY),
        Cut("snr_px_ccd3", "snr_px_ccd3 is not above 30", above=30.0),
    ),
)
GALAH_DR2 = GALAH_DR3._replace(
    title="GALAH DR2",
    releases=("flag_cannon",),
    columns=MappingProxyType({"id": ("sobject_id",)}),
    cuts=(Cut("flag_cannon", "flag_cannon is not 0", bits=ANY),),
    hidden=(),
)
APOGEE = Survey(
    name="apogee",
    title="APOGEE DR16/DR17 allStar",
    marks=("apogee_id", "fe_h", "fe_h_err"),
    identifying=("aspcapflag", "starflag", "extratarg"),
    releases=(),
    columns=MappingProxyType({"id": ("apogee_id",)}),
    error="{}_err",
    flag="{}_flag",
    # GRIDEDGE_BAD, OTHER_BAD, FERRE_FAIL, TEFF_CUT: "bad" in the pipeline's own list
    flag_bits=1 << 0 | 1 << 2 | 1 << 3 | 1 << 6,
    over="fe",
    cuts=(
        Cut("aspcapflag", "ASPCAPFLAG has STAR_BAD (bit 23)", bits=1 << 23),
        Cut("extratarg", "EXTRATARG has DUPLICATE (bit 4)", bits=1 << 4),
    ),
    hdu=1,
    solar=_ASPCAP_SUN,
)
# a table with [X/H] alone, as the vectors X_H of allStar give when they are split
APOGEE_OVER_H = APOGEE._replace(over="h")
SDSS5 = Survey(
    name="sdss5",
    title="SDSS-V DR19/DR20 astra ASPCAP",
    marks=("sdss_id", "fe_h", "fe_h_flags"),
    identifying=("fe_h_flags",),
    releases=(),
    columns=MappingProxyType({"id": ("sdss_id",)}),
    error="e_{}",
    flag="{}_flags",
    flag_bits=1 << 5 | 1 << 6 | 1 << 7 | 1 << 8,  # censored three ways, bad grid edge
    over="h",
    cuts=(Cut("flag_bad", "flag_bad is set", bits=ANY),),
    hdu=2,  # HDU 1 is for the optical spectra
    solar=_ASPCAP_SUN,
)
SURVEYS = (GALAH_DR3, GALAH_DR4, GALAH_DR2, APOGEE, APOGEE_OVER_H, SDSS5)
