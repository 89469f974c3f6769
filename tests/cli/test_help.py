"""The help of commands and scripts."""

import ast
import subprocess
import sys
from itertools import pairwise

from helpers.paths import ROOT

LIGHT = """
import contextlib, io, sys
from chemsbi_jax.cli.main import main
out = io.StringIO()
with contextlib.redirect_stdout(out):
    try:
        main(sys.argv[1:])
    except SystemExit as end:
        code = end.code
heavy = {"jax", "astropy", "matplotlib", "scipy", "xarray"} & set(sys.modules)
print(code, sorted(heavy), len(out.getvalue()))
"""


def test_help_needs_no_heavy_library():
    """JAX alone takes longer to import than a user waits for --help."""
    done = subprocess.run(
        [sys.executable, "-c", LIGHT, "infer", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    code, heavy, length = done.stdout.split(maxsplit=2)[0], *done.stdout.split()[1:]
    assert (code, heavy) == ("0", "[]")
    assert int(length) > 1000


def docstrings_of_flags():
    """File, flag and docstring of all flags of the package and of the scripts."""
    files = [
        *(ROOT / "chemsbi_jax" / "cli").glob("*.py"),
        *(ROOT / "experiments").rglob("*.py"),
    ]
    for path in [*files, ROOT / "chemsbi_jax" / "options.py"]:
        nodes = ast.walk(ast.parse(path.read_text()))
        for node in (n for n in nodes if isinstance(n, ast.ClassDef)):
            for field, text in pairwise(node.body):
                match field, text:
                    case ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(doc))):
                        yield path.name, ast.unparse(field.target), doc


def test_help_breaks_lines_only_after_a_clause():
    """Tyro keeps the line breaks of a docstring, so they show in --help."""
    each = list(docstrings_of_flags())
    assert len(each) > 100
    for *where, doc in each:
        *lines, _ = [line.strip() for line in doc.splitlines()]
        assert all(line.endswith((".", ";", ":")) for line in lines), where
