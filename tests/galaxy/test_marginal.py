"""The density of psi with the stars integrated out: its mode and its chains."""

import jax
import numpy as np
import pytest

from chemsbi_jax.constants import ABUNDANCES, SHARED_FACTORS
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical import runs as of_runs
from chemsbi_jax.galaxy.hierarchical import sampling
from chemsbi_jax.galaxy.hierarchical.chains import ChainSizes, run_chains
from chemsbi_jax.galaxy.hierarchical.marginal import (
    make_marginal_density,
    make_points,
)
from chemsbi_jax.galaxy.hierarchical.mode import PRIOR_SHARE, Mode, find_shared_mode
from chemsbi_jax.galaxy.hierarchical.place import look_at
from chemsbi_jax.galaxy.hierarchical.result import far_errors, far_population, to_result
from chemsbi_jax.galaxy.hierarchical.sampling import (
    LEAST_POINTS,
    MOST_POINTS,
    N_POINTS,
    by_nuts,
    distance_of_mode,
    enough_points,
    sample_psi,
)
from chemsbi_jax.galaxy.hierarchical.settings import ENOUGH_POINTS, FAR_MODE
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.tangent import tangents
from chemsbi_jax.galaxy.hierarchical.whitening import make_whitening
from helpers.shared_line import (
    CONSTANT,
    PRIOR,
    N,
    at_random,
    linear_model,
    linear_stars,
    log_normal,
    rows_of,
)


@pytest.fixture(scope="module")
def model():
    return linear_model()


@pytest.fixture(scope="module")
def stars(model):
    return linear_stars(model)


@pytest.fixture(scope="module")
def wide(stars):
    """The stars with errors for which many points count."""
    return stars._replace(errors=8.0 * stars.errors)


def density_of(model, stars, layout, key, n_points):
    """All stars of a linear model with points."""
    rows, _ = rows_of(stars, h.SharedErrors(outlier_share=0.0))
    n_psi = len(layout.scale)
    axes = make_whitening(np.zeros(n_psi), np.eye(n_psi))
    return make_marginal_density(rows, model, layout, make_points(key, n_points), axes)


def test_points_give_the_marginal_likelihoods(model, wide, key):
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    density = density_of(model, wide, layout, key, 16384)
    assert density.counts.size > N  # filled up to a length with a program
    assert density.counts.sum() == N
    for seed in (1, 2):
        psi = at_random(layout, seed, 0.2)
        expected = [log_normal(model, wide, i, psi, layout) for i in range(N)]
        each = jax.jit(density.of_stars)(psi)[:N]
        n_effective = jax.jit(density.effective_points)(psi)[:N]
        assert n_effective.min() > 30
        # better than random points
        assert np.sqrt(((each - np.array(expected)) ** 2 * n_effective).mean()) < 1.0
        total = jax.jit(density.value)(psi)
        alone = each.sum() - 0.5 * (psi**2).sum()
        np.testing.assert_allclose(total, alone, rtol=1e-5)


def test_points_with_shared_errors_of_iron(model, wide, key):
    """[X/H] in place of [X/Fe], as in `tangents`."""
    layout = make_layout(h.SharedErrors(outlier_share=0.0), SHARED_FACTORS)
    iron = ABUNDANCES.index("fe_h")
    errors = wide.errors.copy()
    errors[:, iron] *= np.sqrt(0.5)  # half of the variance of [X/Fe] is that of [Fe/H]
    shared = wide._replace(errors=errors, fe_covariance=errors[:, iron] ** 2)
    psi = at_random(layout, 1, 0.2)
    density = density_of(model, shared, layout, key, 16384)
    assert np.asarray(density.stars.over_h).any()
    each = jax.jit(density.of_stars)(psi)[:N]
    linear = tangents(*rows_of(shared), model, layout, psi).log_likelihood
    n_effective = jax.jit(density.effective_points)(psi)[:N]
    assert np.sqrt(((each - linear) ** 2 * n_effective).mean()) < 1.0


