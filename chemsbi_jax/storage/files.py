"""Atomic writes of files, and errors that name the folder."""

import errno
import hashlib
import math
import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jax
import numpy as np

from chemsbi_jax.errors import OutputError

_REMEDIES = {
    errno.ENOSPC: "the disk is full: free some space, or choose another folder",
    errno.EDQUOT: "the quota is used up: free some space, or choose another folder",
    errno.EFBIG: "the file grew over the allowed size: choose another folder",
    errno.EACCES: "no permission to write: choose a folder that you may write to",
    errno.EPERM: "no permission to write: choose a folder that you may write to",
    errno.EROFS: "the disk is read-only: choose a folder that you may write to",
    errno.ENOTDIR: "a part of this path is a file: choose a path of folders only",
    errno.EEXIST: "this path is a file: choose a folder",
    errno.EISDIR: "a folder of this name is in the way: choose another name",
}


def require_folder(path: str | os.PathLike) -> None:
    """Raise where no folder can be made of `path`, before anything long.

    Raises:
        OutputError: `path`, or a part of it, is a file, or may not be written to.
    """
    path = Path(path)
    there = next(part for part in (path, *path.parents) if part.exists())
    if not there.is_dir():
        raise OutputError(
            f"Cannot write into folder {path}: {there} is a file; choose another path."
        )
    if not os.access(there, os.W_OK):
        raise OutputError(
            f"Cannot write into folder {path}: {_REMEDIES[errno.EACCES]}."
        )
    try:  # such as /proc, which looks as if it could be written to
        TemporaryDirectory(prefix=".", dir=there).cleanup()
    except OSError as error:
        remedy = _REMEDIES.get(error.errno or 0, "choose another path")
        raise OutputError(f"Cannot write into folder {path}: {remedy}.") from error


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[Path]:
    """Give a temporary path beside `path` that replaces it on success only.

    An interrupted or failed write leaves an older `path` untouched and no
    temporary file behind (after `kill -9`, a hidden one).

    Raises:
        OutputError: the folder can't be made or written to, or is full.
    """
    with whole_files(path) as (temporary,):
        yield temporary


@contextmanager
def whole_files(*paths: str | os.PathLike) -> Iterator[list[Path]]:
    """`whole_file` for files that belong together.

    None is replaced before the content of all is on the disk.

    Raises:
        OutputError: a folder can't be made or written to, or is full.
    """
    targets = [Path(path) for path in paths]
    temporaries = [
        path.with_name(f".{path.stem}.{secrets.token_hex(4)}{path.suffix}")
        for path in targets
    ]
    try:
        for path in targets:
            path.parent.mkdir(parents=True, exist_ok=True)
        yield temporaries
        for temporary in temporaries:
            _flush(temporary)  # a rename that outlives its data leaves an empty file
        for temporary, path in zip(temporaries, targets, strict=True):
            temporary.replace(path)
    except OSError as error:
        raise _explain(targets[0], error) from error
    finally:
        for temporary in temporaries:
            _remove(temporary)


def sha256(path: str | os.PathLike) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of_arrays(arrays: Mapping[str, jax.Array | np.ndarray]) -> str:
    """Hexadecimal SHA-256 of named arrays: names, dtypes, shapes and content."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(f"{name} {array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _flush(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:  # the folder itself is the trouble, and was reported
        pass


def _explain(path: Path, error: OSError) -> OSError:
    if isinstance(error, OutputError):
        return error
    unknown = f"{error}: choose another folder"
    remedy = _REMEDIES.get(error.errno or 0, unknown)
    message = f"Cannot write {path.name} into folder {path.parent}: {remedy}."
    return OutputError(message)


def plain(value: Any) -> Any:
    """Numbers, strings, lists and dicts that JSON has; None for NaN and infinity."""
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        return plain(value.tolist())
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    if isinstance(value, Mapping):
        return {str(key): plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(part) for part in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | bool | int):
        return value
    return str(value)  # paths, dtypes, versions


def package_version() -> str:
    """Version of this package; "unknown" if it is run from a folder."""
    try:
        return metadata.version("chemsbi-jax")
    except metadata.PackageNotFoundError:
        return "unknown"
