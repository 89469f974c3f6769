"""Units of the columns of a star table."""

import re
from collections.abc import Mapping

from chemsbi_jax.errors import CatalogError

DEX = {"": 1.0, "dex": 1.0, "dimensionless": 1.0}
_SUN = re.compile(  # what VizieR writes: [Sun], log(Sun), [-], ---
    r"(dex|log|lg|log10)?[\[(]?(sun|solar|solsun|h|fe|1|-{1,3})?[\])]?"
)
_LOG_TIME = re.compile(r"((dex|log|lg|log10)\(|\[)(yr|myr|gyr|a|year|years)[\])]")
PERCENT_UNITS = ("%", "0.01", "percent", "pct")  # 0.01: astropy, of a FITS file
AUTO = "auto"
"""Default unit of times: Gyr; that of 10**column is inferred from the median."""
TIMES = {
    "": 1.0,
    "gyr": 1.0,
    "ga": 1.0,
    "myr": 1e-3,
    "yr": 1e-9,
    "a": 1e-9,
}  # in Gyr


def factor_of(
    file: str,
    column: str,
    unit: str,
    units: Mapping[str, float],
    is_own: bool,
    of: tuple[str, str],
) -> float:
    """What the numbers of a column are multiplied with, to have them in dex or Gyr.

    Args:
        file: its name, for messages.
        column: its name in the table.
        unit: as the table has it; "" if it has none.
        units: `DEX` or `TIMES`.
        is_own: it is a column of a survey's rules, in which a unit that is not
            understood is taken as the usual one.
        of: our name of the column, and the table's column of its value, if the column
            is an error.

    Raises:
        CatalogError: the unit is not one of these, or says that these are logarithms.
    """
    short = unit.lower().replace(" ", "")
    factor = units.get(short.removesuffix("(1)"))  # astropy writes dex as dex(1)
    if factor is None and units is DEX and _SUN.fullmatch(short):
        factor = 1.0
    if factor is None and units is not DEX and _LOG_TIME.fullmatch(short):
        raise CatalogError(
            f"{file}, column {column!r}: the unit {unit!r} means log10 of "
            f'a time; convert it with --columns "age=10**{column}".'
        )
    if factor is None and short in PERCENT_UNITS:
        raise CatalogError(
            f"{file}, column {column!r}: the unit is percent; "
            f"{_from_percent(column, *of)}."
        )
    if factor is None and is_own:
        return 1.0
    if factor is None:
        accepted = ", ".join(sorted(key for key in units if key.isalpha()))
        raise CatalogError(
            f"{file}, column {column!r}: the unit {unit!r} is not understood; use one "
            f"of {accepted}, or none."
        )
    return factor


def _from_percent(column: str, key: str, value: str) -> str:
    """The remedy for a column in percent."""
    if not key.startswith("e_"):
        if key in ("age", "birth_time"):
            return "the unit of a time must be Gyr, Myr or yr; correct it"
        return (
            "the unit of an abundance must be dex; correct it, or, for percent of the "
            f'ratio in the Sun, convert it with --columns "{key}=log10({column}*0.01)"'
        )
    factor = f"{value}*0.01" if key in ("e_age", "e_birth_time") else "0.00434"
    return f'convert it with --columns "{key}={column}*{factor}"'
