"""experiments/check_comparison.py: brute force against a closed form, and its table."""

from dataclasses import replace

import numpy as np
import pytest
from common import recovery
from common.brute_force import GRID_STEP, _likelihood, grid_error
from common.guides import against_flow, flow_line
from scipy.special import logsumexp
from scipy.stats import norm

import chemsbi_jax as cs
from chemsbi_jax.galaxy.any_yields import YieldModel
from chemsbi_jax.galaxy.exact.prior_flow import without_proposals
from chemsbi_jax.galaxy.grid import (
    GRID_WIDTH,
    N_GRID,
    GridPosterior,
    moments_on_grid,
)
from chemsbi_jax.galaxy.networks import Networks
from helpers import linear_galaxy
from helpers.paths import load_script

N_DRAWS, SIGMA, WIDTH = 200_000, 0.05, 0.3


@pytest.fixture
def likelihood():
    """Two stars with one reading each, of a model that is Gaussian around zero."""
    random = np.random.default_rng(0)
    made = WIDTH * random.normal(size=(N_DRAWS, 8))
    made[::4] = np.nan  # outside the model: a quarter of the prior makes no star
    values = np.array([0.1, -0.4])
    table = np.full((2, 8), np.nan)
    table[:, 1] = values
    seen = np.isfinite(table)
    stars = cs.Stars.complete(table, SIGMA)._replace(observed=seen)
    return _likelihood(made, stars), values


def test_the_mean_likelihood_is_the_closed_form(likelihood):
    found, values = likelihood
    expected = norm.logpdf(values, 0.0, np.hypot(WIDTH, SIGMA)).sum()
    expected += 2.0 * np.log(0.75)
    assert abs(found.value - found.bias - expected) < 4.0 * found.error
    assert 1e-3 < found.error < 0.02


def test_the_error_is_that_of_the_shared_draws(likelihood):
    found, values = likelihood
    # the variance of one weight over its squared mean, for each of the two stars
    square = norm.pdf(values, 0.0, np.hypot(WIDTH, SIGMA / np.sqrt(2.0)))
    square *= 0.75 / (2.0 * np.sqrt(np.pi) * SIGMA)
    mean = 0.75 * norm.pdf(values, 0.0, np.hypot(WIDTH, SIGMA))
    variances = (square / mean**2 - 1.0) / N_DRAWS
    assert found.effective == pytest.approx(1.0 / variances.max(), rel=0.1)
    assert found.bias == pytest.approx(-0.5 * variances.sum(), rel=0.1)
    # no draw is near both stars: each weighs nothing, -1, where the other one counts
    assert found.error**2 == pytest.approx(variances.sum() - 2.0 / N_DRAWS, rel=0.1)


def test_the_error_of_the_grid_is_that_of_the_sum_over_its_points():
    # a Gaussian: the sum of the nine densities in closed form
    centre = np.array([0.5, -0.2])
    root = np.array([[0.3, 0.0], [0.2, 0.1]])
    one = GRID_STEP * norm.pdf(GRID_STEP * np.arange(-1, 2)).sum()
    found = grid_error(_shape(lambda x: norm.logpdf(x).sum(axis=-1), centre, root))
    assert found == pytest.approx(2.0 * np.log(one), abs=2e-3)
    # two peaks at 2 sigma of each: neither is near a point of the grid
    peaks = _shape(
        lambda x: (
            np.logaddexp(*(norm.logpdf(x[..., 0], m, 0.5) for m in (-2.0, 2.0)))
            + norm.logpdf(x[..., 1])
        ),
        centre,
        root,
    )
    assert abs(grid_error(peaks)) > 0.1


def _shape(log_density, centre, root) -> GridPosterior:
    """A density, in grid units, as the exact method returns it."""
    axis = np.linspace(-GRID_WIDTH, GRID_WIDTH, N_GRID)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    weights = log_density(points)
    weights = weights - logsumexp(weights)
    mean, covariance = moments_on_grid(weights, axis)
    moved = centre + root @ mean
    return GridPosterior(moved, root @ covariance @ root.T, centre, root, weights)


