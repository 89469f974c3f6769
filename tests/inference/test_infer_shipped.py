"""`infer` with shipped networks: a misfit, and a table of neon alone."""

import numpy as np
import pytest

import chemsbi_jax as cs
from helpers.paths import EXAMPLE


@pytest.fixture(scope="module")
def misfit_result():
    """Thirty stars with too much magnesium: no parameters of the model make them."""
    stars = cs.read_stars(EXAMPLE).take(slice(30))
    odd = stars._replace(values=stars.values + 0.2 * np.eye(8)[3])
    return cs.infer(
        odd, seed=3, shared_errors=False, quiet=True, limits=cs.Limits(n_robust=10)
    )


@pytest.mark.slow
def test_alarm_names_the_culprit(misfit_result):
    assert misfit_result.checks.model_fit.flagged
    assert misfit_result.posterior.method == "exact"
    assert misfit_result.posterior.checks["at_rest"]
    assert "mg_fe" in misfit_result.checks.model_fit.text
    assert misfit_result.warnings
    assert "robust, 10 stars" in misfit_result.others


@pytest.mark.slow
def test_leaving_out_the_culprit_moves_the_result(misfit_result):
    shifts = misfit_result.checks.leave_out.shift_sigma
    assert set(shifts) == set(cs.ABUNDANCES)
    assert np.abs(shifts["mg_fe"]).max() > 2.0
    # silicon and iron agree with the others, and hardly move it
    assert np.abs(shifts["si_fe"]).max() < 2.0


@pytest.fixture(scope="module")
def neon():
    """Thirty stars with next to no information."""
    stars = cs.read_stars(EXAMPLE).take(slice(30))
    is_neon = np.eye(8, dtype=bool)[5]
    # as noisy as the errors say, or the alarm fires
    noise = np.random.default_rng(0).normal(0.0, 0.3, (30, 1))
    return stars._replace(
        values=np.where(is_neon, stars.values + noise, np.nan),
        errors=np.where(is_neon, 0.3, np.nan * stars.values),
        observed=np.broadcast_to(is_neon, (30, 8)),
    )


@pytest.mark.slow
def test_a_table_of_neon_alone_gives_a_network_the_prior(neon):
    found = cs.infer(neon, method="flow", shared_errors=False, quiet=True)
    assert (found.n_stars, found.n_used) == (30, 0)
    assert any("this is the prior" in text for text in found.warnings)
    assert found.verdict.level == "red"
    # stars of the model at the prior's mean are no reference for these
    assert "not tested" in found.checks.model_fit.text
    assert found.summary()["checks"]["model_fit"]["p_value"] is None
    assert not any("does not explain" in text for text in found.warnings)
    assert found.posterior.sd[0] == pytest.approx(0.3, rel=0.05)


@pytest.mark.slow
def test_the_exact_method_uses_the_information_of_neon(neon):
    found = cs.infer(neon, shared_errors=False, quiet=True)
    assert (found.posterior.method, found.n_used) == ("exact", 30)
    # wide posteriors converge, too, and are no narrower than thirty such stars allow
    assert found.posterior.checks["at_rest"]
    assert 0.15 < found.posterior.sd[0] < 0.3
    # the stars' own galaxy, at (-2.1, -2.6), is not left behind
    assert abs(found.posterior.mean[0] + 2.1) < 2.5 * found.posterior.sd[0]
