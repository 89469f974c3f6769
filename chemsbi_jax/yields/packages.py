"""Where the published tables lie on this machine: packages, and VICE's archive."""

import os
import tarfile
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from chemsbi_jax.yields.errors import YieldsError

VICE = "CHEMSBI_VICE"
"""Environment variable: VICE's source archive (.tar.gz), or its unpacked folder."""

EXTRA = 'pip install "chemsbi-jax[yields]"'
GET_VICE = "pip download --no-deps --no-binary :all: vice==1.3.1"


def packaged(package: str, *parts: str) -> Path:
    """A file of an installed package, which is not imported.

    Raises:
        YieldsError: the package is not installed, or does not have the file.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise YieldsError(f"The package {package} is not installed: {EXTRA}.")
    path = Path(spec.origin).parent.joinpath(*parts)
    if not path.exists():
        raise YieldsError(
            f"{path}: no such table; expected the version of {package} of the extra "
            f"`yields`: {EXTRA}."
        )
    return path


def vice_path() -> Path | None:
    """The folder or archive that the user names by `CHEMSBI_VICE`; None without it."""
    name = os.environ.get(VICE)
    return Path(name).expanduser() if name else None


def vice_tables(path: Path | None = None) -> dict[str, str]:
    """VICE's tables as text, by their path below `vice/yields`.

    Args:
        path: archive or folder; by default the one in `CHEMSBI_VICE`.

    Raises:
        YieldsError: no path is given, or it does not have the tables.
    """
    path = path or vice_path()
    if path is None:
        raise YieldsError(
            f"VICE's tables are needed: get its source ({GET_VICE}) and set {VICE} to "
            "the archive, or to its unpacked folder."
        )
    return _read_tables(path)


@lru_cache(maxsize=2)
def _read_tables(path: Path) -> dict[str, str]:
    try:
        tables = _read_folder(path) if path.is_dir() else _read_archive(path)
    except (OSError, tarfile.TarError) as error:
        raise YieldsError(f"{path}: cannot read VICE's archive: {error}.") from error
    if "ccsne/S16/W18/FeH0/birth_composition.dat" not in tables:
        raise YieldsError(
            f"{path}: expected VICE's source, a folder or .tar.gz with vice/yields; "
            f"got none of its tables. Get it with: {GET_VICE}."
        )
    return tables


def _read_folder(path: Path) -> dict[str, str]:
    roots = [r for r in (path, path / "yields", path / "vice/yields") if r.is_dir()]
    root = next((r for r in roots if (r / "ccsne").is_dir()), path)
    if not (root / "ccsne").is_dir():
        return {}
    return {
        file.relative_to(root).as_posix(): file.read_text(encoding="utf-8")
        for file in sorted(root.rglob("*.dat"))
    }


def _read_archive(path: Path) -> dict[str, str]:
    tables = {}
    with tarfile.open(path) as archive:
        for member in archive:
            _, found, name = member.name.partition("/vice/yields/")
            file = archive.extractfile(member)  # None: not a file
            if file is not None and found and name.endswith(".dat"):
                tables[name] = file.read().decode()
    return tables
