"""Resumable training states: one file an epoch, whole or not there, with a checksum."""

import json
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import jax
import numpy as np
from jaxtyping import PyTree
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from chemsbi_jax.errors import InputError
from chemsbi_jax.storage.files import sha256_of_arrays, whole_file

log = logging.getLogger("chemsbi_jax")

N_KEPT = 2  # a damaged newest one leaves the one before
_NAME = re.compile(r"epoch-(\d+)\.safetensors")
_REMEDY = "Give the same flags as before, choose an empty folder, or delete this one."


def save_checkpoint(folder: Path, state: PyTree) -> None:
    """Save the state of an epoch (`state.epoch`) and drop all but the one before.

    Raises:
        OutputError: the folder can't be written to, or is full; older states stay.
    """
    arrays = {
        f"{i:04d}": np.asarray(x, order="C")
        for i, x in enumerate(jax.tree.leaves(state))
    }
    content = save(arrays, {"sha256": sha256_of_arrays(arrays)})
    epoch = int(state.epoch)
    with whole_file(Path(folder) / f"epoch-{epoch:06d}.safetensors") as path:
        path.write_bytes(content)
    for other, path in _saved(folder).items():
        if not epoch - N_KEPT < other <= epoch:
            path.unlink(missing_ok=True)


def restore_checkpoint(folder: Path, like: PyTree) -> PyTree:
    """The newest undamaged state in `folder`, or `like` if there is none.

    Raises:
        InputError: the state there belongs to another network or another length.
    """
    for leftover in Path(folder).glob(".epoch-*.safetensors"):
        leftover.unlink(missing_ok=True)  # of a run that was killed while writing
    expected, structure = jax.tree.flatten(like)
    for _, path in sorted(_saved(folder).items(), reverse=True):
        leaves = _read(path)
        if leaves is None:
            log.warning("%s is damaged or cut off: the state before is used.", path)
            continue
        _complain_of_shapes(folder, [x.shape for x in leaves], expected)
        pairs = zip(leaves, expected, strict=True)
        return jax.tree.unflatten(
            structure, [jax.numpy.asarray(x, e.dtype) for x, e in pairs]
        )
    return like


def require_same_settings(folder: Path, name: str, settings: Mapping) -> None:
    """Save the settings of a training; compare with them where it goes on.

    Args:
        folder: of the checkpoints; made if it is not there.
        name: of the JSON file.
        settings: name -> value that JSON can hold.

    Raises:
        InputError: the training there was started with others; names them.
        OutputError: the folder can't be written to.
    """
    path = Path(folder) / f"{name}.json"
    text = json.dumps(settings, indent=1, default=str) + "\n"
    if not _saved(folder):
        with whole_file(path) as temporary:
            temporary.write_text(text)
        return
    before, given = _noted(path), json.loads(text)  # lists for tuples in both
    names = [k for k in {**before, **given} if before.get(k) != given.get(k)]
    if names:
        differ = "; ".join(f"{k} was {before.get(k)}, is {given.get(k)}" for k in names)
        raise InputError(f"{folder} holds another training: {differ}. {_REMEDY}")


def _noted(path: Path) -> dict:
    try:
        return dict(json.loads(path.read_text()))
    except (OSError, TypeError, ValueError) as error:
        raise InputError(
            f"{path}: expected the settings of the training in that folder; got "
            f"{error}. Choose an empty folder, or delete this one."
        ) from error


def _saved(folder: Path) -> dict[int, Path]:
    """Epoch -> file."""
    if not Path(folder).is_dir():
        return {}
    found = [(_NAME.fullmatch(path.name), path) for path in Path(folder).iterdir()]
    return {int(name[1]): path for name, path in found if name}


def _read(path: Path) -> list[np.ndarray] | None:
    """The arrays of a file in their order; None if it is not what was written."""
    try:
        with safe_open(path, framework="np") as file:
            digest = (file.metadata() or {}).get("sha256")
            arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
    except SafetensorError:
        return None
    return [*arrays.values()] if digest == sha256_of_arrays(arrays) else None


def _complain_of_shapes(folder: Path, given: list, like: list) -> None:
    expected = [np.shape(x) for x in like]
    if given == expected:
        return
    pairs = zip(given, expected, strict=False)
    first = next((f"; first {g}, expected {e}" for g, e in pairs if g != e), "")
    raise InputError(
        f"{folder} holds the training state of another network or schedule: expected "
        f"{len(expected)} arrays, got {len(given)}{first}. {_REMEDY}"
    )
