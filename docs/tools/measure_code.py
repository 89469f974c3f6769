"""Print the code measurements of `docs/developing.md` for packages side by side.

    python docs/tools/measure_code.py chemsbi_jax experiments tests flowjax lineax

An argument is a folder, or the name of an installed package. Counts come from the
syntax trees; the length of a function leaves its docstring out. Lines are all lines of
a file. Nested functions and methods count as functions.
"""

import argparse
import ast
import importlib.util
import io
import re
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import mean, median, quantiles
from typing import NamedTuple

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
DEFINITIONS = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
TESTS = ("tests", "test_util", "conftest.py", "_version.py")


class Module(NamedTuple):
    """One file of source."""

    name: str  # dotted, relative to the folder
    text: str
    tree: ast.Module


class Code(NamedTuple):
    """One package."""

    folder: Path
    modules: list[Module]
    functions: list[FUNCTIONS]


def main() -> None:
    """Print one Markdown table: a row per measurement, a column per package."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", help="folders or installed packages")
    names = parser.parse_args().names
    codes = [read(find(name)) for name in names]
    labels = [Path(name).name if "/" in name else name for name in names]
    print("|".join(["", " measurement ", *(f" {label} " for label in labels), ""]))
    print("|" + "---|" * (len(codes) + 1))
    for title, measure in ROWS.items():
        print("|".join(["", f" {title} ", *(f" {measure(c)} " for c in codes), ""]))


def find(name: str) -> Path:
    """Folder of this name, else that of an installed package."""
    if Path(name).is_dir():
        return Path(name)
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit(f"Expected a folder or an installed package; got {name!r}.")
    return Path(spec.submodule_search_locations[0])


def read(folder: Path) -> Code:
    """Parse all modules; the tests of a package are left out, a folder of tests not."""
    modules = []
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        if folder.name != "tests" and any(n in TESTS for n in (*parts, path.name)):
            continue
        text = path.read_text()
        modules.append(Module(".".join(parts), text, ast.parse(text)))
    nodes = [n for m in modules for n in ast.walk(m.tree) if isinstance(n, FUNCTIONS)]
    return Code(folder, modules, nodes)


def n_lines(text: str) -> int:
    """Number of lines of a text."""
    return len(text.splitlines())


def length(node: FUNCTIONS) -> int:
    """Lines of a function without its docstring."""
    return node.end_lineno - node.lineno + 1 - docstring_lines(node)


def docstring_lines(node: ast.AST) -> int:
    """Lines of a docstring, 0 if there is none."""
    if ast.get_docstring(node, clean=False) is None:
        return 0
    return node.body[0].end_lineno - node.body[0].lineno + 1


def positional(node: FUNCTIONS) -> list[ast.arg]:
    """Positional parameters without self and cls."""
    every = [*node.args.posonlyargs, *node.args.args]
    return [a for a in every if a.arg not in ("self", "cls")]


def parameters(node: FUNCTIONS) -> list[ast.arg]:
    """All named parameters without self and cls."""
    return [*positional(node), *node.args.kwonlyargs]


def summary(numbers: list[int]) -> str:
    """Median, 90th percentile and maximum."""
    p90 = quantiles(numbers, n=10, method="inclusive")[-1]
    return f"{median(numbers):.0f}, {p90:.0f}, {max(numbers)}"


def share(part: float, whole: float) -> str:
    """A percentage; empty without anything to count."""
    return f"{100 * part / whole:.1f} %" if whole else ""


def comment_share(code: Code) -> str:
    """Lines that have a comment, and lines of docstrings, of all lines."""
    total = sum(n_lines(m.text) for m in code.modules)
    comments = docs = 0
    for m in code.modules:
        tokens = tokenize.generate_tokens(io.StringIO(m.text).readline)
        comments += len({t.start[0] for t in tokens if t.type == tokenize.COMMENT})
        nodes = [n for n in ast.walk(m.tree) if isinstance(n, DEFINITIONS | ast.Module)]
        docs += sum(map(docstring_lines, nodes))
    return f"{share(comments, total)}, {share(docs, total)}"


def documented(code: Code) -> str:
    """Functions without underscore that have a docstring."""
    public = [n for n in code.functions if not n.name.startswith("_")]
    return share(sum(ast.get_docstring(n) is not None for n in public), len(public))


def docstring_words(code: Code) -> str:
    """Median number of words of the docstrings of functions and classes."""
    nodes = [n for m in code.modules for n in ast.walk(m.tree)]
    texts = [ast.get_docstring(n) for n in nodes if isinstance(n, DEFINITIONS)]
    counts = [len(text.split()) for text in texts if text]
    return f"{median(counts):.0f}" if counts else ""


def annotated(code: Code) -> str:
    """Parameters that have an annotation."""
    every = [a for n in code.functions for a in parameters(n)]
    return share(sum(a.annotation is not None for a in every), len(every))


def public_names(code: Code) -> int:
    """Functions, classes and constants of the modules, without underscore."""
    return sum(
        not name.startswith("_") for m in code.modules for name in defined_names(m.tree)
    )


def defined_names(tree: ast.Module) -> Iterator[str]:
    """Names that a module defines at its top level."""
    for node in tree.body:
        if isinstance(node, DEFINITIONS):
            yield node.name
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (t.id for t in targets if isinstance(t, ast.Name))


def names_at_root(code: Code) -> int:
    """Modules and folders right below the package, without its __init__."""
    return len({m.name.split(".")[0] for m in code.modules} - {"__init__"})


def longest_chain(code: Code) -> int:
    """Number of modules in the longest chain of imports within the package.

    The package's own __init__ is left out, those of its folders are not. A circle ends
    a chain.
    """
    modules = [m for m in code.modules if m.name != "__init__"]
    known = {m.name.removesuffix(".__init__") for m in modules}
    edges: dict[str, set[str]] = {}
    for m in modules:
        targets = {nearest(n, known) for n in imported(m, code.folder.name)}
        name = m.name.removesuffix(".__init__")
        edges[name] = targets - {None, name}
    lengths: dict[str, int] = {}
    return max((chain_length(n, edges, lengths) for n in sorted(edges)), default=0)


def chain_length(name: str, edges: dict, lengths: dict[str, int]) -> int:
    """Length of the longest chain that starts at a module; fills `lengths`."""
    if name not in lengths:
        lengths[name] = 0  # while it is in progress: a circle ends here
        below = (chain_length(n, edges, lengths) for n in sorted(edges[name]))
        lengths[name] = 1 + max(below, default=0)
    return lengths[name]


def imported(module: Module, package: str) -> Iterator[str]:
    """Imports of a module from its own package, as names relative to the package."""
    parents = module.name.split(".")[:-1]
    for node in module.tree.body:
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith(f"{package}."):
                    yield alias.name.removeprefix(f"{package}.")
        elif isinstance(node, ast.ImportFrom):
            source = node.module or ""
            if node.level:
                base = parents[: len(parents) - node.level + 1]
                source = ".".join([*base, source]).strip(".")
            elif source.startswith(f"{package}."):
                source = source.removeprefix(f"{package}.")
            elif source == package:
                source = ""
            else:
                continue
            yield from (f"{source}.{a.name}".strip(".") for a in node.names)


def nearest(name: str, known: set[str]) -> str | None:
    """The longest known module that a dotted name begins with."""
    parts = name.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in known:
            return ".".join(parts[:n])
    return None


def readme(code: Code) -> str:
    """Lines, words and tables of the README beside the package."""
    for root in roots(code):
        if (path := root / "README.md").is_file():
            text = path.read_text()
            tables = len(re.findall(r"^\|[ :|-]+\|\s*$", text, flags=re.MULTILINE))
            return f"{n_lines(text)}, {len(text.split())}, {tables}"
    return ""


def pages(code: Code) -> str:
    """Pages of documentation beside the package."""
    for root in roots(code):
        files = (root / "docs").rglob("*")
        found = [p for p in files if p.suffix in (".md", ".rst", ".ipynb")]
        if found:
            return str(len(found))
    return ""


def roots(code: Code) -> list[Path]:
    """Where a package's README and docs may be; nowhere for a folder of scripts."""
    is_package = any(m.name == "__init__" for m in code.modules)
    parents = code.folder.resolve().parents
    if "site-packages" in parents[0].parts:
        return []
    return list(parents[:2]) if is_package else []


