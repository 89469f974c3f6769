"""The wheel works outside the checkout: console script, networks and stars in it."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from helpers.paths import ROOT

pytestmark = pytest.mark.slow


def run(*words, **options):
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, **options
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """An empty environment with the wheel; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--wheel-dir", folder, ROOT)
    (wheel,) = folder.glob("chemsbi_jax-*.whl")
    venv.create(folder / "env", with_pip=True)
    python = folder / "env" / "bin" / "python"
    run(python, "-m", "pip", "install", "--no-deps", "--no-index", wheel)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(run(python, "-c", code).strip())
    # after its own packages, so that the wheel wins over a checkout
    (site / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


def test_the_command_infers_from_the_shipped_stars(environment, tmp_path):
    bin_ = environment / "env" / "bin"
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    options = {"cwd": tmp_path, "env": kept}
    code = "import chemsbi_jax; print(chemsbi_jax.__file__)"
    package = Path(run(bin_ / "python", "-c", code, **options).strip()).parent
    assert package.is_relative_to(environment)
    assert (package / "py.typed").is_file()
    stars = package / "pretrained" / "stars" / "example_galaxy.ecsv"
    run(bin_ / "chemsbi", "infer", stars, "--out", "out", "--quiet", **options)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["n_used"] == 1000
    for name, truth in {"alpha_imf": -2.1, "log10_n_ia": -2.6}.items():
        for block in (summary, summary["shared_errors"]):
            assert abs(block[name]["mean"] - truth) < 4.0 * block[name]["sd"]


def test_shell_completion_knows_the_commands(environment, tmp_path):
    command = environment / "env" / "bin" / "chemsbi"
    text = run(command, "--tyro-print-completion", "bash", cwd=tmp_path)
    for name in ("infer", "nuts", "mock", "simulate", "train", "download", "doctor"):
        assert name in text
