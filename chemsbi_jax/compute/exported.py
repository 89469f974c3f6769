"""Programs that are traced once and loaded in later runs of a command.

JAX's compilation cache saves the compilation of a program, not its tracing in Python
and its lowering to StableHLO, which are a third of the time of a short run. Commands
keep the StableHLO, too (`jax.export`), in a folder beside that cache. The library alone
never does.

The name of a stored program is a hash of everything that decides it: the files of this
package, the versions of the packages that are traced, JAX's settings and devices, the
function, and its arguments (`describe`). A step that can't have such a name is traced
in each run.
"""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import cache, wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import numpy as np
from jax import export
from jax.core import Tracer
from jaxtyping import Array, PyTree

from chemsbi_jax.compute.describe import (
    NoDescriptionError,
    content,
    describe,
    place_of,
)
from chemsbi_jax.compute.fingerprint import (
    PACKAGE,
    fingerprint,
    settings,
    trace_context,
)
from chemsbi_jax.storage.files import whole_file

try:
    from jax._src.core import trace_state_clean
except ImportError:  # JAX keeps it private; see `_is_traced`
    trace_state_clean = None

MAX_SIZE = 64 * 1024**2  # bytes of all programs, which is checked when a command starts
LOG = logging.getLogger(__name__)
_FOLDER: list[Path] = []  # the one that is in use; empty: nothing is stored


class _Program(NamedTuple):
    run: Callable[..., Sequence[Array]]  # flat arrays to flat arrays
    outline: Any  # of the results, see `_outline`


def keep_programs(folder: Path | None) -> None:
    """Store programs in a folder, and load those that are there; None: do not.

    Without the package `flatbuffers`, and where the folder can't be written to, nothing
    is stored.
    """
    _FOLDER.clear()
    if folder is None or trace_context is None or find_spec("flatbuffers") is None:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _delete_oldest(folder)
    except OSError:
        return
    if os.access(folder, os.W_OK):
        _FOLDER.append(folder)


def stored_jit(
    function: Callable[..., Any],
    *,
    about: Any = None,
    options: Callable[[], dict[str, Any]] = dict,
) -> Callable[..., Any]:
    """`eqx.filter_jit` that loads the program which an earlier run traced.

    That is for commands (`keep_programs`). Results of a loaded program are committed to
    their device: JAX refuses to add them to an array on another one.

    Args:
        function: arrays among its arguments are traced, all others are static. Programs
            are stored if the results are arrays in tuples, lists, dictionaries, and
            named tuples of this package.
        about: decides the program together with the arguments; None: `function`.
        options: returns the options of XLA's compiler. It is called at the first call
            of the step, as it starts JAX. JAX takes options for a whole program only:
            the step has none within another jit.
    """
    plain, known = eqx.filter_jit(function), {}
    about = function if about is None else about

    @cache
    def usual() -> Callable[..., Any]:
        jit: Any = eqx.filter_jit  # its type leaves out what goes to `jax.jit`
        return jit(function, compiler_options=options()) if options() else plain

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        if _is_traced(args, kwargs):
            return plain(*args, **kwargs)
        if not _FOLDER or jax.process_count() > 1:
            return usual()(*args, **kwargs)
        leaves, structure = jax.tree.flatten((args, kwargs))
        try:
            call = structure, tuple(map(_kind, leaves)), settings()
            if call not in known:
                known[call] = _find(function, about, (args, kwargs), options())
            program = known[call]
        except TypeError:  # no hash
            program = None
        if program is None:
            return usual()(*args, **kwargs)
        results = program.run(*filter(eqx.is_array, leaves))
        return _filled(program.outline, iter(results))

    return run


def _is_traced(args: tuple, kwargs: dict) -> bool:
    """Whether this call is part of another program."""
    if trace_state_clean is not None and not trace_state_clean():
        return True
    return any(isinstance(x, Tracer) for x in jax.tree.leaves((args, kwargs)))


def _kind(leaf: Any) -> Any:
    """What decides the program: all of a static argument, the type of an array."""
    if eqx.is_array(leaf):
        return type(leaf), leaf.shape, leaf.dtype, *place_of(leaf)
    return type(leaf), leaf  # 1 == 1.0 == True


