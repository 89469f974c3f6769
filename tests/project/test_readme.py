"""The README is true: its example runs, its commands, links and numbers exist."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from _pytest.mark.expression import Expression

import chemsbi_jax as cs
from chemsbi_jax.catalog import write_stars
from chemsbi_jax.cli.main import main
from chemsbi_jax.galaxy.amortised.flow import FAR
from chemsbi_jax.priors import to_spec
from helpers.paths import EXAMPLE, ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
WORKFLOW = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
README = (ROOT / "README.md").read_text()
PAGES = {"README.md": README} | {
    f"docs/{path.name}": path.read_text() for path in (ROOT / "docs").glob("*.md")
}
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
SCRIPTS = sorted(
    {s for text in PAGES.values() for s in re.findall(r"experiments/\w+\.py", text)}
)
NOT_RANDOM = {"download", "yields"}
DECIMAL = re.compile(r"\d+\.\d+")


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 115
    assert "pip install chemsbi-jax" in README


def test_example_is_short_and_its_names_exist():
    (block,) = BLOCKS
    assert len(block.strip().splitlines()) <= 10
    compile(block, "README.md", "exec")
    names = set(re.findall(r"result\.(\w+)", block))
    assert len(names) >= 3
    assert all(hasattr(cs.Inference, name) for name in names)


def test_the_table_of_the_readme_is_readable(tmp_path):
    (table,) = re.findall(r"```csv\n(.*?)```", README, flags=re.DOTALL)
    path = tmp_path / "my_stars.csv"
    path.write_text(table)
    catalog = cs.read_catalog(path)
    assert catalog.stars.observed.sum(axis=1).tolist() == [3, 2]
    assert catalog.report.n_used == catalog.report.n_read == 2
    assert catalog.report.warnings == ()


@pytest.mark.slow
def test_example_runs(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    (block,) = BLOCKS
    write_stars("my_stars.csv", cs.read_stars(EXAMPLE).take(slice(100)))
    exec(compile(block, "README.md", "exec"), {})
    summary = json.loads(Path("runs/mine/summary.json").read_text())
    # the example galaxy; 4 sigma of both parameters fail for one seed in 10,000
    for name, truth in {"alpha_imf": -2.1, "log10_n_ia": -2.6}.items():
        assert abs(summary[name]["mean"] - truth) < 4.0 * summary[name]["sd"]
        assert summary[name]["sd"] < 0.05  # 100 stars: far below the prior's 0.3


HELP = """
import contextlib, io, json, runpy, sys
sys.path.insert(0, "experiments")
said = {}
for script in sys.argv[1:]:
    out, sys.argv = io.StringIO(), [script, "--help"]
    with contextlib.redirect_stdout(out):
        try:
            runpy.run_path(script, run_name="__main__")
        except SystemExit as end:
            said[script] = [end.code, out.getvalue()]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said():
    """Script -> exit code and help; all in one process, as imports take the time."""
    command = [sys.executable, "-c", HELP, *SCRIPTS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    return json.loads(done.stdout)


def test_scripts_named_in_the_documents_explain_themselves(said):
    assert set(said) == set(SCRIPTS)
    for script, (code, text) in said.items():
        assert code == 0, script
        assert "--seed" in text or Path(script).stem in NOT_RANDOM, script


def test_every_script_is_listed():
    page = PAGES["docs/tables_and_flags.md"].split("## All scripts")[1]
    for path in (ROOT / "experiments").glob("*.py"):
        if "__main__" in path.read_text():
            assert f"experiments/{path.name}" in page


def test_flags_of_commands_exist(said):
    """Of every script in a block of a page."""
    n = 0
    for page, text in PAGES.items():
        for line in re.findall(r"^python (experiments/.*)$", text, re.MULTILINE):
            script, *words = shlex.split(line)
            flags = {word.split("=")[0] for word in words if word.startswith("--")}
            told = set(re.findall(r"(?<!\S)--[a-z][a-z-]+", said[script][1]))
            assert flags <= told, (page, line)
            n += 1
    assert n >= 5


def flags_of_subcommand(name, capsys) -> set[str]:
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0, name
    return set(re.findall(r"(?<!\S)--[a-z][a-z-]+", capsys.readouterr().out))


def test_subcommands_and_their_flags_exist(capsys):
    known, n = {}, 0
    for page, text in PAGES.items():
        commands = re.findall(r"(?:^|`)chemsbi ([a-z]+)([^`\n]*)", text, re.MULTILINE)
        for name, rest in commands:
            known.setdefault(name, flags_of_subcommand(name, capsys))
            rest = rest.split(" #")[0].split()
            flags = {word.split("=")[0] for word in rest if word.startswith("--")}
            assert flags <= known[name], (page, name)
            n += len(flags)
    assert n >= 5  # of the tutorial alone


def test_the_page_of_flags_has_all_flags_of_infer(said):
    flags = set(re.findall(r"(?<!\S)--[a-z][a-z-]+", said["experiments/infer.py"][1]))
    flags = {flag for flag in flags if flag != "--help"}
    page = PAGES["docs/tables_and_flags.md"]
    table = page.split("## Flags of `infer.py`")[1].split("\n## ")[0]
    documented = set(re.findall(r"`(--[a-z][a-z-]+)`", table))
    # a switch --x has its --no-x in the help, and only where it matters in the table
    assert {f for f in flags if not f.startswith("--no-")} <= documented
    assert documented - {"--strict"} <= flags | {"--strict"}


def links(text: str) -> list[str]:
    """Targets of the Markdown links and images of a page, without its code."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    return [t for t in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in t]


def anchors(text: str) -> set[str]:
    """Anchors of the headings of a page, as MkDocs and GitHub make them."""
    headings = re.findall(r"^#+ (.*)$", text, flags=re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", h).strip().lower() for h in headings]
    return {re.sub(r"[-\s]+", "-", heading) for heading in plain}


def broken(page: str, text: str) -> list[str]:
    """Links of a page that lead nowhere."""
    found = []
    for target in links(text):
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists():
            found.append(target)
        elif anchor and path.suffix == ".md":
            included = re.findall(r'--8<-- "(.*?)"', path.read_text())
            texts = [path.read_text(), *((ROOT / i).read_text() for i in included)]
            if not any(anchor in anchors(text) for text in texts):
                found.append(target)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    assert broken(page, PAGES[page]) == []


@pytest.mark.parametrize("target", ["docs/nothing.md", "docs/faq.md#no-such-heading"])
def test_a_broken_link_is_seen(target):
    assert broken("README.md", f"[text]({target})") == [target]


def test_figures_have_a_description():
    for page, text in PAGES.items():
        assert not re.findall(r"!\[\s*\]", text), page


def test_two_commands():
    assert "make infer" in README
    assert "make test" in README
    makefile = (ROOT / "Makefile").read_text()
    for page, text in PAGES.items():
        for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", text, re.MULTILINE)):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), (page, target)


def test_ci_calls_nothing_that_is_not_documented():
    commands = re.findall(r"^make .*", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    assert {"make test", "make test-thorough", "make test-slow"} < set(commands)
    for command in commands:
        assert re.search(rf"^{command} +#", CONTRIBUTING, re.MULTILINE), command
        assert f"- run: {command}\n" in WORKFLOW, command


def test_each_test_is_in_one_selection():
    """Whatever its marks: none is left out, none runs twice."""
    makefile = (ROOT / "Makefile").read_text()
    expressions = re.findall(r'-m "?([a-z ]+?)"? \$\(PYTEST', makefile)
    expressions += re.findall(r"-m '([a-z ]+)'", (ROOT / "pyproject.toml").read_text())
    assert len(expressions) == 3
    for marks in ((), ("slow",), ("thorough",), ("slow", "thorough")):
        chosen = [
            Expression.compile(text).evaluate(lambda name, marks=marks: name in marks)
            for text in expressions
        ]
        assert chosen.count(True) == 1, (marks, expressions)


def decimals(text: str) -> set[str]:
    return set(DECIMAL.findall(text))


def printed(*names: str) -> set[str]:
    """Decimal numbers of files that scripts wrote into plots/."""
    return {x for name in names for x in decimals((ROOT / name).read_text())}


def test_numbers_of_the_readme_are_printed_by_a_command():
    files = [p.relative_to(ROOT) for p in (ROOT / "plots").glob("*.md")]
    settings = json.dumps(to_spec(cs.paper_prior())) + f" {FAR}"
    settings += (ROOT / "pyproject.toml").read_text()  # of Python
    both = "plots/solar_neighbourhood/combined.md"
    known = printed(*map(str, files), both) | decimals(settings)
    truth = {"2.1", "2.6"}  # of the shipped galaxy, see its table
    assert all(f"-{x}" in EXAMPLE.read_text() for x in truth)
    text = re.sub(r"```.*?```|arXiv:\S+", "", README, flags=re.DOTALL)
    assert decimals(text) - known - truth == set()


MARKED = re.compile(r"<!-- numbers: (.*?) -->\n\n((?:\|.*\n)+)")


@pytest.mark.parametrize(
    "page", ["docs/results.md", "docs/calibration.md", "docs/yields.md"]
)
def test_tables_have_the_numbers_of_the_scripts(page):
    tables = MARKED.findall(PAGES[page])
    assert len(tables) == PAGES[page].count("<!-- numbers:") > 0
    for files, table in tables:
        table = table.replace("0.05 dex", "")  # names the stars
        assert decimals(table) - printed(*files.split()) == set(), files


def test_a_changed_number_is_seen():
    table = "| 1.91 | 1.92345 |"
    assert decimals(table) - printed("plots/reproduction.md") == {"1.92345"}


def test_the_wanted_prior_is_that_of_the_package():
    for mean, prior in zip((-2.3, -2.89), cs.paper_prior()[:2], strict=True):
        assert f"{mean} ± {float(prior.scale):.1f}" in README
        assert float(prior.loc) == pytest.approx(mean, rel=1e-6)
        assert np.isfinite(float(prior.scale))
