"""Result of a galaxy: summary.json, posterior.nc and posterior.ecsv."""

import json
import os
from collections.abc import Mapping, Sequence

import jax
import numpy as np
from astropy.table import Table
from jaxtyping import ArrayLike, Float

from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.errors import OutputError
from chemsbi_jax.results.export import checked
from chemsbi_jax.storage.files import package_version, plain, sha256, whole_file
from chemsbi_jax.types import GalaxyPosterior, Stars

__all__ = [
    "GalaxyPosterior",
    "OutputError",
    "provenance",
    "summary",
    "write_posterior",
    "write_summary",
    "write_ecsv",
    "write_table",
]

QUANTILES = {"q05": 0.05, "q16": 0.16, "q50": 0.5, "q84": 0.84, "q95": 0.95}


def summary(
    posterior: GalaxyPosterior,
    *,
    n_stars: int | np.integer,
    n_used: int | np.integer,
    warnings: Sequence[str] = (),
    seconds: Mapping[str, float] | None = None,
    provenance: Mapping | None = None,
) -> dict:
    """Content of summary.json: plain numbers, strings, lists and dicts.

    Args:
        posterior: mean and covariance give mean, sd and correlation, the draws the
            quantiles.
        n_stars: stars in the table.
        n_used: stars that the posterior used.
        warnings: sentences for the reader of the result.
        seconds: name of the stage -> wall-clock time [s].
        provenance: see `provenance`.
    """
    posterior = _checked(posterior)
    sd = np.sqrt(np.diag(posterior.covariance))
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 becomes null
        correlation = posterior.covariance[0, 1] / (sd[0] * sd[1])
    levels = np.quantile(posterior.draws, list(QUANTILES.values()), axis=0)
    parameters = {
        name: {"mean": posterior.mean[i], "sd": sd[i]}
        | dict(zip(QUANTILES, levels[:, i], strict=True))
        for i, name in enumerate(GLOBAL_PARAMETERS)
    }
    return plain(
        {"n_stars": n_stars, "n_used": n_used, "method": posterior.method}
        | parameters
        | {
            "correlation": correlation,
            "checks": posterior.checks,
            "warnings": list(warnings),
            "seconds": dict(seconds or {}),
            "provenance": dict(provenance or {}),
        }
    )


def provenance(
    *, seed: int | None, emulator: str, npe: str, stars: str | os.PathLike | None
) -> dict:
    """Origin of a result: version, seed, devices, weights, and SHA-256 of the table.

    `stars` is the path of the star table, or None for stars without a file; `seed` is
    None for a random key of the caller.
    """
    return {
        "version": package_version(),
        "seed": None if seed is None else int(seed),
        "emulator": str(emulator),
        "npe": str(npe),
        "stars": "" if stars is None else f"sha256 {sha256(stars)}",
        "devices": jax.device_count(),  # the bits depend on it
    }


def write_summary(path: str | os.PathLike, content: Mapping) -> None:
    """Write JSON with null for every number that is not finite, atomically."""
    text = json.dumps(plain(content), indent=1, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_posterior(
    path: str | os.PathLike,
    posterior: GalaxyPosterior,
    stars: Stars,
    star_draws: Float[ArrayLike, "star draw 6"] | None = None,
    shared: Mapping[str, Float[ArrayLike, " draw2"]] | None = None,
) -> None:
    """Write posterior.nc, which ArviZ 0.2x and 1.x can open, atomically.

    Groups: `posterior` (alpha_imf, log10_n_ia over chain, draw), `sample_stats` (per
    draw: squared Mahalanobis distance from the mean; mean, covariance and checks),
    `observed_data` (the stars, over star, abundance) and, with `star_draws`,
    `single_star`: theta (chain, draw, star, parameter) of each star by itself. With
    `shared`, `shared_errors`: each shared parameter (chain, draw).
    """
    from chemsbi_jax.results.netcdf import to_netcdf  # xarray loads slowly

    content = to_netcdf(_checked(posterior), stars, star_draws, shared)
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_table(
    path: str | os.PathLike,
    posterior: GalaxyPosterior,
    provenance: Mapping | None = None,
) -> None:
    """Write the draws as ECSV, see `GalaxyPosterior.to_table`, atomically."""
    write_ecsv(path, posterior.to_table(provenance))


def write_ecsv(path: str | os.PathLike, table: Table) -> None:
    """Write a table of draws, atomically."""
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv")


def _checked(posterior: GalaxyPosterior) -> GalaxyPosterior:
    draws, mean, covariance = checked(
        posterior.draws, posterior.mean, posterior.covariance
    )
    return posterior._replace(draws=draws, mean=mean, covariance=covariance)
