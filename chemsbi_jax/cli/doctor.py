"""The command `doctor`: a description of the machine for a bug report."""

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import jax

from chemsbi_jax.cli.cache import cache_folder, is_cache_on, is_writable
from chemsbi_jax.cli.flags import DoctorFlags
from chemsbi_jax.compute.devices import n_cores
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.any_yields import emulators_state
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.storage.datasets import FILES, find_local
from chemsbi_jax.storage.datasets import cache_folder as download_folder
from chemsbi_jax.storage.files import package_version
from chemsbi_jax.storage.weights import PRETRAINED

LIBRARIES = (
    "jax", "jaxlib", "numpy", "scipy", "flax", "flowjax", "equinox", "numpyro",
    "optax", "astropy", "xarray", "arviz", "matplotlib", "tyro", "pooch",
    "safetensors", "pyarrow", "getdist",
)  # fmt: skip
OPTIONAL = ("pyarrow", "getdist")
VARIABLES = ("CHEMSBI_", "JAX_", "XLA_", "CUDA_VISIBLE_DEVICES")


def main(config: DoctorFlags) -> dict:
    """Print the state of the machine; returns the same as a dict.

    Raises:
        InputError: a needed library or shipped networks are missing.
    """
    versions = {name: _version(name) for name in LIBRARIES}
    networks = {name: _state_of(name) for name in PRETRAINED}
    found = {name: _is_found(name) for name in FILES}
    report = {
        "chemsbi-jax": f"{package_version()} in {Path(__file__).parents[1]}",
        "python": f"{platform.python_version()} in {sys.prefix}",
        "platform": platform.platform(),
        "cores": n_cores(),
        "devices": [f"{d.platform} {d.id} ({d.device_kind})" for d in jax.devices()],
        "libraries": versions,
        "networks": networks,
        "compilation cache": f"{cache_folder()} ({_cache_state()})",
        "emulators on demand": emulators_state(),
        "download folder": str(download_folder()),
        "public tables (optional; `chemsbi infer` needs none)": (
            f"{sum(found.values())} of {len(FILES)} are on this machine"
        ),
        "public tables that `chemsbi download` can fetch": [
            name for name, is_found in found.items() if not is_found
        ],
        "environment": {
            k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)
        },
    }
    if not config.quiet:
        print(as_text(report))
    missing = [k for k, v in versions.items() if v == "missing" and k not in OPTIONAL]
    missing += [f"networks {k}" for k, v in networks.items() if v != "ok"]
    if missing:
        raise InputError(
            f"Expected a complete installation; missing: {', '.join(missing)}. Install "
            "the package again."
        )
    return report


def as_text(report: dict) -> str:
    """One fact a line."""
    lines = []
    for name, value in report.items():
        if isinstance(value, dict):
            lines += [f"{name}:", *(f"  {k}: {v}" for k, v in value.items())]
        elif isinstance(value, list):
            lines.append(f"{name}: {', '.join(value) or 'none'}")
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines)


def _is_found(name: str) -> bool:
    return find_local(name) is not None or (download_folder() / name).is_file()


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "missing"


def _state_of(weights: str) -> str:
    try:
        load_networks(weights)
    except InputError as error:
        return str(error)
    return "ok"


def _cache_state() -> str:
    folder = cache_folder()
    if not is_cache_on():
        return "off"
    if not is_writable(folder):
        return "off: the folder can't be written to"
    files = [p for p in folder.rglob("*") if p.is_file()] if folder.is_dir() else []
    size = sum(p.stat().st_size for p in files) / 1e6
    return f"on, {len(files)} files, {size:.0f} MB"
