"""The sources of the package and of the scripts, and what they import."""

import ast
from pathlib import Path

from helpers.paths import ROOT

PACKAGE = ROOT / "chemsbi_jax"
MODULES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "experiments").rglob("*.py"))


def imported(tree: ast.AST) -> list[str]:
    """Dotted names of all imports of a module, also those inside functions."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def label(path: Path) -> str:
    return str(path.relative_to(ROOT))
