"""Tables of which many stars are unexplained: told without further intervals."""

import numpy as np
import pytest

import chemsbi_jax as cs

EVERY = 3


def test_many_unexplained_stars_end_the_checks_early(networks, stars):
    """A third has a value of no star, and the others are shifted so that none fits."""
    values = stars.values.copy()
    values[::EVERY, 3] += 15.0
    values[:, 1] += 0.25 * np.where(np.arange(len(values)) % 2, 1.0, -1.0)
    bad = stars._replace(values=values)
    result = cs.infer(bad, networks=networks, seed=3, quiet=True)
    checks = result.checks
    assert len(checks.left_out) == len(values[::EVERY])
    assert checks.left_out_share == pytest.approx(1 / EVERY)
    assert checks.model_fit.flagged
    assert checks.robust is None
    assert checks.leave_out is None
    (told,) = [text for text in result.warnings if "33% of the stars" in text]
    assert "percent, variances" in told
    assert result.verdict.level == "red"
    assert "No parameters explain 33% of the stars" in result.verdict.reason


@pytest.mark.thorough
def test_robust_stays_out_where_it_is_not_wanted(networks, stars):
    """As where there is an interval with shared errors: its limit is 0 then."""
    values = stars.values.copy()
    values[:, 1] += 0.25 * np.where(np.arange(len(values)) % 2, 1.0, -1.0)
    bad = stars._replace(values=values)
    robust = {}
    for n in (0, 10):
        limits = cs.Limits(n_robust=n)
        found = cs.infer(bad, networks=networks, seed=3, limits=limits, quiet=True)
        assert found.checks.model_fit.flagged
        robust[n] = found.checks.robust
    assert robust[0] is None
    assert robust[10]["n_stars"] == 10
