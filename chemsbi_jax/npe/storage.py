"""Posterior networks on disk."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import numpy as np

from chemsbi_jax import priors
from chemsbi_jax.compute.devices import refuse_forked_process
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.npe.flow import SplineFlow
from chemsbi_jax.npe.maf import MafFlow
from chemsbi_jax.npe.measurements import AnyErrors, OneError
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.npe.noise import SIGMA
from chemsbi_jax.npe.training import NpeConfig, blank_npe
from chemsbi_jax.storage.weights import (
    load_arrays,
    load_spec,
    save_weights,
    training_of,
    weights_folder,
)
from chemsbi_jax.types import Stars

FLOWS = {"spline": SplineFlow, "maf": MafFlow}
ERROR_TOLERANCE = 1e-3  # dex
MEASUREMENTS = {"one error": OneError, "any errors": AnyErrors}


def save_npe(folder: Path, npe: Npe, config: NpeConfig, spec: Mapping) -> None:
    """Write npe.safetensors and npe.json (see `save_weights`)."""
    full = {
        "flow": _to_spec(FLOWS, config.flow),
        "measure": _to_spec(MEASUREMENTS, config.measure),
        "prior": priors.to_spec(npe.prior),
        "abundances": list(npe.reader.abundances),
        **spec,
    }
    save_weights(folder, "npe", _arrays(npe)[0], full)


def choose_weights(stars: Stars) -> str:
    """The shipped network for these stars: "tng-any", or "tng" where it is enough.

    "tng" is a little better, for stars with all eight abundances, errors of 0.05 dex
    and no birth times.
    """
    is_fixed = stars.observed.all() and not np.isfinite(stars.birth_time).any()
    return "tng" if is_fixed and is_usual(stars.errors) else "tng-any"


def is_usual(errors: np.ndarray) -> bool:
    """Whether all errors are those of the training with one error."""
    return bool((np.abs(errors - SIGMA) <= ERROR_TOLERANCE).all())


def load_npe(name: str | os.PathLike = "tng-any") -> Npe:
    """Shipped weights or those in a folder.

    Args:
        name: "tng-any" for any stars (default), "tng" or "tng-legacy" for complete ones
            with errors of 0.05 dex, "nkt13-k10-w7" for 15 abundances, or a folder.

    Raises:
        WeightsError: unknown name, or weights that do not fit this package.
    """
    refuse_forked_process()
    folder = weights_folder(name)
    spec = load_spec(folder, "npe")
    try:
        flow = _from_spec(FLOWS, spec["flow"])
        measure = _from_spec(MEASUREMENTS, spec["measure"])
        prior = priors.from_spec(spec["prior"])
        npe = blank_npe(prior, NpeConfig(flow=flow, measure=measure))
        own, given = list(npe.reader.abundances), spec["abundances"]
        if own != given:
            raise ValueError(f"abundances is {given}, but the network reads {own}")
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder / 'npe.json'}: expected a flow, a prior and measurements "
            f"of this package; got {type(error).__name__}: {error}. Train the "
            f"network again ({training_of('npe')}), or name another folder."
        ) from error
    arrays, rest = _arrays(npe)
    return eqx.combine(load_arrays(folder, "npe", arrays), rest)


def _arrays(npe: Npe) -> tuple[Npe, Npe]:
    """Arrays that a file holds, and the rest: the prior is in the JSON."""
    keep = jax.tree.map(eqx.is_array, npe)
    no_prior = jax.tree.map(lambda _: False, npe.prior)
    return eqx.partition(npe, eqx.tree_at(lambda n: n.prior, keep, no_prior))


def _to_spec(
    kinds: Mapping[str, type], thing: SplineFlow | MafFlow | OneError | AnyErrors
) -> dict:
    return {"type": next(k for k, v in kinds.items() if isinstance(thing, v))} | asdict(
        thing
    )


def _from_spec(kinds: Mapping[str, type], spec: Mapping) -> Any:
    fields = {k: _as_tuple(v) for k, v in spec.items() if k != "type"}
    return kinds[spec["type"]](**fields)


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
