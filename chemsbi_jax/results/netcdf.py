"""The content of posterior.nc: InferenceData groups in netCDF, by xarray."""

import json
from datetime import UTC, datetime

import numpy as np
import xarray as xr
from jaxtyping import ArrayLike, Float

from chemsbi_jax.constants import GLOBAL_PARAMETERS, PARAMETERS
from chemsbi_jax.storage.files import package_version, plain
from chemsbi_jax.types import GalaxyPosterior, Stars


def to_netcdf(
    posterior: GalaxyPosterior,
    stars: Stars,
    star_draws: Float[ArrayLike, "star draw 6"] | None = None,
) -> bytes:
    """The bytes of the file, see `results.write_posterior`."""
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
    return bytes(tree.to_netcdf(engine="h5netcdf"))


def _notes() -> dict[str, str]:
    """Attributes of each group in the InferenceData schema."""
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
    return xr.Dataset(variables, _star(stars) | {"abundance": list(stars.abundances)})


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