def _find(
    function: Callable[..., Any],
    about: Any,
    arguments: tuple[tuple, dict],
    options: dict[str, Any],
) -> _Program | None:
    """The program from its file, which is written first; None: it can't be stored."""
    try:
        key = [fingerprint(), content(about), describe(arguments)]
        digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
        name = getattr(function, "__name__", "program").strip("_<>")
        path = _FOLDER[0] / f"{name}-{digest}.zip"
        found = _read(path)
        if found is None:
            _write(path, *_trace(function, arguments))
            found = _read(path)  # the first run, too, has what later ones load
        arrays = filter(eqx.is_array, jax.tree.leaves(arguments))
        return None if found is None else _loaded(name, *found, options, *arrays)
    except Exception as error:  # an error of the function comes again without a store
        LOG.debug("%s is not stored: %r", function, error)
        return None


def _loaded(
    name: str,
    exported: export.Exported,
    outline: Any,
    options: dict[str, Any],
    *arrays: Array | np.ndarray,
) -> _Program:
    def call(*arrays: Array) -> Any:
        return exported.call(*arrays)

    call.__name__ = name  # for logs, profiles and JAX's own cache
    run = jax.jit(call, compiler_options=options or None)
    # raises if the file is of other arrays or results
    _filled(outline, iter(jax.eval_shape(run, *arrays)))
    return _Program(run, outline)


def _trace(
    function: Callable[..., Any], arguments: tuple[tuple, dict]
) -> tuple[export.Exported, Any]:
    """The program of some arguments, and the `_outline` of its results."""
    leaves, structure = jax.tree.flatten(arguments)
    outline: list = []

    def flat(*arrays: Array) -> list[Array]:
        rest = iter(arrays)
        full = [next(rest) if eqx.is_array(x) else x for x in leaves]
        args, kwargs = jax.tree.unflatten(structure, full)
        results = function(*args, **kwargs)
        outline.append(_outline(results))
        return jax.tree.leaves(results)

    exported = export.export(jax.jit(flat))(*filter(eqx.is_array, leaves))
    if any(x.weak_type for x in exported.out_avals):
        raise NoDescriptionError("a weak type of a result, which a file loses")
    return exported, outline[-1]


def _outline(results: PyTree) -> Any:
    """The structure of results, for JSON.

    Raises:
        NoDescriptionError: it has a node or a leaf of another kind.
    """
    if results is None or eqx.is_array(results):
        return None if results is None else "array"
    kind, names = type(results), None
    if kind is dict and all(type(name) is str for name in results):
        names = sorted(results)  # the order of JAX
    elif kind not in (tuple, list) and _own(kind.__module__, kind.__name__) is not kind:
        raise NoDescriptionError(f"a result of type {kind}")
    parts = results if names is None else [results[name] for name in names]
    place = [kind.__module__, kind.__name__]
    return [place, names, [_outline(part) for part in parts]]


def _own(module: str, name: str) -> type[tuple] | None:
    """The named tuple of this package that has this name; None: there is none."""
    if module.split(".")[0] != PACKAGE.name:
        return None
    kind = getattr(import_module(module), name, None)
    is_one = isinstance(kind, type) and issubclass(kind, tuple)
    return kind if is_one and hasattr(kind, "_fields") else None


def _filled(outline: Any, arrays: Iterator[Any]) -> Any:
    """Results of the structure `outline`, from flat arrays."""
    if outline is None:
        return None
    if outline == "array":
        return next(arrays)
    (module, name), names, parts = outline
    filled = [_filled(part, arrays) for part in parts]
    if names is not None:
        return dict(zip(names, filled, strict=True))
    if module == "builtins":
        return tuple(filled) if name == "tuple" else filled
    kind: Any = _own(module, name)
    return kind(*filled)


def _write(path: Path, exported: export.Exported, outline: Any) -> None:
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        # the name, as a file may be moved
        file.writestr("outline.json", json.dumps([path.name, outline]))
        file.writestr("program", bytes(exported.serialize()))


def _read(path: Path) -> tuple[export.Exported, Any] | None:
    """What `_write` wrote; None: there is no such file, or it is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            name, outline = json.loads(file.read("outline.json"))
            exported = export.deserialize(bytearray(file.read("program")))
    except Exception:  # a damaged file may raise anything
        return None
    if name != path.name:
        return None
    with suppress(OSError):  # that of another user
        os.utime(path)  # the last use
    return exported, outline


def _delete_oldest(folder: Path) -> None:
    """Delete those that were not used for longest, down to half of `MAX_SIZE`."""
    files = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # another process has deleted it
            files.append((path.stat(), path))
    if sum(about.st_size for about, _ in files) <= MAX_SIZE:
        return
    kept = 0
    for about, path in sorted(files, key=lambda f: f[0].st_mtime, reverse=True):
        kept += about.st_size
        if kept > MAX_SIZE // 2:
            path.unlink(missing_ok=True)
