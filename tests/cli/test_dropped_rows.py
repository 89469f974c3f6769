"""Rows that a command does not use: a file of them, and the summary."""

import json
import subprocess
import sys

import pytest
from astropy.table import Table

from chemsbi_jax.cli.flags import StarFlags
from chemsbi_jax.cli.infer import read as read_rows
from chemsbi_jax.inference.rows import add_rows
from helpers.paths import ROOT
from helpers.survey_tables import apogee, galah, save


@pytest.mark.thorough
@pytest.mark.parametrize(
    "table",
    [pytest.param(apogee, marks=pytest.mark.slow), lambda: galah(3)],
    ids=["apogee", "galah"],
)
def test_script_lists_the_dropped_rows_of_incomplete_stars(tmp_path, table):
    """These stars lack He and Ne; the rows are listed and told all the same."""
    path = save(table(), tmp_path)
    out = tmp_path / "out"
    command = [sys.executable, "experiments/infer.py", path, "--out", out]
    command += ["--without", "c_fe,n_fe", "--fast"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "5 rows read, 2 stars used, 3 dropped" in done.stdout
    assert "Traceback" not in done.stderr
    assert list(Table.read(out / "dropped_rows.csv")["row"]) == [2, 4, 5]


def test_summary_has_the_catalogue(tmp_path):
    flags = StarFlags(survey="apogee")
    path = save(apogee(), tmp_path)
    catalog = read_rows(path, flags, tmp_path / "out", quiet=True)
    assert (tmp_path / "out" / "dropped_rows.csv").is_file()
    summary = add_rows({"n_stars": 2, "warnings": ["a"]}, catalog.report)
    summary = json.loads(json.dumps(summary))
    assert summary["n_stars"] == summary["catalogue"]["n_read"] == 5
    assert summary["catalogue"]["n_used"] == 2
    assert sum(summary["catalogue"]["dropped"].values()) == 3
    assert summary["warnings"] == ["a", *catalog.report.warnings]
    assert set(catalog.report.warnings) < set(summary["catalogue"]["notes"])
    whole = save(apogee()[:1], tmp_path, "whole.fits")
    read_rows(whole, flags, tmp_path / "out", quiet=True)
    assert not (tmp_path / "out" / "dropped_rows.csv").exists()  # of an earlier run
