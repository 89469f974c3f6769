"""Programs that are traced once and loaded in later runs of a command.

JAX's compilation cache saves the compilation of a program, not its tracing in Python
and its lowering to StableHLO, which are a third of the time of a short run. Commands
keep the StableHLO, too (`jax.export`), in a folder beside that cache. The library alone
never does.

The name of a stored program is a hash of everything that decides it: the files of this
package, the versions of the packages that are traced, JAX's settings and devices, the
function, and its arguments (`describe`). Without such a name nothing is stored, and the
function is traced as usual.
"""

import hashlib
import json
import logging
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import cache, wraps
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
from jax import export
from jax.core import Tracer
from jaxtyping import Array, PyTree

from chemsbi_jax.compute.describe import NoDescriptionError, content, describe
from chemsbi_jax.compute.fingerprint import PACKAGE, fingerprint, trace_context
from chemsbi_jax.errors import OutputError
from chemsbi_jax.storage.files import whole_file

try:
    from jax._src.core import trace_state_clean
except ImportError:  # JAX keeps it private; then the arguments show it

    def trace_state_clean() -> bool:
        """Whether no transformation is going on."""
        return True


MAX_SIZE = 64 * 1024**2  # bytes of all stored programs; the oldest are deleted
REFUSED = (ValueError, TypeError, NotImplementedError, jax.errors.JAXTypeError)
LOG = logging.getLogger(__name__)
_FOLDER: list[Path] = []  # empty: nothing is stored


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
    """`eqx.filter_jit` whose traces are kept between runs, if commands keep them.

    Args:
        function: its arrays are traced; all others are static. Its results are arrays
            in tuples, named tuples, lists and dictionaries.
        about: what the program depends on besides the arguments; None: `function`,
            which then must have no closure that changes.
        options: gives options of XLA's compiler, at the first call. They hold for whole
            programs only: within another transformation there are none.
    """
    plain, known = eqx.filter_jit(function), {}
    about = function if about is None else about

    @cache
    def usual() -> Callable[..., Any]:  # at the first call, as JAX starts with it
        jit: Any = eqx.filter_jit  # its type leaves out what goes to `jax.jit`
        return jit(function, compiler_options=options()) if options() else plain

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        leaves, structure = jax.tree.flatten((args, kwargs))
        if not trace_state_clean() or any(isinstance(x, Tracer) for x in leaves):
            return plain(*args, **kwargs)
        if not _FOLDER or jax.process_count() > 1:
            return usual()(*args, **kwargs)
        call = structure, tuple(map(_kind, leaves)), trace_context()
        if call not in known:
            known[call] = _find(function, about, args, kwargs, options())
        program = known[call]
        if program is None:
            return usual()(*args, **kwargs)
        try:
            results = program.run(*filter(eqx.is_array, leaves))
        except REFUSED as error:  # before it runs
            LOG.debug("%s is not used as stored: %s", function, error)
            known[call] = None
            return usual()(*args, **kwargs)
        return _filled(program.outline, iter(results))

    return run


def _kind(leaf: Any) -> Any:
    """What the program depends on: of an array not its content."""
    if not eqx.is_array(leaf):
        return type(leaf), leaf  # 1 == 1.0 == True
    weak, sharding = getattr(leaf, "weak_type", False), getattr(leaf, "sharding", None)
    return leaf.shape, leaf.dtype, weak, sharding


