"""Draws of a galaxy for other programs: an astropy table, or samples of GetDist.

`types.GalaxyPosterior` has these functions as methods.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from astropy import units as u
from astropy.table import Column, Table
from jaxtyping import Float

from chemsbi_jax.constants import GLOBAL_PARAMETERS, LATEX
from chemsbi_jax.storage.files import package_version, plain
from chemsbi_jax.types import AnyArray

if TYPE_CHECKING:
    from getdist import MCSamples  # pyright: ignore[reportMissingImports]

UNITS = (u.dimensionless_unscaled, u.dex(1 / u.Msun))
DESCRIPTIONS = (
    "slope of the IMF at high mass, negative",
    "log10 of the number of SNe Ia per solar mass of stars formed, over 13.8 Gyr",
)


def draws_table(
    method: str,
    draws: Float[AnyArray, "draw 2"],
    mean: Float[AnyArray, " 2"],
    covariance: Float[AnyArray, "2 2"],
    checks: Mapping,
    provenance: Mapping | None = None,
) -> Table:
    """What `GalaxyPosterior.to_table` returns, from the fields of the posterior."""
    draws, mean, covariance = checked(draws, mean, covariance)
    which = "with" if method == "hierarchical" else "without"
    content = {
        "description": "Draws of equal weight from the posterior of a galaxy, "
        f"{which} errors that all stars share",
        "method": method,
        "mean": mean,
        "covariance": covariance,
        "provenance": {"version": package_version()} | dict(provenance or {}),
        "checks": checks,
    }
    table = Table(meta=plain(content))
    each = zip(GLOBAL_PARAMETERS, draws.T, UNITS, DESCRIPTIONS, strict=True)
    for name, values, unit, description in each:
        table[name] = Column(values, unit=unit, description=description)
    return table


def draws_getdist(
    method: str,
    draws: Float[AnyArray, "draw 2"],
    is_chain: bool,
    further: Mapping[str, Float[AnyArray, " draw"]],
) -> "MCSamples":
    """What `GalaxyPosterior.to_getdist` returns; draws of a chain are correlated."""
    try:
        from getdist import MCSamples  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            "Expected the package GetDist; got none that can be imported: "
            "pip install getdist"
        ) from error
    return MCSamples(
        samples=np.column_stack([draws, *further.values()]).astype(np.float64),
        names=[*GLOBAL_PARAMETERS, *further],
        labels=[*LATEX, *(rf"{{\rm {_escaped(name)}}}" for name in further)],
        label=method,
        # the others are independent: no correlation length to be estimated
        sampler="mcmc" if is_chain else "uncorrelated",
        settings={"ignore_rows": 0},  # whatever the user's default: no burn-in here
    )


def _escaped(name: str) -> str:
    return name.replace("_", r"\_")


def checked(
    draws: AnyArray, mean: AnyArray, covariance: AnyArray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The three as float64 numpy arrays of the right shapes.

    Raises:
        ValueError: other shapes than (draw, 2), (2,), (2, 2), or no draw.
    """
    draws, mean, covariance = (
        np.asarray(part, dtype=np.float64) for part in (draws, mean, covariance)
    )
    shapes = (draws.shape[1:], mean.shape, covariance.shape)
    if shapes != ((2,), (2,), (2, 2)) or len(draws) == 0:
        raise ValueError(
            "Expected draws (draw, 2), mean (2,), covariance (2, 2) and at least one "
            f"draw; got {draws.shape}, {mean.shape}, {covariance.shape}."
        )
    return draws, mean, covariance
