"""The one training loop: closed form, early stopping, resuming to the same bits."""

import os
import signal
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chemsbi_jax.train import FitConfig, fit

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


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    run(FitConfig(N_EPOCHS, 1), checkpoint=tmp_path, on_epoch=lambda *_: True)
    for others in ({"width": 7}, {"optimizer": optax.sgd(0.1)}):
        with pytest.raises(ValueError, match="another network") as error:
            run(checkpoint=tmp_path, **others)
        for told in (str(tmp_path), "arrays, got 10; first (", "an empty folder"):
            assert told in str(error.value)
    with pytest.raises(ValueError, match=r"first \(4,\), expected \(7,\)"):
        run(checkpoint=tmp_path, width=7)
