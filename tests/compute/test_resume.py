"""A training that goes on from its files: the same bits, or a refusal."""

import signal
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chemsbi_jax.compute.train import FitConfig, FitState
from chemsbi_jax.errors import InputError, OutputError
from chemsbi_jax.storage.checkpoints import (
    require_same_settings,
    restore_checkpoint,
    save_checkpoint,
)
from helpers.paths import ROOT
from helpers.regression import assert_same_bits, contents, regression, rows, run


def test_resumes_to_the_same_bits(uninterrupted, tmp_path):
    first = run(checkpoint=tmp_path, on_epoch=lambda i, params, now: i == 2)
    assert len(first.held_out_loss) == 2
    epochs = []
    second = run(
        checkpoint=tmp_path, on_epoch=lambda i, params, now: epochs.append(i) and None
    )
    assert epochs == [3, 4, 5]
    assert_same_bits(second, uninterrupted)
    third = run(checkpoint=tmp_path, on_epoch=lambda *_: pytest.fail("trained again"))
    assert_same_bits(third, uninterrupted)


KILLED = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from helpers.paths import ROOT
from helpers.regression import run
run(checkpoint=Path(sys.argv[2]), on_epoch=lambda i, *_: print(i, flush=True))
"""


def test_resumes_after_a_kill(uninterrupted, tmp_path):
    """SIGKILL from outside, at any instant of the epoch after the second."""
    here = ROOT / "tests"
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, here, tmp_path], stdout=subprocess.PIPE
    ) as process:
        for line in process.stdout:
            if line.strip() == b"2":
                process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    epochs = []
    result = run(
        checkpoint=tmp_path, on_epoch=lambda i, params, now: epochs.append(i) and None
    )
    assert epochs[0] > 2  # no epoch that was saved is done again
    assert_same_bits(result, uninterrupted)


def other_rows(key, data):
    """A batch of 32 rows."""
    return jax.tree.map(lambda x: x[:32], rows(key, data))


OTHERS = {
    "seed": ({"seed": 1}, "random key (seed) was [0, 0], is [0, 1]"),
    "length": ({"config": FitConfig(9, 20)}, "n_epochs was 5, is 9"),
    "epoch": ({"config": FitConfig(5, 21)}, "steps_per_epoch was 20, is 21"),
    "patience": ({"config": FitConfig(5, 20, 2)}, "patience was None, is 2"),
    "batch": ({"draw": other_rows}, "batch size, learning rate, version) was"),
    "rate": ({"optimizer": optax.adam(0.03)}, "learning rate, version) was"),
    "optimizer": ({"optimizer": optax.sgd(0.02)}, "first weights was"),
    "data": ({"data": regression(300)}, "training data was"),
    "held out": ({"held_out": regression(300)}, "held-out data was"),
}


@pytest.mark.parametrize(("others", "told"), OTHERS.values(), ids=OTHERS)
def test_another_training_in_the_same_folder_is_refused(others, told, tmp_path):
    run(checkpoint=tmp_path, on_epoch=lambda *_: True)
    before = contents(tmp_path)
    with pytest.raises(InputError) as error:
        run(checkpoint=tmp_path, **others)
    for part in (str(tmp_path), told, "an empty folder", "same flags"):
        assert part in str(error.value)
    assert contents(tmp_path) == before


def test_settings_may_change_before_the_first_epoch(tmp_path, uninterrupted):
    require_same_settings(tmp_path, "flags", {"n": 3})
    require_same_settings(tmp_path, "flags", {"n": 4})
    assert_same_bits(run(checkpoint=tmp_path), uninterrupted)
    require_same_settings(tmp_path, "flags", {"n": 4})
    with pytest.raises(InputError, match="n was 4, is 5"):
        require_same_settings(tmp_path, "flags", {"n": 5})


@pytest.mark.parametrize("content", [None, b"", b"{", b"[1, 2]", b"\xff"])
def test_states_without_settings_are_refused(content, tmp_path):
    run(checkpoint=tmp_path, on_epoch=lambda *_: True)
    note = tmp_path / "fit.json"
    note.unlink() if content is None else note.write_bytes(content)
    with pytest.raises(InputError, match=r"fit.json: expected .* an empty folder"):
        run(checkpoint=tmp_path)


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    """One bit of an array: the file is as long as before and can be parsed."""
    return content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]


@pytest.mark.parametrize(("damage", "n_damaged"), [(flip, 1), (cut, 2)])
def test_a_damaged_state_is_passed_over(
    damage, n_damaged, tmp_path, uninterrupted, caplog
):
    run(checkpoint=tmp_path, on_epoch=lambda i, *_: i == 4)
    for path in sorted(tmp_path.glob("epoch-*"))[-n_damaged:]:
        path.write_bytes(damage(path.read_bytes()))
    epochs = []
    result = run(checkpoint=tmp_path, on_epoch=lambda i, *_: epochs.append(i))
    assert epochs == ([4, 5] if n_damaged == 1 else [1, 2, 3, 4, 5])
    assert_same_bits(result, uninterrupted)
    assert caplog.text.count("damaged or cut off") == n_damaged
    assert "epoch-000004.safetensors" in caplog.text


def test_few_files_are_kept(tmp_path):
    run(checkpoint=tmp_path)
    names = ["epoch-000004.safetensors", "epoch-000005.safetensors", "fit.json"]
    assert sorted(contents(tmp_path)) == names


def test_a_state_of_another_network_is_refused(tmp_path):
    """Also where the settings can't tell: the files were put there by hand."""

    class State(NamedTuple):
        epoch: int
        w: np.ndarray

    save_checkpoint(tmp_path, State(3, np.zeros(4)))
    with pytest.raises(InputError, match=r"first \(4,\), expected \(7,\)"):
        restore_checkpoint(tmp_path, State(0, np.zeros(7)))
    with pytest.raises(InputError, match="expected 1 arrays, got 2"):
        restore_checkpoint(tmp_path, [np.zeros(())])


def test_where_no_state_can_be_written(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match="choose a"):
        run(checkpoint=tmp_path / "file")
    with pytest.raises(OutputError, match="choose a"):
        run(checkpoint=tmp_path / "file" / "deep")
    assert (tmp_path / "file").read_text() == "mine"


def test_full_disk(tmp_path, full_disk):
    """The state of the epoch before stays."""
    wide = {"w": jnp.zeros(4), "unused": jnp.zeros(1000)}
    save_checkpoint(tmp_path, FitState(*[jnp.zeros(3)] * 4, 1, 1, 1, 1))
    before = contents(tmp_path)
    with full_disk(), pytest.raises(OutputError, match="choose another folder"):
        save_checkpoint(tmp_path, FitState(*[wide] * 4, 2, 1, 1, 1))
    assert contents(tmp_path) == before
