"""The documentation is complete, and builds without a warning and without a network."""

import pkgutil
import re
import subprocess
import sys
from types import ModuleType

import pytest
import yaml

import chemsbi_jax as cs
from helpers.paths import ROOT

DOCS = ROOT / "docs"
CONFIG = yaml.safe_load((ROOT / "mkdocs.yml").read_text())


def pages_of(nav: list) -> list[str]:
    """Files of a navigation, at all levels."""
    found = []
    for entry in nav:
        (target,) = entry.values()
        found += pages_of(target) if isinstance(target, list) else [target]
    return found


def test_every_page_is_in_the_navigation():
    pages = pages_of(CONFIG["nav"])
    assert sorted(pages) == sorted(p.name for p in DOCS.glob("*.md"))


def test_the_build_is_strict_and_needs_no_network():
    assert CONFIG["strict"]
    assert CONFIG["theme"]["font"] is False
    assert "http" not in (ROOT / "mkdocs.yml").read_text()


def test_public_names_are_in_the_reference():
    text = (DOCS / "api.md").read_text()
    names = {
        name
        for name in dir(cs)
        if name[0] != "_" and not isinstance(getattr(cs, name), ModuleType)
    }
    listed = re.findall(r"^::: \S+?(\w+)$|^\| `(\w+)` \|", text, flags=re.MULTILINE)
    assert names - {name for pair in listed for name in pair} == {"CLEAN", "LEGACY"}


def test_names_of_the_reference_exist():
    text = (DOCS / "api.md").read_text()
    dotted = re.findall(r"^::: (\S+)", text, flags=re.MULTILINE)
    assert len(dotted) > 20
    for name in dotted:
        pkgutil.resolve_name(name)  # raises


def test_included_tables_exist():
    for page in DOCS.glob("*.md"):
        for name in re.findall(r'--8<-- "(.*?)"', page.read_text()):
            assert (ROOT / name).is_file(), (page.name, name)


def test_every_table_of_the_scripts_is_in_the_documentation():
    included = {
        name
        for page in DOCS.glob("*.md")
        for name in re.findall(r'(?:--8<-- "|numbers: )(plots/\S+?)["\s]',
                               page.read_text())
    }  # fmt: skip
    written = {f"plots/{p.name}" for p in (ROOT / "plots").glob("*.md")}
    assert written <= included


def test_python_examples_compile():
    for page in DOCS.glob("*.md"):
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            compile(block, page.name, "exec")


SMALL = '''"""Module."""


def first(a: int, b, *, c=1):
    """One two three."""
    return a  # comment


def _second(self, d, e, f, g, h):
    def inner():
        pass
'''


def test_measurements_of_the_code(tmp_path):
    """A package small enough to count by hand."""
    package = tmp_path / "small"
    (package / "part").mkdir(parents=True)
    (package / "__init__.py").write_text("from small.one import first\n")
    (package / "one.py").write_text(SMALL)
    (package / "two.py").write_text(
        "from small import one\nTHREE, four = 3, 4\nX = 1\n"
    )
    (package / "part" / "three.py").write_text("from ..two import X\n")
    (tmp_path / "README.md").write_text("a b c\n\n| x |\n|---|\n")
    script = DOCS / "tools" / "measure_code.py"
    done = subprocess.run(
        [sys.executable, script, str(package)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    rows = [line.strip("| ").split("|") for line in done.stdout.splitlines()]
    table = {row[0].strip(): row[-1].strip() for row in rows}
    assert table["files, lines"] == "4, 16"
    assert table["lines a function: median, p90, max"] == "2, 3, 3"
    assert table["parameters: mean, p90, max"] == "2.7, 5, 5"
    assert table["functions with 5 or more positional parameters"] == "33.3 %"
    assert table["parameters with annotation"] == "12.5 %"
    assert table["functions without underscore with docstring"] == "50.0 %"
    assert table["median docstring [words]"] == "3"
    assert table["names at the root"] == "3"
    assert table["public names of the modules"] == "2"  # first, X
    assert table["longest import chain [modules]"] == "3"  # three, two, one
    assert table["README: lines, words, tables"] == "4, 7, 1"


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    pytest.importorskip("mkdocstrings")
    pytest.importorskip("latex2mathml")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", tmp_path],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    for page in tmp_path.rglob("*.html"):
        text = page.read_text()
        assert not re.findall(r'(?:src|rel="stylesheet" href)="https?://', text), page
        assert 'class="arithmatex"' not in text, page  # a formula without MathML
        assert ":math:" not in text, page
        for figure in re.findall(r'<img[^>]*src="([^"]+)"', text):
            assert (page.parent / figure).is_file(), (page, figure)
    assert "<math" in (tmp_path / "methods.html").read_text()
