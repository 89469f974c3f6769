"""The README is true: its example runs and its commands exist."""

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


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_named_in_the_readme_explain_themselves(script):
    done = subprocess.run(
        [sys.executable, script, "--help"], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0
    assert "--seed" in done.stdout or "download" in script
    assert done.stderr == ""


@pytest.mark.parametrize("figure", re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README))
def test_figures_of_the_readme_are_there(figure):
    assert (ROOT / figure).is_file()


def test_two_commands():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:^|`)make ([a-z-]+)", README, re.MULTILINE)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
