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

from chemsbi_jax.compute.describe import DISTRIBUTIONS, NoDescriptionError, content

try:
    from jax._src.config import trace_context
except ImportError:  # JAX keeps it private
    trace_context = None

PACKAGE = Path(__file__).parent.parent
SETTLED = 10.0  # seconds after a change of the package before programs are stored


def fingerprint() -> list:
    """Packages, devices and settings of JAX at this moment, for JSON.

    Raises:
        NoDescriptionError: they may change without a sign, or JAX does not tell.
    """
    if trace_context is None:
        raise NoDescriptionError("this version of JAX does not tell its settings")
    # the last one is empty, as no transformation is going on
    traced = [x for x in trace_context() if type(x).__name__ != "AxisEnv"]
    return [_installation(), [content(x) for x in traced]]


@cache
def _installation() -> Any:
    devices = [f"{d.platform} {d.device_kind} {d.id}" for d in jax.local_devices()]
    return [sys.version, platform.machine(), devices, dict(versions()), _sources()]


def _sources() -> str:
    """Hash of the files of this package.

    Raises:
        NoDescriptionError: one was just changed, maybe after it was imported.
    """
    total, newest = hashlib.sha256(), 0.0
    for folder, _, names in sorted(os.walk(PACKAGE)):
        for name in sorted(names):
            path = Path(folder, name)
            if path.suffix in (".py", ".json", ".safetensors"):
                newest = max(newest, path.stat().st_mtime)
                digest = hashlib.sha256(path.read_bytes()).hexdigest()
                total.update(f"{path.relative_to(PACKAGE)} {digest}\n".encode())
    if newest > time.time() - SETTLED:
        raise NoDescriptionError("a file of this package was just changed")
    return total.hexdigest()


@cache
def versions() -> Mapping[str, str]:
    """Version of each of `DISTRIBUTIONS`.

    Raises:
        NoDescriptionError: one is installed from a folder in which it may change.
    """
    found = {}
    for name in DISTRIBUTIONS.values():
        try:
            one = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        origin = json.loads(one.read_text("direct_url.json") or "{}")
        if origin.get("dir_info", {}).get("editable"):
            raise NoDescriptionError(f"{name} is installed from a folder")
        found[name] = one.version
    return found
