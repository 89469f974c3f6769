"""The house rules, read from the source: layers, dependencies, sizes, docstrings."""

import ast
import doctest
import subprocess
import sys
import tomllib
from importlib import import_module, metadata
from pathlib import Path

import pytest

from helpers.paths import ROOT
from helpers.source import MODULES, PACKAGE, SCRIPTS, imported, label, parse

MAX_MODULE, MAX_FUNCTION = 300, 40  # lines; a docstring does not count
MAX_ROOT = 18  # files and folders of the package
NOT_CODE = {"pretrained", "py.typed"}
TESTS = sorted(path for path in (ROOT / "tests").rglob("*.py"))
WITH_EXAMPLES = [path for path in MODULES if ">>> " in path.read_text()]

# From the bottom up. A module may import from lower layers, and from its own folder;
# never sideways or up. A new module needs a place here.
LAYERS = (
    {"errors"},
    {"constants", "options"},
    {"storage"},
    {"compute"},
    {"types"},
    {"priors"},
    {"yields"},
    {"catalog", "simulator"},
    {"emulator", "npe", "diagnostics"},
    {"galaxy"},
    {"results"},
    {"plots"},
    {"inference"},
    {"cli"},
    {"scripts"},
    {"experiments"},
)
# methods of a type that import a higher layer when they are called
ON_DEMAND = {("types", "results")}
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
# libraries that only one place may know
HOMES = {
    "flax": ("emulator",),
    "flowjax": ("npe",),
    "matplotlib": ("plots", "inference"),
    "tyro": ("cli",),
    "numpyro": ("priors", "galaxy"),
    "optax": ("compute", "emulator", "npe"),
    "pooch": ("storage",),
    "getdist": ("results", "types"),
}
OPTIONAL = {"getdist"}  # an extra each; imported where it is asked for


def place(path: Path) -> str:
    """Module or sub-package right below chemsbi_jax; "" is its __init__."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[0] != PACKAGE.name:
        return parts[0]
    return "" if parts[1] == "__init__" else parts[1]


def breaches(path: Path, tree: ast.AST) -> list[str]:
    """Imports that go sideways or up."""
    here, found = place(path), []
    for name in imported(tree):
        first, *rest = name.split(".")
        if first == "experiments":
            found.append(name)
        if first != PACKAGE.name or not rest or rest[0] == here:
            continue
        if (here, rest[0]) in ON_DEMAND:
            continue
        if rest[0] not in LEVEL or LEVEL[rest[0]] >= LEVEL[here]:
            found.append(name)
    return found


def test_every_module_has_a_layer():
    assert {place(path) for path in MODULES} - {""} <= set(LEVEL)
    assert sum(map(len, LAYERS)) == len(LEVEL)  # and only one


def test_names_at_the_root_of_the_package():
    names = {path.name for path in PACKAGE.iterdir()} - NOT_CODE
    assert len([name for name in names if not name.startswith("__")]) <= MAX_ROOT


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_imports_go_down(path):
    if place(path) != "":  # the package's __init__ names the public functions
        assert breaches(path, parse(path)) == []


@pytest.mark.parametrize(
    ("here", "line"),
    [
        ("simulator/ssp.py", "from chemsbi_jax.npe import Npe"),
        ("npe/model.py", "from chemsbi_jax.emulator import emulate"),
        ("npe/model.py", "from chemsbi_jax import emulator"),
        ("emulator.py", "import chemsbi_jax.simulator.ssp, chemsbi_jax.galaxy"),
        ("priors.py", "def f():\n    from chemsbi_jax.npe.noise import SIGMA"),
        ("plots/style.py", "from experiments.infer import main"),
    ],
)
def test_a_breach_is_seen(here, line):
    assert breaches(PACKAGE / here, ast.parse(line))


def test_the_networks_and_the_physics_do_not_know_each_other():
    """They meet through one type, `Forward`."""
    three = {"simulator", "emulator", "npe"}
    for path in MODULES:
        if place(path) in three:
            names = {
                name.split(".")[1] for name in imported(parse(path)) if "." in name
            }
            assert not names & (three - {place(path)}), label(path)


@pytest.mark.parametrize("library", HOMES)
def test_libraries_have_one_home(library):
    users = {
        place(path)
        for path in MODULES
        if library in {name.split(".")[0] for name in imported(parse(path))}
    }
    assert users <= set(HOMES[library])
    assert users, f"{library} is not used: drop it"


def test_every_library_is_declared():
    """What the package imports, `pip install chemsbi-jax` brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    declared = {
        line.split(">")[0].split("=")[0].split("[")[0].strip().lower()
        for line in project["dependencies"]
    }
    used = {name.split(".")[0] for path in MODULES for name in imported(parse(path))}
    third_party = used - set(sys.stdlib_module_names) - {PACKAGE.name} - OPTIONAL
    of_module = metadata.packages_distributions()
    missing = {
        name
        for name in third_party
        if not declared & {d.lower() for d in of_module[name]}
        and name != "jaxtyping"  # a dependency of equinox and flowjax
    }
    assert missing == set()


@pytest.mark.parametrize("library", OPTIONAL)
def test_optional_libraries_are_extras(library):
    """None of them is loaded with the package, and each is an extra of its own name."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert library in project["optional-dependencies"]
    code = f"import sys, chemsbi_jax.results; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_folders_of_tests_are_those_of_the_package():
    folders = {path.parent for path in TESTS} - {ROOT / "tests"}
    others = {"helpers", "project", "experiments"}
    assert {path.name for path in folders} - others <= set(LEVEL)


@pytest.mark.parametrize("path", MODULES + SCRIPTS + TESTS, ids=label)
def test_size_of_the_file(path):
    assert len(path.read_text().splitlines()) <= MAX_MODULE


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_size_of_its_functions(path):
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    too_long = {}
    for node in ast.walk(parse(path)):
        if isinstance(node, functions):
            length = node.end_lineno - node.lineno + 1 - docstring_lines(node)
            if length > MAX_FUNCTION:
                too_long[node.name] = length
    assert too_long == {}


def docstring_lines(node: ast.FunctionDef) -> int:
    if ast.get_docstring(node) is None:
        return 0
    return node.body[0].end_lineno - node.body[0].lineno + 1


@pytest.mark.parametrize("path", MODULES, ids=label)
def test_docstrings(path):
    """Of the module and of each public function, class and method."""
    tree = parse(path)
    nodes = public(tree)
    nodes += [n for c in nodes if isinstance(c, ast.ClassDef) for n in public(c)]
    assert [n.name for n in nodes if not ast.get_docstring(n)] == []
    assert ast.get_docstring(tree), "the module says what it is for"


def public(node: ast.Module | ast.ClassDef) -> list[ast.FunctionDef | ast.ClassDef]:
    kinds = ast.FunctionDef | ast.ClassDef
    return [n for n in node.body if isinstance(n, kinds) and not n.name.startswith("_")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=label)
def test_examples_in_docstrings(path):
    """Found in the source, as `doctest.testmod` skips decorated functions."""
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = import_module(name.removesuffix(".__init__"))
    parser, runner, said = doctest.DocTestParser(), doctest.DocTestRunner(), []
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef
    for node in ast.walk(parse(path)):
        text = ast.get_docstring(node) if isinstance(node, kinds) else None
        if text and ">>> " in text:
            where = getattr(node, "name", name)
            test = parser.get_doctest(text, dict(vars(module)), where, str(path), 0)
            runner.run(test, out=said.append)
    assert runner.tries > 0
    assert runner.failures == 0, "".join(said)