def test_table_of_the_recovery():
    script = load_script("check_comparison")
    rows = [
        _row("a", {"a": 5.0, "b": 3.0, "c": -np.inf}),
        _row("a", {"a": 1.0, "b": 2.5, "c": 0.0}),
        _row("b", {"a": 1.0, "b": 9.0, "c": 4.0}),
    ]
    text = "\n".join(script.recovery_table(rows))
    assert "| a | 1 of 2 | 0.2 | -1.5 | b (2) |" in text
    assert "| b | 1 of 1 | 5.0 | 5.0 | c (1) |" in text
    assert "2 of 3 (66.7%)" in text
    # 0.88 of two sets, 0.77 and 0.99 of three: exp(ln Z) over their sum
    assert "Expected from the probabilities of the sets: 88.0%" in text
    # set c of the first galaxy has no posterior: no difference
    assert "Fitted: 9 of 9 pairs" in text
    assert "median -0.5, -0.5 to -0.5 nat" in text


def test_a_set_that_is_not_fitted_counts_with_its_rough_evidence():
    script = load_script("check_comparison")
    row = _row("a", {"a": 5.0, "b": 3.0, "c": -np.inf})
    row["is_fitted"]["c"] = False
    row["rough"]["c"] = 4.0  # closer than b, which is fitted
    text = "\n".join(script.recovery_table([row]))
    assert "| a | 1 of 1 | 1.0 | 1.0 | c (1) |" in text
    assert "Fitted: 2 of 3 pairs" in text


def test_the_script_runs_without_any_brute_force(tmp_path):
    script = load_script("check_comparison")
    config = script.Config(tmp_path, sets="tng", n_galaxies=0, quiet=True)
    assert script.main(config)["brute"] == []
    with pytest.raises(cs.InputError, match="Expected --n-brute from 1"):
        script.main(replace(config, n_brute=(10, 0)))


def _row(true: str, ln_z: dict[str, float]) -> dict:
    """One galaxy for which all sets were fitted; Laplace's values are 0.5 less."""
    rough = {name: value - 0.5 for name, value in ln_z.items()}
    best = max(ln_z, key=lambda name: ln_z[name])
    fitted = dict.fromkeys(ln_z, True)
    return {"true": true, "best": best, "ln_z": ln_z, "rough": rough,
            "is_fitted": fitted}  # fmt: skip


@pytest.fixture(scope="module")
def linear():
    """A set whose network is exact."""
    return YieldModel("linear", linear_galaxy.networks(), cs.ABUNDANCES, "", {})


@pytest.mark.thorough
def test_the_exact_method_without_its_network_agrees(linear, key):
    row = against_flow(key, linear, linear_galaxy.make_stars(20), 2)
    assert np.abs(row["shift"]).max() < 0.1
    np.testing.assert_allclose(row["width"], 1.0, atol=0.05)
    assert 0.0 < row["scatter"].max() < 0.1
    assert "linear, 20 stars: `exact` without the network minus" in flow_line(row)


def test_a_set_without_a_network_is_refused(linear, key):
    npe, forward = linear.networks
    blind = linear._replace(networks=Networks(without_proposals(npe), forward))
    with pytest.raises(cs.InputError, match="Leave out --flow"):
        against_flow(key, blind, linear_galaxy.make_stars(20), 2)


def test_only_sets_within_the_margin_are_fitted():
    rough = {"best": 0.0, "near": -50.0, "far": -50.1, "none": -np.inf}
    expected = {"best": True, "near": True, "far": False, "none": False}
    assert recovery.within_margin(rough, 50.0) == expected


def test_the_best_set_has_the_largest_finite_evidence():
    assert recovery.best_of({"a": -3.0, "b": 2.0, "c": -np.inf}) == "b"
    assert recovery.best_of({"a": -np.inf, "b": -np.inf}) == ""
