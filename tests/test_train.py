"""The one training loop: closed form, early stopping, resuming to the same bits."""

import os
import signal
import subprocess
import sys
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chemsbi_jax.compute.train import FitConfig, FitState, fit
from chemsbi_jax.errors import InputError, OutputError
from chemsbi_jax.storage.checkpoints import (
    require_same_settings,
    restore_checkpoint,
    save_checkpoint,
)

N_EPOCHS = 5
SHORT = FitConfig(n_epochs=N_EPOCHS, steps_per_epoch=20)


def regression(n: int = 400):
    """Noisy linear data; the least-squares line is known."""
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.normal(size=(n, 3)), np.ones(n)])
    y = x @ np.array([0.5, -1.0, 2.0, 0.3]) + 0.2 * rng.normal(size=n)
    return jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32)


def rows(key, data):
    """A batch of 64 rows."""
    index = jax.random.randint(key, (64,), 0, len(data[0]))
    return data[0][index], data[1][index]


def squared(params, batch, data):
    """Mean squared error."""
    return jnp.mean((batch[0] @ params["w"] - batch[1]) ** 2)


def run(config=SHORT, seed=0, width=4, **options):
    """Train on the regression; `draw`, `loss`, ... may be replaced."""
    data = regression()
    arguments = {
        "optimizer": optax.adam(0.02),
        "draw": rows,
        "loss": squared,
        "data": data,
        "held_out": data,
        "quiet": True,
    }
    params = {"w": jnp.zeros(width)}
    key = jax.random.key(seed)
    return fit(key, params, config=config, **(arguments | options))


@pytest.fixture(scope="module")
def uninterrupted():
    return run()


def assert_same_bits(one, two):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_reaches_the_closed_form():
    x, y = regression()
    expected = np.linalg.lstsq(np.asarray(x), np.asarray(y))[0]
    result = run(
        FitConfig(n_epochs=10, steps_per_epoch=200),
        draw=lambda key, data: data,
        optimizer=optax.adam(optax.cosine_decay_schedule(0.1, 2000)),
    )
    # the loss is flat to float32 (1e-7) within 3e-4 of its minimum
    np.testing.assert_allclose(result.params["w"], expected, atol=1e-3)
    best = np.mean((np.asarray(x) @ expected - np.asarray(y)) ** 2)
    assert result.held_out_loss[-1] == pytest.approx(best, rel=1e-4)
    assert result.train_loss.shape == result.held_out_loss.shape == (10,)


def test_a_second_run_with_a_progress_bar(uninterrupted, capfd):
    """The same bits, the bar on stderr only, and each epoch reported."""
    seen = []
    again = run(quiet=False, on_epoch=lambda i, w, now: seen.append((i, now)) and None)
    assert_same_bits(again, uninterrupted)
    assert [i for i, _ in seen] == [1, 2, 3, 4, 5]
    losses = np.float32([x for _, x in seen])
    np.testing.assert_array_equal(losses, uninterrupted.held_out_loss)
    assert (np.diff(uninterrupted.train_loss) < 0.0).all()
    out, err = capfd.readouterr()
    assert out == ""
    assert f"{N_EPOCHS}/{N_EPOCHS}" in err
    assert "held_out=" in err


def test_another_seed_other_batches(uninterrupted, capfd):
    other = run(FitConfig(1, 20), seed=1)
    assert other.train_loss[0] != uninterrupted.train_loss[0]
    assert capfd.readouterr().err == ""  # quiet


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
from test_train import run
run(checkpoint=Path(sys.argv[2]), on_epoch=lambda i, *_: print(i, flush=True))
"""


def test_resumes_after_a_kill(uninterrupted, tmp_path):
    """SIGKILL from outside, at any instant of the epoch after the second."""
    here = os.path.dirname(__file__)
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


def towards_one(start: float = 0.0, **options):
    """One parameter on its way from `start` to 1; the held-out best is 0.5."""
    return fit(
        jax.random.key(0),
        jnp.asarray(start),
        optimizer=optax.sgd(0.05),
        draw=lambda key, data: data,
        loss=lambda w, batch, data: (w - batch) ** 2,
        data=jnp.asarray(1.0),
        held_out=jnp.asarray(0.5),
        quiet=True,
        **options,
    )


def test_the_best_parameters_come_back():
    seen = []
    result = towards_one(
        config=FitConfig(n_epochs=12, steps_per_epoch=1),
        on_epoch=lambda i, w, now: seen.append(float(w)) and None,
    )
    best = int(np.argmin(result.held_out_loss))
    assert 2 < best < 10  # on the way, neither the first nor the last
    assert float(result.params) == seen[best]
    assert float(result.params) == pytest.approx(0.5, abs=0.05)
    assert seen[-1] > 0.65


def test_stops_early():
    config = FitConfig(n_epochs=50, steps_per_epoch=1, patience=3)
    result = towards_one(config=config)
    best = int(np.argmin(result.held_out_loss))
    assert len(result.held_out_loss) == best + 1 + 3
    forever = FitConfig(n_epochs=50, steps_per_epoch=1)
    assert len(towards_one(config=forever).held_out_loss) == 50


@pytest.mark.parametrize(("counts", "expected"), [(True, 0.5), (False, 1.0)])
def test_a_start_that_no_epoch_betters_is_the_result(counts, expected):
    result = fit(
        jax.random.key(0),
        jnp.asarray(0.5),
        optimizer=optax.sgd(0.5),
        draw=lambda key, data: data,
        loss=lambda w, batch, data: (w - batch) ** 2,
        data=jnp.asarray(1.0),
        held_out=jnp.asarray(0.5),
        config=FitConfig(n_epochs=3, steps_per_epoch=1),
        start_counts=counts,
        quiet=True,
    )
    assert float(result.params) == pytest.approx(expected, abs=1e-6)


def test_a_loss_that_is_not_a_number_is_never_the_best():
    result = fit(
        jax.random.key(0),
        jnp.asarray(0.3),
        optimizer=optax.sgd(0.5),
        draw=lambda key, data: data,
        loss=lambda w, batch, data: jnp.where(w > 0.9, jnp.nan, (w - batch) ** 2),
        data=jnp.asarray(1.0),
        held_out=jnp.asarray(0.8),
        config=FitConfig(n_epochs=4, steps_per_epoch=1, patience=2),
        quiet=True,
    )
    assert np.isfinite(result.params)
    assert float(result.params) <= 0.9


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


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


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
