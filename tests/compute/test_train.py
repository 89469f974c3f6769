"""The one training loop: closed form, early stopping, the best parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from chemsbi_jax.compute.train import FitConfig, fit
from chemsbi_jax.errors import ConvergenceError
from helpers.regression import N_EPOCHS, assert_same_bits, regression, run, towards_one


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
        optimizer=optax.sgd(0.2),  # 0.58, 0.75, 0.85, then above 0.9
        draw=lambda key, data: data,
        loss=lambda w, batch, data: jnp.where(w > 0.9, jnp.nan, (w - batch) ** 2),
        data=jnp.asarray(1.0),
        held_out=jnp.asarray(0.8),
        config=FitConfig(n_epochs=6, steps_per_epoch=1, patience=2),
        quiet=True,
    )
    assert np.isnan(result.held_out_loss).any()
    assert float(result.params) == pytest.approx(0.849, abs=0.001)


def test_a_loss_that_is_never_finite_has_no_result():
    """The untrained parameters would pass for trained ones."""
    with pytest.raises(ConvergenceError, match=r"none in 2 epochs.*learning rate"):
        run(
            FitConfig(2, 5),
            loss=lambda params, batch, data: params["w"].sum() * jnp.nan,
        )
