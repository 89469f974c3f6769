"""Resumable training states, written whole by orbax."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp
from jaxtyping import PyTree

N_KEPT = 2  # the newest may be cut off by a full disk


def save_checkpoint(folder: Path, state: PyTree) -> None:
    """Save the state of an epoch (`state.epoch`) in its own sub-folder."""
    with _manager(folder) as manager:
        manager.save(int(state.epoch), args=ocp.args.StandardSave(_as_dict(state)))


def restore_checkpoint(folder: Path, like: PyTree) -> PyTree:
    """The newest state in `folder`, or `like` if there is none.

    Raises:
        ValueError: the state there belongs to another network or another length.
    """
    if not Path(folder).is_dir():
        return like
    with _manager(folder) as manager:
        step = manager.latest_step()
        if step is None:
            return like
        saved = manager.restore(step, args=ocp.args.StandardRestore())
    expected, structure = jax.tree.flatten(_as_dict(like))
    leaves = jax.tree.leaves(saved)
    _complain_of_shapes(folder, [x.shape for x in leaves], [x.shape for x in expected])
    leaves = [
        jax.numpy.asarray(x, e.dtype) for x, e in zip(leaves, expected, strict=True)
    ]
    restored = jax.tree.unflatten(structure, leaves)
    return jax.tree.unflatten(jax.tree.structure(like), restored.values())


def _complain_of_shapes(folder: Path, given: list, expected: list) -> None:
    if given == expected:
        return
    pairs = zip(given, expected, strict=False)
    first = next((f"; first {g}, expected {e}" for g, e in pairs if g != e), "")
    raise ValueError(
        f"{folder} holds the training state of another network or schedule: expected "
        f"{len(expected)} arrays, got {len(given)}{first}. Choose an empty folder, or "
        "delete this one."
    )


def _as_dict(state: PyTree) -> dict[str, jax.Array]:
    return {f"{i:04d}": x for i, x in enumerate(jax.tree.leaves(state))}


def _manager(folder: Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(max_to_keep=N_KEPT, create=True)
    return ocp.CheckpointManager(Path(folder).resolve(), options=options)
