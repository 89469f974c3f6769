"""The README is true: its example runs and its commands exist."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
SCRIPTS = sorted(set(re.findall(r"experiments/\w+\.py", README)))


def test_example_runs_and_is_short(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    assert len(BLOCKS) == 1
    assert len(BLOCKS[0].strip().splitlines()) <= 15
    exec(compile(BLOCKS[0], "README.md", "exec"), {})
    printed = capsys.readouterr().out
    numbers = [float(x) for x in re.findall(r"-?\d+\.\d+", printed)]
    # the example galaxy has alpha_imf = -2.1 and log10_n_ia = -2.6
    assert numbers[0] == pytest.approx(-2.1, abs=0.05)
    assert numbers[1] == pytest.approx(-2.6, abs=0.05)


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


def test_scripts_named_in_the_readme_explain_themselves():
    """All in one process, as the imports take most of the time."""
    command = [sys.executable, "-c", HELP, *SCRIPTS]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.stderr == ""
    said = json.loads(done.stdout)
    assert set(said) == set(SCRIPTS)
    for script, (code, text) in said.items():
        assert code == 0, script
        assert "--seed" in text or "download" in script, script


@pytest.mark.parametrize("figure", re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README))
def test_figures_of_the_readme_are_there(figure):
    assert (ROOT / figure).is_file()


def test_two_commands():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
