"""The command `infer`: exit codes, refusals and files."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.catalog.shipped import table_of
from chemsbi_jax.cli.flags import InferFlags
from chemsbi_jax.cli.infer import exit_code
from chemsbi_jax.cli.infer import main as run_command
from helpers.paths import EXAMPLE, ROOT

FILES = {"posterior.png", "convergence.png", "first_star.png", "predictive.png",
         "posterior.nc", "posterior.ecsv", "summary.json", "report.html"}  # fmt: skip


BAD = {
    "no abundances": ("a,b\n1,2\n", "no column holds an abundance"),
    "not a file": (None, "bad.csv"),
}


@pytest.mark.parametrize(("content", "says"), BAD.values(), ids=BAD)
def test_refuses_with_exit_code_2(tmp_path, content, says):
    path = tmp_path / "bad.csv"
    if content is not None:
        path.write_text(content)
    done = subprocess.run(
        [sys.executable, "experiments/infer.py", path, "--out", tmp_path / "out"],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "bad.csv" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out" / "summary.json").exists()


def test_strict_turns_a_warning_into_exit_code_3(tmp_path):
    config = InferFlags(EXAMPLE, tmp_path, strict=True, fast=True)
    assert exit_code({"warnings": ["misfit"]}, config) == 3
    assert exit_code({"warnings": []}, config) == 0


def test_the_shipped_galaxy_has_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert table_of(Path("example")).samefile(EXAMPLE)
    assert len(cs.read_stars("example").values) == 1000
    Path("example").write_text("a file of the user\n")
    assert table_of(Path("example")) == Path("example")


def test_unknown_weights_name_the_known_ones(tmp_path, few_stars):
    with pytest.raises(ValueError, match="tng-legacy"):
        run_command(InferFlags(few_stars, tmp_path, weights="galah", quiet=True))


# --- the shipped networks


@pytest.fixture(scope="module")
def few_stars(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "few.csv"
    Table.read(EXAMPLE, format="ascii.ecsv")[:30].write(path, format="ascii.csv")
    return path


@pytest.mark.slow
def test_the_command_on_stars_of_the_model(few_stars, tmp_path):
    summary = run_command(
        InferFlags(few_stars, tmp_path / "out", seed=3, fast=True, quiet=True)
    )
    assert {p.name for p in (tmp_path / "out").iterdir()} == FILES
    assert summary["provenance"]["npe"] == "tng"
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "chemsbi infer" in page
    assert "--seed 3" in page
    assert summary["method"] == "exact"
    # 30 stars: 4 sigma in each parameter would be a fault, not noise
    for name, truth in zip(cs.PARAMETERS[:2], (-2.1, -2.6), strict=True):
        assert abs(summary[name]["mean"] - truth) < 4 * summary[name]["sd"]
    checks = summary["checks"]
    assert checks["at_rest"]
    assert checks["halves"]["stable"]
    # stars of the model: the network is right to a fraction of its width
    assert np.abs(checks["methods_agree"]["shift_sigma"]).max() < 0.5
