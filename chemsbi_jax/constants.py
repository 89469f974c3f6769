"""Names, physical constants and the solar scale: one home each."""

PARAMETERS = (
    "alpha_imf",
    "log10_n_ia",
    "log10_sfe",
    "log10_sfr_peak",
    "outflow_fraction",
    "birth_time",
)
"""Order of every theta vector; the first two are global, the rest local."""

N_GLOBAL = 2
GLOBAL_PARAMETERS = PARAMETERS[:N_GLOBAL]
BIRTH_TIME = PARAMETERS.index("birth_time")

LATEX = (r"\alpha_{\rm IMF}", r"\log_{10} N_{\rm Ia}\ [{\rm M}_\odot^{-1}]")
"""Labels of the two global parameters, without dollar signs."""

ABUNDANCES = ("c_fe", "fe_h", "he_fe", "mg_fe", "n_fe", "ne_fe", "o_fe", "si_fe")
"""Order of every abundance vector: [X/Fe] and [Fe/H] in dex."""

ELEMENTS = ("C", "Fe", "H", "He", "Mg", "N", "Ne", "O", "Si")
"""Traced elements. The gas mass is the sum over these; Z leaves out H and He."""

FURTHER_ELEMENTS = ("Na", "Al", "S", "Ca", "Ti", "Mn", "Ni")
"""Elements that some yield sets have in addition; traced without weight."""

ALL_ABUNDANCES = (*ABUNDANCES, *(f"{e.lower()}_fe" for e in FURTHER_ELEMENTS))
"""Abundances of all elements with a solar value here; the default eight come first."""

YIELD_FACTORS = (
    "sn2_c", "sn2_n", "sn2_o", "sn2_ne", "sn2_mg", "sn2_si", "sn2_fe",
    "agb_c", "agb_n", "snia_si", "snia_fe",
)  # fmt: skip
"""Order of every vector of yield factors: log10 factors, by channel and element."""

YIELD_SLOPES = tuple(f"sn2_{x}_slope" for x in ("c", "n", "o", "ne", "mg", "si"))
"""Change of the log10 factor of SN II per dex of [Fe/H], by element."""

SHARED_FACTORS = (*YIELD_FACTORS, *YIELD_SLOPES)
"""Factors and slopes that the stars of a galaxy share."""

SLOPE_ERROR = 0.1
"""Errors of these slopes that differ between catalogues: their standard deviation [dex
per dex of [Fe/H]]. An assumption, as no catalogue publishes them."""

METALS = ("C", "Fe", "Mg", "N", "Ne", "O", "Si")

# Asplund, Grevesse, Sauval & Scott 2009, Table 1 (photosphere): 12 + log10(n_X / n_H)
SOLAR = (8.43, 7.50, 12.00, 10.93, 7.60, 7.83, 7.93, 8.69, 7.51)
# Standard atomic weights, in the order of ELEMENTS
ATOMIC_WEIGHT = (
    12.0107, 55.845, 1.00794, 4.002602, 24.305, 14.0067, 20.1797, 15.9994, 28.0855,
)  # fmt: skip

T_END = 13.797617  # Gyr, age of the Universe (Planck 2015)
T_SNIA_END = 13.8  # Gyr, the SNe Ia of log10_n_ia explode within this time
SNIA_DELAY = 0.04  # Gyr, first SN Ia (Philcox & Rybizki 2019)
SNIA_SLOPE = 1.12  # minus the power of the delay-time law (Maoz+ 2010)
SNIA_WD_MASS = 0.3 * 2.156  # Msun, white-dwarf share of the fuel of a SN Ia (Chempy)
PRIMORDIAL_H = 0.76  # mass fraction
PRIMORDIAL_HE = 0.24  # mass fraction

IMF_M_MIN = 0.1  # Msun
IMF_M_MAX = 100.0  # Msun
SN2_M_MIN = 8.0  # Msun, lightest star that ends as a core-collapse supernova
AGB_M_MIN = 1.0  # Msun, lightest star with an AGB yield
# Chabrier 2003 (PASP 115, 763), Table 1, as Chempy writes it
IMF_LOGNORMAL_AMPLITUDE = 0.852464
IMF_LOGNORMAL_MEDIAN = 0.079  # Msun
IMF_LOGNORMAL_WIDTH = 0.69  # dex
IMF_POWER_AMPLITUDE = 0.237912

MIN_SFR_FRACTION = 0.05  # a star is born only above this share of the mean SFR
