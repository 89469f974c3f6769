"""Trained weights on disk: safetensors for the arrays, JSON for what they mean."""

import json
import os
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from chemsbi_jax.constants import ABUNDANCES, ALL_ABUNDANCES, PARAMETERS
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.storage.files import package_version, sha256_of_arrays, whole_files

FORMAT = 1
"""Version of the layout of the files; a loader refuses any other."""
PRETRAINED = ("tng", "tng-any", "tng-legacy", "nkt13-k10-w7")
"""Names of the networks that ship with the package."""
EMULATORS = {"nkt13+k10+w7": "nkt13-k10-w7"}
"""Yield set -> name of its shipped emulator and network for any star."""


def weights_folder(name: str | os.PathLike) -> Path:
    """Folder of shipped weights by name, or a folder of the user's.

    Raises:
        WeightsError: neither a known name nor a folder.
    """
    if str(name) in PRETRAINED:
        return Path(str(resources.files("chemsbi_jax") / "pretrained" / str(name)))
    if Path(name).is_dir():
        return Path(name)
    raise WeightsError(
        f"Expected weights by name {PRETRAINED} or a folder with them; got "
        f"{str(name)!r}."
    )


def save_weights(folder: Path, kind: str, tree: PyTree, spec: Mapping) -> None:
    """Write `kind`.safetensors and `kind`.json, both atomically.

    The JSON holds a checksum of the arrays, so files of two trainings are not mixed.

    Args:
        folder: made if it is not there.
        kind: "emulator", "npe" or "shared_errors"; it names the files.
        tree: arrays, as a PyTree; only their order is kept.
        spec: what a loader needs to rebuild the tree, and where it came from.
    """
    folder = Path(folder)
    # safetensors writes memory as it lies: a transposed array must be copied
    arrays = {k: np.asarray(v, order="C") for k, v in _named_leaves(tree).items()}
    full = {
        "format": FORMAT,
        "kind": kind,
        "version": package_version(),
        "parameters": list(PARAMETERS),
        "abundances": list(ABUNDANCES),
        **spec,
        "sha256": sha256_of_arrays(arrays),
    }
    text = json.dumps(full, indent=1) + "\n"  # before any file: it may fail
    content = save(arrays)  # `save_file` hides a full disk in an error of its own
    files = (folder / f"{kind}.safetensors", folder / f"{kind}.json")
    with whole_files(*files) as (path_arrays, path_text):
        path_arrays.write_bytes(content)
        path_text.write_text(text)


def training_of(kind: str) -> str:
    """What trains weights: a command of the package, or else a script of a checkout."""
    is_command = kind in ("emulator", "npe")
    return f"chemsbi train {kind}" if is_command else f"experiments/train_{kind}.py"


def load_spec(folder: Path, kind: str) -> dict:
    """The JSON beside the weights, checked against this version of the package.

    The weights may have any of `ALL_ABUNDANCES`, in this order.

    Raises:
        WeightsError: the file is missing or broken, or made for something else.
        ForkedProcessError: the process was forked after JAX had started.
    """
    path = Path(folder) / f"{kind}.json"
    try:
        spec = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:  # ValueError: no JSON
        raise WeightsError(
            f"{path}: expected the description of {kind} weights; got {error}. Train "
            f"them again ({training_of(kind)}), or name another folder."
        ) from error
    expected = {
        "format": FORMAT,
        "kind": kind,
        "parameters": list(PARAMETERS),
        "abundances": list(ABUNDANCES),
    }
    given = spec if isinstance(spec, dict) else {}
    if _is_in_order(given.get("abundances")):
        expected["abundances"] = given["abundances"]
    differs = [
        f"{k} is {given.get(k)!r}, expected {v!r}"
        for k, v in expected.items()
        if given.get(k) != v
    ]
    if differs:
        raise WeightsError(
            f"{path}: these weights do not fit this package: {'; '.join(differs)}. "
            f"Train them again ({training_of(kind)}), or name another folder."
        )
    return spec


def _is_in_order(names: object) -> bool:
    """Whether these are some of `ALL_ABUNDANCES`, each once, in their order."""
    if not isinstance(names, list) or "fe_h" not in names:
        return False
    return names == [name for name in ALL_ABUNDANCES if name in names]


def load_arrays(folder: Path, kind: str, like: PyTree) -> PyTree:
    """The arrays of `kind` in the structure, shapes and dtypes of `like`.

    Raises:
        WeightsError: the file is missing or truncated, an array has another shape or
            is not finite, or the JSON beside it belongs to other arrays.
    """
    path = Path(folder) / f"{kind}.safetensors"
    try:
        arrays = load_file(path)
    except (OSError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: expected {kind} weights; got {error}. The file is missing or cut "
            f"off: train them again ({training_of(kind)}), or install again."
        ) from error
    expected = _named_leaves(like)
    differs = [
        f"{k} is {np.shape(arrays[k]) if k in arrays else ()}, expected {np.shape(v)}"
        for k, v in expected.items()
        if k not in arrays or np.shape(arrays[k]) != np.shape(v)
    ] + [f"{k} is not expected" for k in arrays if k not in expected]
    if differs:
        raise WeightsError(
            f"{path}: the arrays do not fit the description beside them: "
            f"{'; '.join(differs[:3])}."
        )
    _complain_of_content(path, kind, arrays)
    leaves = [jax.numpy.asarray(arrays[k], v.dtype) for k, v in expected.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _complain_of_content(path: Path, kind: str, arrays: Mapping) -> None:
    again = f"Train them again ({training_of(kind)}), or name another folder."
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise WeightsError(
                f"{path}: expected finite weights; got NaN or infinity in {name}. "
                f"{again}"
            )
    expected = load_spec(path.parent, kind).get("sha256")
    if expected not in (None, sha256_of_arrays(arrays)):
        raise WeightsError(
            f"{path}: expected the arrays that {kind}.json was written with; got those "
            f"of another training (or damaged ones). {again}"
        )


def _named_leaves(tree: PyTree) -> dict:
    return {
        jax.tree_util.keystr(path): leaf
        for path, leaf in jax.tree_util.tree_flatten_with_path(tree)[0]
    }