def _find(
    function: Callable[..., Any],
    about: Any,
    args: tuple,
    kwargs: dict,
    options: dict[str, Any],
) -> _Program | None:
    """The program from its file, or traced and written; None: it can't be stored."""
    try:
        key = [fingerprint(), content(about), describe((args, kwargs))]
    except NoDescriptionError as error:
        LOG.debug("%s is not stored: %s", function, error)
        return None
    digest = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    name = getattr(function, "__name__", "program").strip("_<>")
    path = _FOLDER[0] / f"{name}-{digest}.zip"
    found = _read(path)
    if found is None:
        try:
            found = _trace(function, args, kwargs)
            _write(path, *found)
        except (NoDescriptionError, OutputError, *REFUSED) as error:
            LOG.debug("%s is not stored: %s", function, error)
            return None
    exported, outline = found

    def call(*arrays: Array) -> Any:
        return exported.call(*arrays)

    call.__name__ = name  # for logs, profiles and JAX's own cache
    # a program that was just traced is called in this way, too, so that JAX's cache of
    # compiled programs has it for later runs
    return _Program(jax.jit(call, compiler_options=options or None), outline)


def _trace(
    function: Callable[..., Any], args: tuple, kwargs: dict
) -> tuple[export.Exported, Any]:
    leaves, structure = jax.tree.flatten((args, kwargs))
    outline: list = []

    def flat(*arrays: Array) -> list[Array]:
        rest = iter(arrays)
        full = [next(rest) if eqx.is_array(x) else x for x in leaves]
        args, kwargs = jax.tree.unflatten(structure, full)
        results = function(*args, **kwargs)
        outline.append(_outline(results))
        return jax.tree.leaves(results)

    exported = export.export(jax.jit(flat))(*filter(eqx.is_array, leaves))
    return exported, outline[-1]


def _outline(results: PyTree) -> Any:
    """The structure of some results, for JSON.

    Raises:
        NoDescriptionError: it has a node or a leaf of another kind.
    """
    if results is None or eqx.is_array(results):
        return None if results is None else "array"
    parts = results.values() if type(results) is dict else results
    if type(results) not in (tuple, list, dict) and not _is_own(type(results)):
        raise NoDescriptionError(f"a result of type {type(results)}")
    names = sorted(results) if type(results) is dict else None
    parts = [results[k] for k in names] if names is not None else list(results)
    kind = type(results)
    place = [kind.__module__, kind.__qualname__] if _is_own(kind) else kind.__name__
    return [place, names, [_outline(part) for part in parts]]


def _is_own(kind: type) -> bool:
    """Whether it is a named tuple of this package."""
    is_ours = kind.__module__.split(".")[0] == PACKAGE.name
    return is_ours and issubclass(kind, tuple) and hasattr(kind, "_fields")


def _filled(outline: Any, arrays: Iterator[Array]) -> Any:
    """Results of the structure `outline`, from flat arrays."""
    if outline is None:
        return None
    if outline == "array":
        return next(arrays)
    place, names, parts = outline
    filled = [_filled(part, arrays) for part in parts]
    if names is not None:
        return dict(zip(names, filled, strict=True))
    if place in ("tuple", "list"):
        return tuple(filled) if place == "tuple" else filled
    module, name = place
    return getattr(import_module(module), name)(*filled)


def _write(path: Path, exported: export.Exported, outline: Any) -> None:
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
        file.writestr("outline.json", json.dumps(outline))
        file.writestr("program", bytes(exported.serialize()))


def _read(path: Path) -> tuple[export.Exported, Any] | None:
    """What `_write` wrote; None: there is no such file, or it is damaged."""
    try:
        with zipfile.ZipFile(path) as file:
            outline = json.loads(file.read("outline.json"))
            exported = export.deserialize(bytearray(file.read("program")))
        os.utime(path)  # the last use
    except Exception:  # a damaged file may raise anything
        return None
    return exported, outline


def _delete_oldest(folder: Path) -> None:
    """Delete those that were not used for longest, down to half of `MAX_SIZE`."""
    files = [(entry.stat(), Path(entry.path)) for entry in os.scandir(folder)]
    files.sort(key=lambda file: file[0].st_mtime, reverse=True)
    total = sum(about.st_size for about, _ in files)
    if total <= MAX_SIZE:
        return
    kept = 0
    for about, path in files:
        kept += about.st_size
        if kept > MAX_SIZE // 2:
            path.unlink(missing_ok=True)