@pytest.mark.thorough
@pytest.mark.parametrize("power", [1.0, 0.2])
def test_mode_of_a_linear_model_is_that_of_least_squares(model, wide, key, power):
    """With all widths held, the posterior of psi is normal, and so are its powers."""
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    task = key, rows_of(wide)[0], model, layout
    found = find_shared_mode(*task, power=power)
    assert found.gain < 0.1
    before = look_at(*rows_of(wide), model, layout, np.zeros(len(found.psi)))
    prior = np.eye(len(found.psi))
    information = power * (np.linalg.inv(before.covariance) - prior)
    covariance = np.linalg.inv(prior + information)
    # one step of Fisher scoring from anywhere ends at the mode
    score = power * before.stars.score.sum(axis=0) - before.psi
    away = found.psi - before.psi - covariance @ score
    widths = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(away / widths, 0.0, atol=0.2)
    curved = np.sqrt(np.diag(found.covariance))
    np.testing.assert_allclose(curved / widths, 1.0, atol=0.15)
    for known in (covariance, 9.0 * prior, np.zeros_like(prior)):  # of its coordinates
        how = {"power": power, "with_curvature": False}
        other = find_shared_mode(*task, covariance=known, **how)
        np.testing.assert_allclose((other.psi - found.psi) / widths, 0.0, atol=0.2)
        assert other.value == pytest.approx(found.value, abs=0.1)
        expected = (1.0 - PRIOR_SHARE) * known + PRIOR_SHARE * prior
        np.testing.assert_allclose(other.covariance, expected, atol=1e-4)
    for known in (0.25 * covariance, 9.0 * prior):
        other = find_shared_mode(*task, covariance=known, power=power)
        curved = np.sqrt(np.diag(other.covariance))
        np.testing.assert_allclose(curved / widths, 1.0, atol=0.15)


@pytest.mark.thorough
@pytest.mark.parametrize("power", [1.0, 0.2])
def test_nuts_without_the_stars_finds_the_normal_posterior(model, wide, key, power):
    """All parameters of psi that the stars narrow, not only two."""
    key_mode, key_run = jax.random.split(key)
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    rows, local = rows_of(wide)
    mode = find_shared_mode(key_mode, rows, model, layout, power=power)
    prior = np.eye(len(mode.psi))
    whole = look_at(rows, local, model, layout, mode.psi).covariance
    information = power * (np.linalg.inv(whole) - prior)
    widths = np.sqrt(np.diag(np.linalg.inv(prior + information)))
    sizes = ChainSizes(2, 75, 200, 4, acceptance=0.8, first_step=0.3)
    task = rows, model, layout, np.zeros((50, len(mode.psi))), mode
    draws, checks = by_nuts(key_run, *task, power=power, sizes=sizes)
    assert checks["sampler"] == "nuts"
    assert checks["likelihood_power"] == power
    assert checks["effective_points"] > 10.0
    assert draws.shape == (2 * 200, len(mode.psi))
    away = (draws.mean(axis=0) - mode.psi) / widths
    # the curvature of the prior alone in most directions: 1 of its widths there
    np.testing.assert_allclose(away, 0.0, atol=0.45)
    np.testing.assert_allclose(draws.std(axis=0) / widths, 1.0, atol=0.3)


def anywhere(layout) -> Mode:
    """A mode that is none, at the middle of the prior."""
    n_psi = len(layout.scale)
    return Mode(np.zeros(n_psi), np.eye(n_psi), 0.0, 0.0)


def test_precise_stars_need_more_points(model, wide, key):
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    for factor, expected in ((4.0, LEAST_POINTS), (0.1, MOST_POINTS)):
        stars = wide._replace(errors=factor * wide.errors)
        density = density_of(model, stars, layout, key, N_POINTS)
        n_points, fewest = enough_points(density)
        assert n_points == expected
        assert (fewest >= ENOUGH_POINTS) == (factor > 1.0)


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_distance_of_the_mode_is_in_widths_of_the_interval(correlation):
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    covariance = 0.04 * np.array([[1.0, correlation], [correlation, 1.0]])
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(20_000, len(layout.scale)))
    draws[:, :2] = draws[:, :2] @ np.linalg.cholesky(covariance).T
    mode = anywhere(layout)
    mode.psi[:2] = (0.3, -0.3)
    away = mode.psi[:2]
    expected = np.sqrt(away @ np.linalg.solve(covariance, away))
    assert distance_of_mode(draws, mode) == pytest.approx(expected, rel=0.03)


@pytest.mark.thorough
def test_chains_that_do_not_converge_leave_the_network(model, wide, key):
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    rows, _ = rows_of(wide)
    of_network = 0.1 * np.random.default_rng(0).normal(size=(50, len(layout.scale)))
    sizes = ChainSizes(2, 2, 6, 1, first_step=1e-3)
    task = rows, model, layout, of_network, anywhere(layout)
    draws, checks = by_nuts(key, *task, sizes=sizes)
    assert checks["sampler"] == "network"
    assert not checks["r_hat"] < of_runs.LARGEST_R_HAT  # it may be no number
    assert draws is of_network


