"""Result of a galaxy: summary.json, posterior.nc and posterior.ecsv."""

import json
import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
import xarray as xr
from jaxtyping import ArrayLike, Float

from chemsbi_jax.constants import ABUNDANCES, GLOBAL_PARAMETERS, PARAMETERS
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
    "write_table",
]

QUANTILES = {"q05": 0.05, "q16": 0.16, "q50": 0.5, "q84": 0.84, "q95": 0.95}


def summary(
    posterior: GalaxyPosterior,
    *,
    n_stars: int,
    n_used: int,
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
    """What a result came from: version, seed, names of the weights, sum of the stars.

    `stars` is the path of the star table, or None for stars without a file; `seed` is
    None for a random key of the caller.
    """
    return {
        "version": package_version(),
        "seed": None if seed is None else int(seed),
        "emulator": str(emulator),
        "npe": str(npe),
        "stars": "" if stars is None else f"sha256 {sha256(stars)}",
    }


def write_summary(path: str | os.PathLike, content: Mapping) -> None:
    """Write JSON with null for every number that is not finite; whole or not at all."""
    text = json.dumps(plain(content), indent=1, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_posterior(
    path: str | os.PathLike,
    posterior: GalaxyPosterior,
    stars: Stars,
    star_draws: Float[ArrayLike, "star draw 6"] | None = None,
) -> None:
    """Write posterior.nc, which ArviZ 0.2x and 1.x open; whole or not at all.

    Groups: `posterior` (alpha_imf, log10_n_ia over chain, draw), `sample_stats` (per
    draw: squared Mahalanobis distance from the mean; mean, covariance and checks),
    `observed_data` (the stars, over star, abundance) and, with `star_draws`,
    `single_star`: theta (chain, draw, star, parameter) of each star by itself.
    """
    posterior = _checked(posterior)
    groups = {
        "posterior": _galaxy(posterior),
        "sample_stats": _statistics(posterior),
        "observed_data": _observed(stars),
    }
    if star_draws is not None:
        groups["single_star"] = _single_star(stars, np.asarray(star_draws))
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {"creation_library": "chemsbi_jax", "version": package_version()}
    for group in groups:  # ArviZ keeps its notes with each group
        tree[group].attrs |= _notes()
    # in memory first: HDF5 can't close a file on a full disk
    content = bytes(tree.to_netcdf(engine="h5netcdf"))
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def write_table(
    path: str | os.PathLike,
    posterior: GalaxyPosterior,
    provenance: Mapping | None = None,
) -> None:
    """Write the draws as ECSV, see `GalaxyPosterior.to_table`; whole or not at all."""
    table = posterior.to_table(provenance)
    with whole_file(path) as temporary:
        table.write(temporary, format="ascii.ecsv")


def _notes() -> dict[str, str]:
    """What the InferenceData schema asks of each group."""
    library, version = "chemsbi_jax", package_version()
    return {
        "created_at": datetime.now(UTC).isoformat(),
        "creation_library": library,
        "creation_library_version": version,
        "creation_library_language": "Python",
        "inference_library": library,
        "inference_library_version": version,
    }


def _galaxy(posterior: GalaxyPosterior) -> xr.Dataset:
    draws = {
        name: (("chain", "draw"), posterior.draws[None, :, i])
        for i, name in enumerate(GLOBAL_PARAMETERS)
    }
    return xr.Dataset(draws, _chain(len(posterior.draws)), {"method": posterior.method})


def _statistics(posterior: GalaxyPosterior) -> xr.Dataset:
    offset = posterior.draws - posterior.mean
    inverse = np.linalg.pinv(posterior.covariance)
    distance = np.einsum("di,ij,dj->d", offset, inverse, offset)
    names = list(GLOBAL_PARAMETERS)
    variables = {
        "mahalanobis2": (("chain", "draw"), distance[None]),
        "mean": ("parameter", posterior.mean),
        "covariance": (("parameter", "parameter_2"), posterior.covariance),
    }
    coords = _chain(len(distance)) | {"parameter": names, "parameter_2": names}
    checks = json.dumps(plain(posterior.checks), allow_nan=False)
    return xr.Dataset(variables, coords, {"checks": checks})


def _observed(stars: Stars) -> xr.Dataset:
    table = ("star", "abundance")
    variables = {
        "abundances": (table, stars.values, {"units": "dex"}),
        "errors": (table, stars.errors, {"units": "dex"}),
        "observed": (table, stars.observed),
        "birth_time": ("star", stars.birth_time, {"units": "Gyr"}),
        "e_birth_time": ("star", stars.e_birth_time, {"units": "Gyr"}),
    }
    return xr.Dataset(variables, _star(stars) | {"abundance": list(ABUNDANCES)})


def _single_star(stars: Stars, draws: np.ndarray) -> xr.Dataset:
    expected = (len(stars.ids), len(PARAMETERS))
    if draws.ndim != 3 or (draws.shape[0], draws.shape[2]) != expected:
        raise ValueError(
            f"Expected star_draws of shape ({expected[0]}, draw, {expected[1]}); "
            f"got {draws.shape}."
        )
    theta = np.moveaxis(draws, 0, 1)[None]
    return xr.Dataset(
        {"theta": (("chain", "draw", "star", "parameter"), theta)},
        _chain(draws.shape[1]) | _star(stars) | {"parameter": list(PARAMETERS)},
    )


def _chain(n_draw: int) -> dict:
    return {"chain": [0], "draw": np.arange(n_draw)}


def _star(stars: Stars) -> dict:
    return {"star": np.asarray(stars.ids).astype(str).astype(object)}


def _checked(posterior: GalaxyPosterior) -> GalaxyPosterior:
    draws, mean, covariance = checked(
        posterior.draws, posterior.mean, posterior.covariance
    )
    return posterior._replace(draws=draws, mean=mean, covariance=covariance)
