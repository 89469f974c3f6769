"""Settings of the main functions as plain dataclasses; this module imports no JAX.

The command line shows them as flags, so they must load in milliseconds.
"""

from dataclasses import dataclass
from typing import Literal

from chemsbi_jax.errors import InputError


@dataclass(frozen=True, kw_only=True)
class CatalogOptions:
    """How to read a star table."""

    survey: Literal["auto", "none", "galah", "apogee", "sdss5"] = "auto"
    """Survey preset for column names and quality flags.
    auto: detects the survey; none: only the package's own column names."""
    columns: str = ""
    """Pairs of our name and a column, such as fe_h=FE_H,e_fe_h=FE_H_ERR.
    Conversions: age=10**logAge,fe_h=A(Fe)-7.50,e_mg_fe=sqrt(VAR_MG)."""
    age_unit: Literal["auto", "Gyr", "Myr", "yr"] = "auto"
    """Unit of ages and birth times whose column has none.
    auto: Gyr; for 10**column the unit is inferred from the size."""
    solar_from: str | None = None
    """Solar scale of the table, such as grevesse2007, if it is to be converted."""
    without: str = ""
    """Abundances to leave out, such as c_fe,n_fe."""
    default_error: float | None = None
    """Error of abundances that have none in the table [dex]."""
    quality: bool = True
    """Apply the flags of a survey: bad stars are dropped, bad values become gaps."""
    hdu: int | None = None
    """Number of the table in a FITS file or VOTable."""

    def __post_init__(self) -> None:
        """Refuse lists and dictionaries in place of text."""
        for name, example in (("columns", "fe_h=FE_H"), ("without", "c_fe,n_fe")):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise InputError(
                    f"Expected `{name}` as text, such as {example!r}; got {value!r}."
                )


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Numbers of stars at which `infer` changes its method or takes a random subset."""

    max_exact: int = 5000
    """Largest table for which the method "auto" runs the exact method on all stars."""
    stream_from: int = 20_000
    """Tables larger than this are read in blocks; checks and figures take a subset."""
    n_checked: int = 8192
    """Stars of that subset after the flow or the Gaussian method."""
    n_exact: int = 2000
    """Stars of the exact method beside the flow, and of that subset after `exact`."""
    n_prefixes: int = 2048
    """Stars of the convergence figure of a large table."""
    n_shared: int = 5000
    """Largest number of stars of the interval with shared errors;
    a larger table gives a random subset of this size."""
    n_robust: int = 300
    """Stars of the robust method that runs beside a result that does not fit;
    only where there is no interval with shared errors; 0 leaves it out."""
    n_leave_out: int = 100
    """Stars whose posterior is repeated without each abundance."""
    n_star_draws: int = 100
    """Posterior draws of each star, for the checks and figures; at least 64."""
