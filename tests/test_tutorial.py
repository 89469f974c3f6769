"""The tutorial is true: its commands and flags exist, and all of them run."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "experiments" / "README.md").read_text()
COMMANDS = [
    shlex.split(line)
    for block in re.findall(r"```sh\n(.*?)```", TEXT, flags=re.DOTALL)
    for line in block.strip().splitlines()
]
EXAMPLE = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


def run(words, cwd):
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, cwd=cwd,
        env=environment,
    )  # fmt: skip


def test_flags_of_the_tutorial_exist():
    assert len(COMMANDS) == 5
    for script in {words[1] for words in COMMANDS}:
        told = run([ROOT / script, "--help"], ROOT).stdout
        flags = {w for words in COMMANDS if words[1] == script for w in words if
                 w.startswith("--")}  # fmt: skip
        assert all(flag in told for flag in flags), script


@pytest.mark.slow
def test_the_tutorial_from_its_first_to_its_last_line(tmp_path):
    for words in COMMANDS:
        done = run([ROOT / words[1], *words[2:]], tmp_path)
        assert done.returncode == 0, (words, done.stderr[-2000:])
        assert "Traceback" not in done.stderr
    (code,) = EXAMPLE
    done = run(["-c", code], tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
