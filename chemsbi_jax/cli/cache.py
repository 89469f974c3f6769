"""JAX's persistent compilation cache, on by default for commands and scripts.

The second run of a command loads its programs from the user's cache folder. The library
alone never switches the cache on.
"""

import contextlib
import hashlib
import os
import platform
import sys
from pathlib import Path

import jax

from chemsbi_jax.compute.exported import keep_programs
from chemsbi_jax.storage.datasets import cache_folder as download_folder

VARIABLE = "CHEMSBI_COMPILATION_CACHE"
"""Environment variable: a folder in place of the default one, or "off"."""
MAX_SIZE = (
    512 * 1024**2
)  # bytes; JAX deletes the entries that were not used for longest
OFF = ("off", "0", "no", "false")


def is_cache_on() -> bool:
    """Whether commands use the cache, by the environment."""
    return os.environ.get(VARIABLE, "").lower() not in OFF


def cache_folder() -> Path:
    """Folder of the compiled programs: the user's by environment, or the default.

    The default has a name for each kind of processor: a home folder may be shared by
    machines whose programs differ.
    """
    users = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if users:
        return Path(users)
    chosen = os.environ.get(VARIABLE)
    if chosen and is_cache_on():
        return Path(chosen).expanduser()
    return download_folder() / "compiled" / _processor()


def is_writable(folder: Path) -> bool:
    """Whether the folder can be written to; makes it if it is not there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def use_compilation_cache() -> None:
    """Switch the cache on, before the first compilation.

    Settings of the user (`JAX_COMPILATION_CACHE_DIR`) stay as they are. Several
    processes may share the folder: JAX locks it. A folder that can't be written to
    leaves the cache off.
    """
    if not is_cache_on() or jax.config.values["jax_compilation_cache_dir"]:
        return
    folder = cache_folder()
    if not is_writable(folder):
        if os.environ.get(VARIABLE):
            print(
                f"No program is kept for later runs: {folder} ({VARIABLE}) can't be "
                "written to. Choose another folder.",
                file=sys.stderr,
            )
        return
    _remove_unfinished(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", MAX_SIZE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    keep_programs(folder / "exported")


def _remove_unfinished(folder: Path) -> None:
    """Delete entries that a stopped process left without their time of last use.

    JAX writes it after the program. Without it no further entry can be written, and
    the program may be incomplete.
    """
    for entry in folder.glob("*-cache"):
        if not entry.with_name(entry.name.removesuffix("cache") + "atime").exists():
            with contextlib.suppress(OSError):  # of another user, or gone
                entry.unlink()


def _processor() -> str:
    """Name of the kind of processor: its architecture and a hash of its features."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # no Linux
        lines = [platform.processor()]
    features = sorted({x for x in lines if x.startswith(("flags", "Features"))})
    digest = hashlib.sha256("\n".join(features or lines[:1]).encode()).hexdigest()
    return f"{platform.machine() or 'unknown'}-{digest[:12]}"
