"""The misfit test of stars of the model itself, with few of them to compare with."""

import numpy as np
import pytest

from chemsbi_jax.diagnostics.misfit import FEWEST, _without_own, misfit_test

N_TRIALS = 200
MOST = 8  # alarms: P(more) is 1e-3 at a rate of 1 % or below


def names(n):
    return tuple(f"x{i}" for i in range(n))


@pytest.mark.parametrize(
    ("n_columns", "n", "n_model"),
    [(8, 256, 512), (15, 500, 500), (15, 2000, 500), (8, 2000, 2000)],
)
def test_the_rate_of_false_alarms(n_columns, n, n_model):
    draw = np.random.default_rng(n_columns + n)
    alarms = 0
    for _ in range(N_TRIALS):
        stars, model = (draw.normal(size=(m, n_columns)) for m in (n, n_model))
        alarms += misfit_test(stars, model, abundances=names(n_columns)).is_flagged
    assert alarms <= MOST


@pytest.mark.parametrize(("rare", "n_rare"), [(1, 1), (2, 1), (1, 2), (2, 2), (10, 2)])
def test_abundances_that_few_stars_have_raise_no_alarm(rare, n_rare):
    draw = np.random.default_rng(10 * rare + n_rare)
    alarms = 0
    for _ in range(N_TRIALS):
        seen = np.ones((400, 6), bool)
        seen[rare:, -n_rare:] = False
        rows = draw.integers(len(seen), size=1000)
        stars = np.where(seen, draw.normal(size=seen.shape), np.nan)
        model = np.where(seen[rows], draw.normal(size=(1000, 6)), np.nan)
        alarms += misfit_test(stars, model, abundances=names(6)).is_flagged
    assert alarms <= MOST


def test_a_rare_abundance_does_not_hide_a_misfit():
    draw = np.random.default_rng(0)
    seen = np.ones((400, 6), bool)
    seen[2:, -1] = False
    stars = np.where(seen, draw.normal(size=seen.shape) + 0.3, np.nan)
    rows = draw.integers(len(seen), size=1000)
    model = np.where(seen[rows], draw.normal(size=(1000, 6)), np.nan)
    assert misfit_test(stars, model, abundances=names(6)).is_flagged


def test_nothing_is_tested_where_each_abundance_is_rare():
    draw = np.random.default_rng(0)
    model = np.full((400, 8), np.nan)
    rows = np.arange(8 * (FEWEST - 1))
    model[rows, rows % 8] = draw.normal(size=len(rows))
    found = misfit_test(draw.normal(size=(5, 8)), model, abundances=names(8))
    assert not found.is_flagged
    assert "was not tested" in found.text
    # stars outside the model still count
    beyond = np.full((20, 8), np.nan)
    assert misfit_test(np.vstack([model[:5], beyond]), model).is_flagged


def test_lengths_without_the_stars_own_share():
    stars = np.random.default_rng(1).normal(size=(40, 5))
    rest = stars - stars.mean(axis=0)
    precision = np.linalg.inv(np.cov(stars, rowvar=False))
    found = _without_own(np.einsum("ni,ij,nj->n", rest, precision, rest))
    for i, star in enumerate(stars):
        others = np.delete(stars, i, axis=0)
        away = star - others.mean(axis=0)
        expected = away @ np.linalg.solve(np.cov(others, rowvar=False), away)
        assert found[i] == pytest.approx(expected, rel=1e-9)
