"""The tutorial is true: its commands and flags exist, and all of them run."""

import os
import re
import shlex
import subprocess
import sys

import pytest

from helpers.paths import ROOT

TEXT = (ROOT / "docs" / "tutorial.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.strip().splitlines()
]
CHEMSBI = "import sys; from chemsbi_jax.cli.main import main; sys.exit(main())"
EXAMPLE = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def run(words, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=cwd,
        env=environment,
    )  # fmt: skip


def test_the_tutorial_has_eight_commands():
    """That their flags exist is tested in test_readme, with all other scripts."""
    assert len(COMMANDS) == 8
    assert len(EXAMPLE) == 1


@pytest.mark.slow
def test_the_tutorial_from_its_first_to_its_last_line(tmp_path):
    for words in COMMANDS:
        assert words[0] == "chemsbi"
        done = run(["-c", CHEMSBI, *words[1:]], tmp_path)
        assert done.returncode == 0, (words, done.stderr[-2000:])
        assert "Traceback" not in done.stderr
    (code,) = EXAMPLE
    done = run(["-c", code], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
