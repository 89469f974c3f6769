"""Checkpoints of a pass over a large table."""

import hashlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float
from tqdm import tqdm

from chemsbi_jax.compute.devices import of_all_processes
from chemsbi_jax.storage.files import whole_file

SAVE_EVERY = 5.0  # seconds between two writings of the file


class State(NamedTuple):
    """Sums over the first blocks of the table."""

    stage: int  # passes over the table before this one
    block: int  # blocks of this pass that are in the sums
    origin: Float[np.ndarray, " 2"]  # of the grid of this pass, in latents
    factor: Float[np.ndarray, "2 2"]
    total: Float[np.ndarray, " sums"]  # float64


Load = Callable[[Callable[[], State]], State]
"""A function that makes a new state -> the saved state, or else the new one"""
Save = Callable[[State], None]


def sum_blocks(
    of_block: Callable[[int], Float[np.ndarray, " sums"]],
    n_blocks: int,
    state: State,
    save: Callable[[State], None],
    bar: tqdm,
) -> State:
    """Add the blocks that are missing from `state.total`.

    Several processes take turns, and each adds all blocks up in the order of the
    table: the bits do not depend on their number, nor on where a run was interrupted.
    """
    bar.update(state.block - bar.n)
    saved = time.monotonic()
    while state.block < n_blocks:
        mine = state.block + jax.process_index()
        part = of_block(mine) if mine < n_blocks else np.zeros_like(state.total)
        total = state.total
        n_new = min(jax.process_count(), n_blocks - state.block)
        for row in of_all_processes(part)[:n_new]:
            total = total + row
        state = state._replace(block=state.block + n_new, total=total)
        if time.monotonic() - saved >= SAVE_EVERY or state.block == n_blocks:
            save(state)
            saved = time.monotonic()
        bar.update(n_new)
    return state


def fingerprint(*parts: Any) -> str:
    """SHA-256 of strings, numbers and the arrays of any tree; the same in every run."""
    digest = hashlib.sha256(jax.__version__.encode())
    for part in parts:
        # numpyro's distributions list their leaves in another order in each process
        for leaf in sorted(map(_sha256, jax.tree.leaves(part))):
            digest.update(leaf)
        digest.update(b"end of part")
    return digest.hexdigest()


def _sha256(leaf: Any) -> bytes:
    if callable(leaf):  # a function of a module; its arrays identify it
        return b""
    leaf = np.asarray(leaf)
    digest = hashlib.sha256(f"{leaf.dtype} {leaf.shape}".encode())
    digest.update(np.ascontiguousarray(leaf).data)
    return digest.digest()


def save_state(path: Path | None, settings: str, state: State) -> None:
    """Write the state atomically; only in process 0, and only if there is a path.

    Raises:
        OutputError: the folder can't be written to.
    """
    if path is None or jax.process_index() > 0:
        return
    content = {name: np.asarray(x).tolist() for name, x in state._asdict().items()}
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps({"settings": settings, **content}))


def load_state(
    path: Path | None, settings: str, first: Callable[[], State], quiet: bool
) -> State:
    """The state in the file, read by process 0, for all processes.

    The result of `first` if there is no file, or if the file belongs to other stars or
    settings.
    """
    found = None
    if path is not None and jax.process_index() == 0:
        found = _read(path, settings, quiet)
    own = _pack(first() if found is None else found)
    return _unpack(of_all_processes(own)[0])


def _read(path: Path, settings: str, quiet: bool) -> State | None:
    state = None
    try:
        content = json.loads(path.read_text())
        if content.pop("settings") == settings:
            state = _unpack(
                np.concatenate([np.ravel(content[k]) for k in State._fields])
            )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError):
        pass  # not a state file: reported below
    if state is None:
        _print(f"{path} belongs to other stars or settings: starting over.", quiet)
    else:
        _print(f"Resuming at block {state.block} of pass {state.stage + 1}.", quiet)
    return state


def _pack(state: State) -> np.ndarray:
    return np.concatenate([np.ravel(np.asarray(part, float)) for part in state])


def _unpack(row: np.ndarray) -> State:
    return State(int(row[0]), int(row[1]), row[2:4], row[4:8].reshape(2, 2), row[8:])


def _print(text: str, quiet: bool) -> None:
    if not quiet:
        tqdm.write(text, file=sys.stderr)
