"""Checks, pooling and width budget of the NUTS draws of psi."""

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical.sampling import (
    LARGEST_R_HAT,
    PsiChains,
    _convergence,
    budget_of_draws,
    pool_runs,
)
from chemsbi_jax.galaxy.hierarchical.shared import make_layout

N_CHAINS, N_DRAWS, N_PSI = 4, 200, 3


def run_around(rng, centre: float = 0.0, n_divergent: int = 0) -> PsiChains:
    """Independent normal draws of all chains."""
    psi = centre + rng.normal(size=(N_CHAINS, N_DRAWS, N_PSI))
    return PsiChains(psi, *_convergence(psi), n_divergent, 256, 20.0)


def test_two_runs_that_agree_are_pooled():
    rng = np.random.default_rng(0)
    before, last = run_around(rng, n_divergent=1), run_around(rng, n_divergent=2)
    found = pool_runs(before, last)
    assert found.psi.shape == (N_CHAINS, 2 * N_DRAWS, N_PSI)
    np.testing.assert_array_equal(found.psi[:, :N_DRAWS], before.psi)
    np.testing.assert_array_equal(found.psi[:, N_DRAWS:], last.psi)
    assert found.n_effective > 1.5 * max(before.n_effective, last.n_effective)
    assert found.n_divergent == 3
    assert found.is_converged


@pytest.mark.parametrize("centre", [3.0, np.nan])
def test_a_run_that_was_on_its_way_does_not_count(centre):
    rng = np.random.default_rng(1)
    before, last = run_around(rng, centre), run_around(rng)
    assert pool_runs(before, last) is last


def test_a_run_whose_chains_differ_does_not_count():
    rng = np.random.default_rng(2)
    before, last = run_around(rng), run_around(rng)
    psi = before.psi + 0.6 * np.arange(N_CHAINS)[:, None, None]
    before = before._replace(psi=psi, r_hat=_convergence(psi)[0])
    assert before.r_hat > LARGEST_R_HAT
    assert pool_runs(before, last) is last


def test_the_budget_of_normal_draws_has_a_closed_form():
    settings = h.SharedErrors(hold=("scatter",))
    layout = make_layout(settings, SHARED_FACTORS)
    at, n = layout.slices(), 20_000
    draws = np.random.default_rng(4).normal(size=(n, len(layout.scale)))
    zero, scatter = at["zero_points"].start, at["scatter"]
    draws[:, 0] += 0.75 * draws[:, zero]  # var 1.5625, of which 0.5625 is the block's
    draws[:, 1] += 2.0 * draws[:, scatter.start]  # held: it can't be the cause
    found = budget_of_draws(draws, layout, n)
    assert list(found) == [*h.BLOCKS, "all"]
    assert found["zero_points"]["alpha_imf"] == pytest.approx(0.2, abs=0.01)
    assert found["all"]["alpha_imf"] == pytest.approx(0.2, abs=0.01)
    assert found["population"]["alpha_imf"] == pytest.approx(0.0, abs=0.002)
    assert found["scatter"] == dict.fromkeys(cs.PARAMETERS[:2], 0.0)
    assert found["all"]["log10_n_ia"] == pytest.approx(0.0, abs=0.002)


def test_few_draws_do_not_explain_the_width():
    layout = make_layout(h.SharedErrors(), SHARED_FACTORS)
    draws = np.random.default_rng(5).normal(size=(40, 100, len(layout.scale)))
    each = [budget_of_draws(x, layout, 100)["all"]["alpha_imf"] for x in draws]
    assert np.mean(each) < 0.08  # 0.23 without the correction
