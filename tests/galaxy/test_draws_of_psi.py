"""Checks, pooling and width budget of the NUTS draws of psi."""

import functools

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical.runs import (
    LARGEST_R_HAT,
    MOST_APART,
    PsiChains,
    convergence,
    most_apart,
    most_runs,
    pool_runs,
)
from chemsbi_jax.galaxy.hierarchical.sampling import budget_of_draws
from chemsbi_jax.galaxy.hierarchical.shared import make_layout

N_CHAINS, N_DRAWS, N_PSI = 4, 200, 3


def measured(psi: np.ndarray, n_divergent: int = 0) -> PsiChains:
    return PsiChains(psi, *convergence(psi), n_divergent, 256, 20.0)


def run_around(rng, centre: float = 0.0, n_divergent: int = 0) -> PsiChains:
    """Independent normal draws of all chains."""
    psi = centre + rng.normal(size=(N_CHAINS, N_DRAWS, N_PSI))
    return measured(psi, n_divergent)


def drifting(rng) -> PsiChains:
    """Chains that move by three widths."""
    drift = np.linspace(0.0, 3.0, N_DRAWS)[:, None]
    return measured(run_around(rng).psi + drift)


def test_two_runs_that_agree_are_pooled():
    rng = np.random.default_rng(0)
    first, second = run_around(rng, n_divergent=1), run_around(rng, n_divergent=2)
    found = pool_runs(first, second)
    assert found.psi.shape == (N_CHAINS, 2 * N_DRAWS, N_PSI)
    np.testing.assert_array_equal(found.psi[:, :N_DRAWS], first.psi)
    np.testing.assert_array_equal(found.psi[:, N_DRAWS:], second.psi)
    assert found.n_effective > 1.5 * max(first.n_effective, second.n_effective)
    assert (found.n_divergent, found.n_runs) == (3, 2)
    assert found.is_converged


def test_more_than_two_runs_are_pooled():
    rng = np.random.default_rng(6)
    runs = [run_around(rng) for _ in range(4)]
    found = functools.reduce(pool_runs, runs)
    assert (found.psi.shape, found.n_runs) == ((N_CHAINS, 4 * N_DRAWS, N_PSI), 4)
    assert found.n_effective > 3.0 * runs[0].n_effective
    assert found.is_converged
    assert not pool_runs(found, run_around(rng, 0.5)).is_converged
    # a difference that was found stays
    first = pool_runs(run_around(rng), run_around(rng, 0.08))
    assert first.is_converged
    assert pool_runs(first, run_around(rng, 0.04)).apart >= first.apart


def slow_run(rng) -> PsiChains:
    """Stationary chains with about 70 effective draws in all."""
    memory, psi = 0.84, rng.normal(size=(N_CHAINS, N_DRAWS, N_PSI))
    for i in range(1, N_DRAWS):
        psi[:, i] = memory * psi[:, i - 1] + np.sqrt(1.0 - memory**2) * psi[:, i]
    return measured(psi)


def test_short_runs_of_right_chains_reach_many_effective_draws():
    rng, enough = np.random.default_rng(8), 400
    reached = []
    for _ in range(30):
        found = slow_run(rng)
        for _ in range(most_runs(enough) - 1):
            found = pool_runs(found, slow_run(rng))
        reached.append(found.n_effective >= enough and found.is_converged)
    assert np.mean(reached) > 0.7


def test_the_limit_of_the_difference_grows_with_the_number_of_runs():
    assert most_apart(1) == pytest.approx(MOST_APART)
    rng = np.random.default_rng(9)
    largest = np.abs(rng.normal(size=(20_000, 7))).max(axis=1)
    one = np.abs(rng.normal(size=20_000))
    expected = np.mean(one > MOST_APART)
    assert np.mean(largest > most_apart(7)) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize(
    ("effective_draws", "expected"), [(1, 2), (100, 2), (101, 3), (400, 8)]
)
def test_how_many_runs_are_allowed(effective_draws, expected):
    assert most_runs(effective_draws) == expected


@pytest.mark.parametrize("bad", ["NaN", "drift", "chains that differ"])
def test_only_the_second_run_counts_if_the_first_did_not_converge(bad):
    rng = np.random.default_rng(1)
    first, second = run_around(rng), run_around(rng)
    offset = 0.6 * np.arange(N_CHAINS)[:, None, None]
    first = {
        "NaN": measured(np.full_like(first.psi, np.nan)),
        "drift": drifting(rng),
        "chains that differ": measured(first.psi + offset),
    }[bad]
    assert not first.is_converged
    assert pool_runs(first, second) is second


def test_a_second_run_elsewhere_is_no_convergence():
    rng = np.random.default_rng(2)
    first, far = run_around(rng), run_around(rng, 3.0)
    found = pool_runs(first, far)
    assert far.is_converged
    assert found.r_hat > LARGEST_R_HAT
    assert not found.is_converged


def test_a_difference_that_r_hat_does_not_show_is_no_convergence():
    rng = np.random.default_rng(3)
    found = pool_runs(run_around(rng), run_around(rng, 0.5))
    assert found.r_hat < LARGEST_R_HAT
    assert found.apart > MOST_APART
    assert not found.is_converged


def test_runs_of_one_distribution_are_apart_by_chance_alone():
    rng = np.random.default_rng(4)
    apart = [pool_runs(run_around(rng), run_around(rng)).apart for _ in range(200)]
    # the larger of two normals: median 1.05, whose standard error is 0.05, above 3 in
    # 0.5 % (six of 200 have a probability below 0.1 %); the errors come from estimated
    # effective draws, which are off by 10 %
    assert np.median(apart) == pytest.approx(1.05, abs=0.25)
    assert np.mean(np.greater(apart, MOST_APART)) < 0.03


def test_a_second_run_that_drifts_is_no_convergence():
    rng = np.random.default_rng(5)
    assert not pool_runs(run_around(rng), drifting(rng)).is_converged


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