ROWS: dict[str, Callable[[Code], object]] = {
    "files, lines": lambda c: (
        f"{len(c.modules)}, {sum(n_lines(m.text) for m in c.modules)}"
    ),
    "lines a file: median, p90, max": lambda c: summary(
        [n_lines(m.text) for m in c.modules]
    ),
    "files > 300 lines": lambda c: sum(n_lines(m.text) > 300 for m in c.modules),
    "lines a function: median, p90, max": lambda c: summary(
        [length(n) for n in c.functions]
    ),
    "functions > 60 lines": lambda c: share(
        sum(length(n) > 60 for n in c.functions), len(c.functions)
    ),
    "parameters: mean, p90, max": lambda c: "{:.1f}, {}".format(
        mean(len(parameters(n)) for n in c.functions),
        summary([len(parameters(n)) for n in c.functions]).split(", ", 1)[1],
    ),
    "functions with 5 or more positional parameters": lambda c: share(
        sum(len(positional(n)) >= 5 for n in c.functions), len(c.functions)
    ),
    "parameters with annotation": annotated,
    "comment lines, docstring lines": comment_share,
    "functions without underscore with docstring": documented,
    "median docstring [words]": docstring_words,
    "names at the root": names_at_root,
    "public names of the modules": public_names,
    "longest import chain [modules]": longest_chain,
    "README: lines, words, tables": readme,
    "pages of documentation": pages,
}


if __name__ == "__main__":
    main()
