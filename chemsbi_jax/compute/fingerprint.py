"""What decides the programs of a process, besides functions and arguments."""

import hashlib
import json
import os
import platform
import sys
import time
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

from chemsbi_jax.compute.describe import TRACED, NoDescriptionError, content

try:
    from jax._src.config import trace_context
except ImportError:  # JAX keeps it private
    trace_context = None

PACKAGE = Path(__file__).parent.parent
IMPORTED = time.time()
SETTLED = 10.0  # seconds, for the modules that were imported before this one


def fingerprint() -> list:
    """Packages, devices and the present settings of JAX, for JSON.

    Raises:
        NoDescriptionError: the code of a package may change while its version stays,
            or the settings can't be read.
    """
    if trace_context is None:
        raise NoDescriptionError("the settings of this version of JAX can't be read")
    # that of the axes is empty, as no transformation is going on
    traced = [x for x in settings() if type(x).__name__ != "AxisEnv"]
    return [_installation(), [content(x) for x in traced]]


def settings() -> tuple:
    """All settings of JAX that decide a program; hashable."""
    traced = () if trace_context is None else trace_context()
    return (*traced, jax.config.values["jax_default_prng_impl"])


@cache
def _installation() -> Any:
    devices = [f"{d.platform} {d.device_kind} {d.id}" for d in jax.local_devices()]
    about = [sys.version, platform.machine(), devices, dict(_versions())]
    if _sources() is None:
        raise NoDescriptionError("a file of this package has just changed")
    return [*about, _sources()]


@cache
def _sources() -> str | None:
    """Hash of the files of this package; None: one may differ from what is imported."""
    total, newest = hashlib.sha256(), 0.0
    for folder, _, names in sorted(os.walk(PACKAGE)):
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix in (".py", ".json", ".safetensors"):
                about = path.stat()
                # the second one is new also where a copy keeps the time of the first
                newest = max(newest, about.st_mtime, about.st_ctime)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"{path.relative_to(PACKAGE)} {digest}\n".encode())
    return total.hexdigest() if newest < IMPORTED - SETTLED else None


@cache
def _versions() -> Mapping[str, str]:
    """Version of each package of `TRACED`.

    Raises:
        NoDescriptionError: one is installed from a folder in which it may change.
    """
    found = {}
    for name in TRACED:
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        origin = json.loads(one.read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable"):
            raise NoDescriptionError(f"{name} is installed from a folder")
        found[name] = one.version
    return found
