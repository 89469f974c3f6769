"""The misfit test: few false alarms, and it fires where it must."""

import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.diagnostics.misfit import misfit_test, star_residuals

N_REFERENCE = 2000


def residuals(rng, n, shift=0.0, scale=1.0):
    mix = np.linalg.cholesky(0.5 * np.eye(8) + 0.5)
    return 0.05 * scale * rng.normal(size=(n, 8)) @ mix.T + shift


@pytest.mark.parametrize("n", [1, 10, 100, 1000])
def test_few_false_alarms(n):
    rng = np.random.default_rng(n)
    alarms = [
        misfit_test(residuals(rng, n), residuals(rng, N_REFERENCE)).is_flagged
        for _ in range(200)
    ]
    # 1 % is asked for, 5 % is the limit
    assert np.mean(alarms) <= 0.05


CASES = {
    "offset": {"shift": np.eye(8)[2] * 0.03},
    "scatter": {"scale": 1.2},
    "too quiet": {"scale": 0.8},
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_fires(case):
    rng = np.random.default_rng(5)
    fired = [
        misfit_test(residuals(rng, 200, **case), residuals(rng, N_REFERENCE)).is_flagged
        for _ in range(20)
    ]
    assert np.mean(fired) >= 0.95


def test_overestimated_errors_are_told_from_a_model_that_does_not_fit():
    rng = np.random.default_rng(9)
    reference = residuals(rng, N_REFERENCE)
    quiet = misfit_test(residuals(rng, 200, scale=0.8), reference)
    assert "their errors are overestimated" in quiet.text
    assert "does not explain" not in quiet.text
    # the ratio is that of the scatter itself; its error is 0.8 / sqrt(2 * 200 * 8)
    ratio = float(quiet.text.split(" times the scatter")[0].split()[-1])
    assert ratio == pytest.approx(0.8, abs=0.05)
    both = residuals(rng, 200, np.eye(8)[2] * 0.03, 0.8)
    for other in (residuals(rng, 200, scale=1.2), both):
        assert "does not explain" in misfit_test(other, reference).text


def test_names_the_culprit():
    rng = np.random.default_rng(6)
    shift = np.eye(8)[7] * 0.05
    result = misfit_test(residuals(rng, 300, shift), residuals(rng, N_REFERENCE))
    assert "si_fe" in result.text.split(",")[0]
    assert result.mean_residual[7] == pytest.approx(0.05, abs=0.015)


def test_stars_outside_the_model_raise_the_alarm():
    rng = np.random.default_rng(7)
    observed = residuals(rng, 100)
    observed[:5] = np.nan
    result = misfit_test(observed, residuals(rng, N_REFERENCE))
    assert result.is_flagged
    assert "5 stars outside" in result.text
    assert misfit_test(np.full((3, 8), np.nan), residuals(rng, 100)).is_flagged


def test_residual_is_nan_only_without_any_prediction():
    def forward(theta):
        return jnp.where(theta[..., :1] > 0, jnp.ones(8), jnp.nan)

    draws = jnp.array([[[1.0], [-1.0]], [[-1.0], [-1.0]]])
    found = np.asarray(star_residuals(jnp.full((2, 8), 1.5), draws, forward))
    np.testing.assert_allclose(found[0], 0.5)
    assert np.isnan(found[1]).all()


def test_parameters_outside_the_model_raise_the_alarm():
    rng = np.random.default_rng(8)
    result = misfit_test(residuals(rng, 50), np.empty((0, 8)))
    assert result.is_flagged
    assert result.p_value == 0.0
    assert "outside its range" in result.text