@pytest.mark.thorough
def test_chains_that_do_not_converge_or_have_few_draws_go_on(
    model, wide, key, monkeypatch
):
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    rows, _ = rows_of(wide)
    sizes, runs = ChainSizes(2, 2, 6, 1, first_step=1e-3), []

    def counted(*args):
        runs.append(args[5])
        return run_chains(*args)

    monkeypatch.setattr(sampling, "run_chains", counted)
    monkeypatch.setattr(of_runs, "MOST_APART", np.inf)
    for largest, enough, expected, n_kept in (
        (0.0, 1e-9, 3, 1),
        (np.inf, 1e-9, 2, 1),
        (np.inf, 100.0, 3, 2),
        (np.inf, 200.0, 5, 4),
    ):
        monkeypatch.setattr(of_runs, "LARGEST_R_HAT", largest)
        runs.clear()
        task = rows, model, layout, anywhere(layout)
        found = sample_psi(key, *task, enough=enough, sizes=sizes)
        assert len(runs) == expected
        assert found.psi.shape[1] == n_kept * sizes.n_draws
    points = runs[0]["points"].at
    assert points.shape[0] == sizes.n_chains
    assert (points[0] != points[1]).all()  # other random shifts


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        ({"sampler": "nuts", "r_hat": 1.02, "effective_points": 50.0}, ()),
        ({"sampler": "network", "r_hat": 1.31}, ("r-hat 1.31", "of the network")),
        ({"sampler": "network"}, ("did not converge; the interval",)),
        (
            {"sampler": "nuts", "r_hat": 1.0, "effective_points": 2.4},
            ("only 2 effective points",),
        ),
        ({"predictive_p": 0.01, "predictive_distance": 2.0}, ("p = 0.010",)),
        ({"mode_distance": FAR_MODE - 0.1}, ()),
        ({"mode_distance": 3.21}, ("3.2 widths", "--sampler nuts")),
        ({"sampler": "nuts", "r_hat": 1.0, "mode_distance": 3.2}, ()),
        ({"sampler": "network", "mode_distance": 3.21}, ("NUTS did not", "3.2 wid")),
        ({"mode_distance": np.nan}, ("nan widths",)),
        ({"far_population": {}}, ()),
        (
            {"far_population": {"mean_birth_time": -3.21}},
            ("mean_birth_time -3.2", "far off"),
        ),
        (
            {"far_population": {"mean_birth_time": -3.21}, "counted_stars": 18.5},
            ("mean_birth_time -3.2", "may be far off"),
        ),
        ({"sampler": "nuts", "r_hat": 1.0, "counted_stars": 18.5}, ()),
        ({"far_errors": {"scatter_mg_fe": 5.71}}, ("scatter_mg_fe +5.7 prior widths",)),
        ({"far_errors": {}}, ()),
        (
            {"sampler": "nuts", "n_effective": 64.0, "wanted_draws": 100},
            ("64 effective draws, fewer than 100", "errors of 0.12 widths"),
        ),
        ({"held_blocks": list(h.BLOCKS), "sampler": "nuts", "r_hat": 1.0}, ()),
        ({"held_blocks": list(h.BLOCKS)}, ("With all blocks held", "77 %")),
        ({"held_blocks": ["yields", "population", "outliers"]}, ("60 and 91 %",)),
    ],
)
def test_the_result_says_what_is_doubtful(checks, says):
    layout = make_layout(CONSTANT, SHARED_FACTORS)
    rng = np.random.default_rng(1)
    latents = rng.normal(size=(50, len(layout.scale)))
    full = {"converged": True, "predictive_p": 0.5} | checks
    found = to_result(latents, {}, full, layout, SHARED_FACTORS, PRIOR)
    text = " ".join(found.doubts())
    assert all(part in text for part in says)
    assert bool(text) == bool(says)


@pytest.mark.parametrize("held", [(), ("population",)])
def test_a_population_far_from_its_prior_is_named(held):
    layout = make_layout(h.SharedErrors(hold=held), SHARED_FACTORS)
    psi = np.zeros(len(layout.scale))
    psi[psi_names(SHARED_FACTORS).index("log_width_outflow_fraction")] = 3.6
    psi[psi_names(SHARED_FACTORS).index("mean_log10_sfe")] = -2.9
    expected = {} if held else {"log_width_outflow_fraction": pytest.approx(3.6)}
    assert far_population(psi, layout) == expected


def test_scatter_and_zero_points_far_from_their_prior_are_named():
    names = psi_names(SHARED_FACTORS)
    layout = make_layout(h.SharedErrors(), SHARED_FACTORS)
    psi = np.zeros(len(names))
    psi[names.index("scatter_mg_fe")] = 5.7
    psi[names.index("zero_point_o_fe")] = -3.1
    psi[names.index("zero_point_si_fe")] = 2.9
    psi[names.index("mean_log10_sfe")] = 4.0
    expected = {"zero_point_o_fe": -3.1, "scatter_mg_fe": 5.7}
    assert far_errors(psi, layout, SHARED_FACTORS) == pytest.approx(expected)
