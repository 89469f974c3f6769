"""Stars of other types, flags that exclude each other, and folders that are files."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.cli import infer as command
from chemsbi_jax.cli import mock as mock_command
from chemsbi_jax.cli.flags import InferFlags, MockFlags
from chemsbi_jax.errors import DatasetError, InputError, OutputError
from chemsbi_jax.inference.checks import NO_INFORMATION
from chemsbi_jax.options import CatalogOptions
from helpers.paths import EXAMPLE

# in a process of its own: in the others, the tests check the types of all arguments
CALLS = """
import numpy as np
from astropy.table import Table
import chemsbi_jax as cs
from chemsbi_jax.options import CatalogOptions

for call in (
    lambda: cs.infer(np.zeros((3, 8))),
    lambda: cs.infer(Table({"fe_h": [0.1]})),
    lambda: cs.infer("stars.csv", options={"default_error": 0.05}),
    lambda: cs.infer("stars.csv", seed=1.5),
    lambda: cs.combine_catalogues(["runs/a", "runs/b"]),
    lambda: cs.combine_catalogues({"a": None, "b": None}),
    lambda: cs.combine_catalogues({"a": "runs/a"}, slope_error="large"),
    lambda: cs.combine_catalogues({"a": "runs/a"}, seed=0.5),
    lambda: CatalogOptions(without=["fe_h"]),
    lambda: CatalogOptions(columns={"fe_h": "Fe"}),
):
    try:
        call()
    except cs.InputError as error:
        print(error)
"""


COMBINED = (
    "as a dictionary, name -> result or folder; got list.",
    "the folder of a run, for a; got NoneType.",
    "slope_error of 0 or more [dex per dex]; got 'large'.",
    "seed as a whole number from 0 to 4294967295; got 0.5.",
)


@pytest.mark.thorough
def test_other_types_are_refused_with_the_remedy():
    command = [sys.executable, "-c", CALLS]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    array, table, options, seed, *combined, without, columns = text.splitlines()
    assert "got ndarray. Write a table to a file" in array
    assert "got Table. Write a table to a file" in table
    assert options.startswith("Expected `options` such as cs.CatalogOptions(")
    assert seed == "Expected an integer as seed; got 1.5."
    for line, says in zip(combined, COMBINED, strict=True):
        assert says in line
    assert without == "Expected `without` as text, such as 'c_fe,n_fe'; got ['fe_h']."
    assert columns.startswith("Expected `columns` as text, such as 'fe_h=FE_H'; got {")


def test_options_need_a_path(stars, networks):
    options = CatalogOptions(without="fe_h")
    with pytest.raises(InputError, match="`options` with the path of a table only"):
        cs.infer(stars, networks=networks, options=options)


def flags(tmp_path, **changes):
    config = InferFlags(EXAMPLE, tmp_path / "out", fast=True, quiet=True)
    return dataclasses.replace(config, **changes)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"robust": True, "method": "flow"}, "--robust without --method flow"),
        ({"process_id": 1}, "--process-id below --n-processes"),
        ({"n_processes": 0}, "Expected --n-processes from 1"),
    ],
)
def test_flags_that_exclude_each_other(tmp_path, changes, says):
    with pytest.raises(InputError, match=says):
        command.main(flags(tmp_path, **changes))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("part", [".", "below"])
def test_a_file_in_place_of_the_folder_is_told_at_once(tmp_path, part):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file; choose another path"):
        command.main(flags(tmp_path, out=tmp_path / "out" / part))
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.thorough
def test_methods_are_not_compared_without_information():
    stars = cs.read_stars(EXAMPLE).take(slice(20))
    wide = stars._replace(errors=np.full_like(stars.errors, 0.5))
    found = cs.infer(wide, shared_errors=False, quiet=True)
    assert found.posterior.method == "exact"
    assert found.checks.methods_agree is None
    assert found.checks.halves is None
    assert NO_INFORMATION in found.warnings


def test_mock_names_the_networks_that_need_no_download(tmp_path, monkeypatch):
    def load(_):
        raise DatasetError("could not download AGB.hdf5.")

    monkeypatch.setattr(mock_command.cs, "load_yields", load)
    with pytest.raises(DatasetError, match="--emulator tng"):
        mock_command.main(MockFlags(tmp_path / "a.ecsv", quiet=True))
