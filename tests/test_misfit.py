"""Stars that the emulator can't predict at all must not silence the alarm."""

import numpy as np
import pytest

from chemsbi_jax.diagnostics.misfit import misfit_test


@pytest.fixture
def residuals():
    rng = np.random.default_rng(5)
    return rng.normal(0, 0.05, (300, 8)), rng.normal(0, 0.05, (4000, 8))


@pytest.mark.parametrize(("n_lost", "shift", "is_flagged"), [
    (0, 0.0, False), (1, 0.0, False), (1, 0.05, True), (30, 0.0, True),
    (300, 0.0, True),
])  # fmt: skip
def test_stars_without_a_residual_are_counted(residuals, n_lost, shift, is_flagged):
    observed, expected = residuals
    observed = observed + shift
    observed[:n_lost] = np.nan
    result = misfit_test(observed, expected)
    assert result.is_flagged == is_flagged
    assert np.isfinite(result.p_value)


def test_model_stars_without_a_residual_are_left_out(residuals):
    observed, expected = residuals
    expected[:20] = np.nan
    observed[:2] = np.nan
    assert not misfit_test(observed, expected).is_flagged
