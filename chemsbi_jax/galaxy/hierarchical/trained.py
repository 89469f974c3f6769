"""The network of shared parameters on disk, with the priors of its training."""

import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from chemsbi_jax import priors
from chemsbi_jax.errors import InputError, WeightsError
from chemsbi_jax.galaxy.border import in_float32
from chemsbi_jax.galaxy.hierarchical.mock import LARGEST_RATIO, N_READINGS
from chemsbi_jax.galaxy.hierarchical.network import (
    NetworkSize,
    SharedNetwork,
    new_network,
)
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import Layout, psi_names
from chemsbi_jax.npe.joint_flow import with_spline
from chemsbi_jax.priors import Prior
from chemsbi_jax.storage.weights import (
    load_arrays,
    load_spec,
    save_weights,
    weights_folder,
)

FOLDER, KIND = "shared", "shared_errors"
ROUNDING = 1e-3  # of scales that are float32
LARGEST_WEIGHT = float(np.finfo(np.float16).max)


class Trained(NamedTuple):
    """A network, and what it was trained on."""

    network: SharedNetwork
    prior: Prior
    scales: dict[str, float]  # of the default priors, by shared parameter
    outlier_share: float
    outlier_width: float  # dex


def save_shared_network(
    folder: Path, trained: Trained, size: NetworkSize, spec: Mapping
) -> None:
    """Write the network into `folder`/shared, beside the networks of its yield set.

    The weights are rounded to float16 (11 bits), which halves the file.

    Raises:
        WeightsError: a weight is too large for float16, or not finite.
    """
    full = {
        "size": asdict(size),
        "prior": priors.to_spec(trained.prior),
        "scales": trained.scales,
        "outlier_share": trained.outlier_share,
        "outlier_width": trained.outlier_width,
        **spec,
    }
    arrays = jax.tree.map(_rounded, eqx.filter(trained.network, _is_saved))
    save_weights(Path(folder) / FOLDER, KIND, arrays, full)


def _rounded(x: Any) -> np.ndarray:
    """Weights as float16; other arrays as they are."""
    array = np.asarray(x)
    if not eqx.is_inexact_array(x):
        return array
    if not np.abs(array).max(initial=0.0) <= LARGEST_WEIGHT:
        raise WeightsError(
            f"Expected finite weights up to {LARGEST_WEIGHT:g}, as they are saved with "
            "16 bits; got larger ones, or NaN. Train again with a lower learning rate."
        )
    return array.astype(np.float16)


def _is_saved(x: Any) -> bool:
    """Weights, and the random orders of the latents; masks follow from the sizes."""
    return eqx.is_array(x) and x.dtype != bool


@cache  # a second network would have other functions, and JAX would compile again
def _parts_of_network(
    n_psi: int, size: NetworkSize
) -> tuple[SharedNetwork, SharedNetwork]:
    """Shapes of the saved arrays, and everything else of a network.

    First weights, which the saved ones replace, are not drawn: operation by operation
    they need some hundred programs, whose compilation takes 5 to 10 s.
    """
    nothing = np.zeros(N_READINGS, np.float32)

    others: dict[str, SharedNetwork] = {}

    def masks() -> SharedNetwork:
        new = new_network(jax.random.key(0), n_psi, nothing, nothing, size)
        arrays, static = eqx.partition(new, eqx.is_array)
        masks, weights = eqx.partition(arrays, lambda x: x.dtype == bool)
        # no second trace for these, which takes a fifth of a second
        others["static"] = static
        others["shapes"] = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), weights
        )
        return masks

    rest = eqx.combine(jax.jit(masks)(), others["static"])
    return others["shapes"], with_spline(rest, size.knots)


def saved_spec(name: str | os.PathLike = "tng") -> dict:
    """The description of the network of a yield set, with its `size` and checksum.

    Raises:
        WeightsError: there is none, or it does not fit this package.
    """
    return load_spec(weights_folder(name) / FOLDER, KIND)


@in_float32  # flowjax keeps numbers of the default type outside of the arrays
def load_shared_network(name: str | os.PathLike = "tng") -> Trained:
    """The network of shared parameters of a yield set: shipped, or in a folder.

    Raises:
        WeightsError: there is none, or it does not fit this package.
    """
    folder = weights_folder(name) / FOLDER
    spec = load_spec(folder, KIND)
    try:
        # an ordered one, as JAX sorts the keys of other dictionaries in a PyTree
        scales, size = OrderedDict(spec["scales"]), NetworkSize(**spec["size"])
        shapes, rest = _parts_of_network(len(scales), size)
        network = eqx.combine(load_arrays(folder, KIND, shapes), rest)
        prior = priors.from_spec(spec["prior"])
        outliers = spec["outlier_share"], spec["outlier_width"]
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder / KIND}.json: expected a network of shared errors; got "
            f"{type(error).__name__}: {error}. Train it again "
            "(experiments/train_shared_errors.py)."
        ) from error
    return Trained(network, prior, scales, *outliers)


def prior_ratio(
    trained: Trained, settings: SharedErrors, layout: Layout, factors: Sequence[str]
) -> Float[np.ndarray, " psi"]:
    """Prior scales over those of the training, an input of the network.

    Raises:
        InputError: scales beyond those of the training, or other outliers.
    """
    names = psi_names(factors)
    scales = dict(zip(names, np.asarray(layout.scale, float).tolist(), strict=True))
    if list(scales) != list(trained.scales):
        raise InputError(
            f"Expected the shared parameters {list(trained.scales)}; got "
            f"{list(scales)}. Train a network for them "
            "(experiments/train_shared_errors.py)."
        )
    given = (settings.outlier_share, settings.outlier_width)
    if not np.allclose(given, (trained.outlier_share, trained.outlier_width)):
        raise InputError(
            f"Expected outlier_share {trained.outlier_share} and outlier_width "
            f"{trained.outlier_width} dex, as in the training of the network; got "
            f"{given[0]} and {given[1]}. Leave them out."
        )
    ratio = np.ones(len(scales), np.float32)
    for i, (name, scale) in enumerate(scales.items()):
        default = trained.scales[name]
        most = default * (1.0 if name in factors else LARGEST_RATIO)
        if scale > ROUNDING and default == 0.0:
            raise InputError(
                f"Expected {name} without a prior scale: the network of shared errors "
                f"holds it; got {scale:.3g}. Leave the scale out."
            )
        if scale > most + ROUNDING:
            raise InputError(
                f"Expected a prior scale of {name} of at most {most:.3g}, the largest "
                f"of the training; got {scale:.3g}. Give a smaller one."
            )
        ratio[i] = scale / default if default > 0.0 else 1.0
    return ratio
