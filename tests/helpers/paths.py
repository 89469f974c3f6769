"""Paths, and scripts of experiments/ as modules."""

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
TOY = ROOT / "tests" / "toy_yields.json"
EXAMPLE = ROOT / "chemsbi_jax" / "pretrained" / "stars" / "example_galaxy.ecsv"


def load_script(name):
    """A script as a module, without running it."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"experiments/{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
