"""Scripts that must refuse what they get."""

import re

import pytest

from chemsbi_jax.cli.run import run_script
from helpers.paths import load_script

NAMES = ("infer", "nuts", "make_mock", "simulate", "train_npe", "train_emulator",
         "calibrate", "reproduce")  # fmt: skip


@pytest.fixture(scope="module")
def modules():
    return {name: load_script(name) for name in NAMES}


@pytest.fixture
def refused(modules, monkeypatch, capsys, tmp_path):
    """Run a script; the sentence on stderr, after checks that hold for each refusal."""

    def run(script, *flags):
        module = modules[script]
        monkeypatch.setattr("sys.argv", [f"{script}.py", *map(str, flags)])
        monkeypatch.chdir(tmp_path)
        before = contents(tmp_path)
        try:
            code = run_script(module.main, module.Config)
        except SystemExit as error:  # tyro's
            code = error.code
        message = capsys.readouterr().err
        assert code == 2
        assert "Traceback" not in message
        assert contents(tmp_path) == before  # earlier results, and nothing new
        return " ".join(re.sub("[^ -~]", " ", message).split())  # tyro draws boxes

    return run


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
