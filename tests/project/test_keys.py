"""Random keys: each is used once on every path through a function, read from source."""

import ast
import re

import pytest

from helpers.paths import ROOT

SOURCES = sorted((ROOT / "chemsbi_jax").rglob("*.py"))
SOURCES += sorted((ROOT / "experiments").rglob("*.py"))
# others have only keys of mappings
RANDOM = re.compile(r"jax\.random|Key\[|def \w+\(\s*key\b(?!: str)")
SOURCES = [path for path in SOURCES if RANDOM.search(path.read_text())]
MARK = "# key reuse:"  # with its reason, on the line: the reuse is intended
LOOPS = (ast.For, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)


def is_key(name: str) -> bool:
    return name == "key" or name.startswith("key_")


def uses(node: ast.AST, name: str, lines: list[str]) -> int:
    """Largest number of uses of a name on a path through an expression or statement."""
    if isinstance(node, ast.Name):
        is_use = node.id == name and isinstance(node.ctx, ast.Load)
        return int(is_use and MARK not in lines[node.lineno - 1])
    if isinstance(node, ast.IfExp):
        either = max(uses(part, name, lines) for part in (node.body, node.orelse))
        return uses(node.test, name, lines) + either
    if isinstance(node, ast.If | ast.Try | ast.Match | ast.With):
        return of_block([node], name, lines)
    if isinstance(node, FUNCTIONS) and name in parameters(node) | stored(node):
        return 0  # a name of its own
    total = sum(uses(child, name, lines) for child in ast.iter_child_nodes(node))
    if isinstance(node, LOOPS) and total and not only_folded(node, name):
        return total + 1  # the second turn uses it again
    return total


def stored(node: ast.AST) -> set[str]:
    """Names that a node assigns."""
    names = [n for n in ast.walk(node) if isinstance(n, ast.Name)]
    return {n.id for n in names if isinstance(n.ctx, ast.Store)}


def parameters(node: ast.AST) -> set[str]:
    arguments = node.args
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    return {a.arg for a in every}


def only_folded(loop: ast.AST, name: str) -> bool:
    """Whether the key only enters `fold_in`, or the iterable of a `for`."""
    allowed = {
        id(call.args[0])
        for call in ast.walk(loop)
        if isinstance(call, ast.Call)
        and getattr(call.func, "attr", "") == "fold_in"
        and call.args
    }
    once = []
    if isinstance(loop, ast.For):
        once = [loop.iter]
    elif not isinstance(loop, ast.While):
        once = [loop.generators[0].iter]
    allowed |= {id(n) for part in once for n in ast.walk(part)}
    if name in stored(loop):
        return True  # a new key in each turn
    return all(
        id(n) in allowed
        for n in ast.walk(loop)
        if isinstance(n, ast.Name) and n.id == name
    )


def of_block(statements: list[ast.stmt], name: str, lines: list[str]) -> int:
    """The same for statements in order; a branch that leaves ends its path."""
    total, ended = 0, 0
    for node in statements:
        if isinstance(node, ast.If):
            total += uses(node.test, name, lines)
            for branch in (node.body, node.orelse):
                if branch and isinstance(branch[-1], ast.Return | ast.Raise):
                    ended = max(ended, total + of_block(branch, name, lines))
            stays = [
                of_block(branch, name, lines)
                for branch in (node.body, node.orelse)
                if not (branch and isinstance(branch[-1], ast.Return | ast.Raise))
            ]
            total += max(stays, default=0)
        elif isinstance(node, ast.Try):
            total += of_block(node.body, name, lines)
        elif isinstance(node, ast.With):
            total += sum(uses(item, name, lines) for item in node.items)
            total += of_block(node.body, name, lines)
        elif isinstance(node, ast.Match):
            total += max(of_block(case.body, name, lines) for case in node.cases)
        else:
            total += uses(node, name, lines)
            if assigns(node, name):
                total = 0
    return max(total, ended)


def assigns(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Assign) and any(
        isinstance(n, ast.Name) and n.id == name
        for target in node.targets
        for n in ast.walk(target)
    )


def loop_targets(node: ast.AST) -> set[str]:
    loops = [n for n in ast.walk(node) if isinstance(n, ast.For | ast.comprehension)]
    return {n.id for x in loops for n in ast.walk(x.target) if isinstance(n, ast.Name)}


def reused(source: str) -> list[str]:
    """`function: key` for each key that a path uses twice."""
    lines, found = source.splitlines(), []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            names = {n for n in stored(node) | parameters(node) if is_key(n)}
            names -= loop_targets(node)  # of a mapping
            found += [
                f"{node.name}: {name}"
                for name in sorted(names)
                if of_block(node.body, name, lines) > 1
            ]
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_key_is_used_twice(path):
    assert reused(path.read_text()) == []


@pytest.mark.parametrize(
    "body",
    [
        "a = normal(key); b = normal(key)",
        "a, b = split(key); c = fold_in(key, 2)",
        "for i in range(3):\n        f(key)",
        "if x:\n        f(key)\n    g(key)",
        "f([g(key) for i in x])",
    ],
)
def test_a_reuse_is_seen(body):
    assert reused(f"def f(key, x):\n    {body}\n") == ["f: key"]


@pytest.mark.parametrize(
    "body",
    [
        "key_a, key_b = split(key); return f(key_a) + g(key_b)",
        "if x:\n        return f(key)\n    return g(key)",
        "return [f(jax.random.fold_in(key, i)) for i in x]",
        "for k in split(key, 3):\n        f(k)",
        "a = f(key)\n    b = g(key)  # key reuse: common random numbers",
        "return f(key) if x else g(key)",
    ],
)
def test_single_uses_pass(body):
    assert reused(f"def f(key, x):\n    {body}\n") == []
