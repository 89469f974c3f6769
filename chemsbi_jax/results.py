"""Result of a galaxy: its posterior, summary.json and posterior.nc."""

import json
import math
import os
from collections.abc import Mapping, Sequence
from importlib import metadata

import jax
import numpy as np
import xarray as xr
from jaxtyping import ArrayLike, Float

from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL, PARAMETERS
from chemsbi_jax.files import OutputError, sha256, whole_file
from chemsbi_jax.types import GalaxyPosterior, Stars

__all__ = [
    "GalaxyPosterior",
    "OutputError",
    "provenance",
    "summary",
    "write_posterior",
    "write_summary",
]

GLOBAL_PARAMETERS = PARAMETERS[:N_GLOBAL]
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
    return _plain(
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
    *, seed: int, emulator: str, npe: str, stars: str | os.PathLike | None
) -> dict:
    """What a result came from: version, seed, names of the weights, sum of the stars.

    `stars` is the path of the star table, or None for stars without a file.
    """
    return {
        "version": _version(),
        "seed": int(seed),
        "emulator": str(emulator),
        "npe": str(npe),
        "stars": "" if stars is None else f"sha256 {sha256(stars)}",
    }


def write_summary(path: str | os.PathLike, content: Mapping) -> None:
    """Write JSON with null for every number that is not finite; whole or not at all."""
    text = json.dumps(_plain(content), indent=1, allow_nan=False, ensure_ascii=False)
    with whole_file(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def write_posterior(
    path: str | os.PathLike,
    posterior: GalaxyPosterior,
    stars: Stars,
    star_draws: Float[ArrayLike, "star draw 6"] | None = None,
) -> None:
    """Write posterior.nc, which `arviz.from_netcdf` opens; whole or not at all.

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
    tree.attrs = {"creation_library": "chemsbi_jax", "version": _version()}
    # in memory first: HDF5 can't close a file on a full disk
    content = tree.to_netcdf(engine="h5netcdf")
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


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
    checks = json.dumps(_plain(posterior.checks), allow_nan=False)
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
    """The posterior as float64 numpy arrays of the right shapes."""
    draws, mean, covariance = (
        np.asarray(part, dtype=np.float64)
        for part in (posterior.draws, posterior.mean, posterior.covariance)
    )
    shapes = (draws.shape[1:], mean.shape, covariance.shape)
    if shapes != ((2,), (2,), (2, 2)) or len(draws) == 0:
        raise ValueError(
            "Expected draws (draw, 2), mean (2,), covariance (2, 2) and at least one "
            f"draw; got {draws.shape}, {mean.shape}, {covariance.shape}."
        )
    return posterior._replace(draws=draws, mean=mean, covariance=covariance)


def _plain(value: object) -> object:
    """Numbers, strings, lists and dicts that JSON has; None for NaN and infinity."""
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return _plain(value.tolist())
    if hasattr(value, "_asdict"):
        return _plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return str(value)  # paths, dtypes, versions


def _version() -> str:
    try:
        return metadata.version("chemsbi-jax")
    except metadata.PackageNotFoundError:  # run from a folder, not installed
        return "unknown"
