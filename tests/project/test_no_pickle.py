"""Nothing that reads a file may run code in it: no pickle, no eval."""

import ast

import pytest

from helpers.source import MODULES, SCRIPTS, imported, label, parse

PICKLERS = {"pickle", "cPickle", "_pickle", "dill", "joblib", "cloudpickle", "shelve",
            "marshal"}  # fmt: skip
RUNNERS = {"eval", "exec", "compile", "__import__"}


def dangers(tree: ast.AST) -> list[str]:
    """What a module has that may run code from a file."""
    found = [name for name in imported(tree) if set(name.split(".")) & PICKLERS]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        options = {k.arg: ast.unparse(k.value) for k in node.keywords}
        if called in RUNNERS or options.get("allow_pickle", "False") != "False":
            found.append(called)
        if called == "torch.load" and options.get("weights_only") != "True":
            found.append(called)
        if called.endswith("_pickle"):  # of pandas
            found.append(called)
    return found


@pytest.mark.parametrize("path", MODULES + SCRIPTS, ids=label)
def test_nothing_runs_code_from_a_file(path):
    assert dangers(parse(path)) == []


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from joblib import load",
        "def f():\n    import cloudpickle as c",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "np.savez(path, x, allow_pickle=True)",
        "eval('1')",
        "exec(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "pd.read_pickle(path)",
    ],
)
def test_a_danger_is_seen(line):
    assert dangers(ast.parse(line))


def test_what_is_allowed():
    text = "np.load(path, allow_pickle=False)\ntorch.load(p, weights_only=True)"
    assert dangers(ast.parse(text + "\nnp.load(path)\nre.compile(x)")) == []
