"""Posterior networks on disk."""

import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import equinox as eqx
import jax

from chemsbi_jax import priors
from chemsbi_jax.artifacts import (
    WeightsError,
    load_arrays,
    load_spec,
    save_weights,
    weights_folder,
)
from chemsbi_jax.npe.flow import SplineFlow
from chemsbi_jax.npe.maf import MafFlow
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.npe.training import NpeConfig, new_npe

FLOWS = {"spline": SplineFlow, "maf": MafFlow}


def save_npe(folder: Path, npe: Npe, flow: SplineFlow | MafFlow, spec: Mapping) -> None:
    """Write npe.safetensors and npe.json (see `artifacts.save_weights`)."""
    kind = next(k for k, v in FLOWS.items() if isinstance(flow, v))
    full = {
        "flow": {"kind": kind, **asdict(flow)},
        "prior": priors.to_spec(npe.prior),
        "sigma": round(float(npe.sigma), 7),
        **spec,
    }
    save_weights(folder, "npe", _arrays(npe)[0], full)


def load_npe(name: str | os.PathLike = "tng") -> Npe:
    """Shipped weights "tng" (default) or "tng-legacy", or those in a folder.

    Raises:
        artifacts.WeightsError: unknown name, or weights that do not fit this package.
    """
    folder = weights_folder(name)
    spec = load_spec(folder, "npe")
    try:
        size = {k: _as_tuple(v) for k, v in spec["flow"].items() if k != "kind"}
        flow = FLOWS[spec["flow"]["kind"]](**size)
        prior, sigma = priors.from_spec(spec["prior"]), float(spec["sigma"])
        npe = new_npe(jax.random.key(0), prior, NpeConfig(flow=flow, sigma=sigma))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise WeightsError(
            f"{folder / 'npe.json'}: expected a flow, a prior and a sigma that this "
            f"package knows; got {type(error).__name__}: {error}. Train the network "
            "again (experiments/train_npe.py)."
        ) from error
    arrays, rest = _arrays(npe)
    return eqx.combine(load_arrays(folder, "npe", arrays), rest)


def _arrays(npe: Npe) -> tuple[Npe, Npe]:
    """Arrays that a file holds, and the rest: prior and sigma are in the JSON."""
    keep = jax.tree.map(eqx.is_array, npe)
    no_prior = jax.tree.map(lambda _: False, npe.prior)
    keep = eqx.tree_at(lambda n: (n.prior, n.sigma), keep, (no_prior, False))
    return eqx.partition(npe, keep)


def _as_tuple(value):
    return tuple(value) if isinstance(value, list) else value
