"""Scripts share code through the package and experiments/common alone."""

import ast

import pytest

from helpers.paths import ROOT

FOLDER = ROOT / "experiments"
SCRIPTS = sorted(FOLDER.glob("*.py"))
OWN = {"benchmark": "benchmarks"}  # the parts of one script
MODULES = {path.stem for path in FOLDER.iterdir() if path.suffix in (".py", "")}


def imported(tree):
    """First names of the modules that a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]
        elif isinstance(node, ast.Import):
            yield from (name.name.split(".")[0] for name in node.names)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_no_part_of_another(path):
    of_folder = MODULES.intersection(imported(ast.parse(path.read_text())))
    assert of_folder <= {"common", OWN.get(path.stem)}


def test_what_scripts_share_imports_no_script():
    for path in (FOLDER / "common").rglob("*.py"):
        of_folder = MODULES.intersection(imported(ast.parse(path.read_text())))
        assert of_folder <= {"common"}, path
