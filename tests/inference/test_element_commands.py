"""Commands and weights with the elements of a yield set."""

import json

import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.cli import mock as mock_command
from chemsbi_jax.cli import simulate as simulate_command
from chemsbi_jax.cli import train_emulator as train_command
from chemsbi_jax.cli import train_npe as npe_command
from chemsbi_jax.cli.flags import (
    EmulatorFlags,
    MockFlags,
    NpeFlags,
    SimulateFlags,
)
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.emulator import save_emulator
from chemsbi_jax.errors import WeightsError
from helpers.element_sets import TRUTH, N


@pytest.mark.slow  # each command compiles programs of its own
@pytest.mark.parametrize("n", [4, 15])
def test_commands_take_the_names_from_the_yields(n, sets, tmp_path):
    names = list(cs.load_yields(sets[n]).abundances)
    out = tmp_path / "simulations"
    flags = SimulateFlags(64, yields=str(sets[n]), out=out, plots=out, quiet=True)
    simulate_command.main(flags)
    with np.load(out / "simulations.npz") as file:
        assert file["abundance_names"].tolist() == names
        assert file["abundances"].shape == (64, n)
    flags = EmulatorFlags(
        tmp_path / "emulator", str(sets[n]), n_simulations=N, n_test=N, n_epochs=1,
        steps_per_epoch=5, quiet=True,
    )  # fmt: skip
    metrics = train_command.main(flags)
    assert list(metrics["rms_dex"]) == names
    assert list(cs.load_emulator(tmp_path / "emulator").abundances) == names
    flags = MockFlags(
        tmp_path / "mock.fits", TRUTH, 5, emulator=str(tmp_path / "emulator"),
        quiet=True,
    )  # fmt: skip
    assert list(mock_command.main(flags).abundances) == names
    columns = Table.read(tmp_path / "mock.fits").colnames
    assert [c for c in columns if c in names] == names


@pytest.mark.thorough
def test_weights_of_other_elements_are_refused_where_a_network_reads_eight(
    emulators, tmp_path
):
    emulator, _ = emulators[15]
    save_emulator(tmp_path, emulator, {})
    flags = NpeFlags(tmp_path / "npe", str(tmp_path), quiet=True)
    with pytest.raises(WeightsError, match=r"expected an emulator of c_fe.*--yields"):
        npe_command.main(flags)
    spec = json.loads((tmp_path / "emulator.json").read_text())
    for wrong in (spec["abundances"][::-1], [*ALL_ABUNDANCES, "ba_fe"], "fe_h", []):
        text = json.dumps(spec | {"abundances": wrong})
        (tmp_path / "emulator.json").write_text(text)
        with pytest.raises(WeightsError, match="abundances is"):
            cs.load_emulator(tmp_path)
