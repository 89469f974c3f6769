"""Figures: what they show is what they were given."""

import re

import numpy as np
import pytest

from chemsbi_jax import plots
from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.plots.corner import mass_levels
from chemsbi_jax.plots.style import (
    MASS_1_2_3_SIGMA,
    ellipse,
    label,
)
from helpers.made_up_figures import (
    BANDS,
    COVARIANCE,
    LEVELS,
    MEAN,
    N_STARS,
    PRIOR,
    SDS,
    SPREAD,
    gaussian,
    made_up_stars,
    texts,
    theta_draws,
)


@pytest.mark.parametrize("n_sigma", [1, 2, 3])
def test_ellipse_honours_the_covariance(n_sigma):
    points = ellipse(MEAN, COVARIANCE, n_sigma) - MEAN[:, None]
    inverse = np.linalg.inv(COVARIANCE)
    distance = np.sqrt(np.einsum("ip,ij,jp->p", points, inverse, points))
    np.testing.assert_allclose(distance, n_sigma, rtol=1e-9)
    mass = 1 - np.exp(-0.5 * n_sigma**2)
    assert MASS_1_2_3_SIGMA[n_sigma - 1] == pytest.approx(mass, abs=1e-3)


def test_galaxy_draws_the_three_ellipses():
    ax = plots.plot_galaxy(gaussian("flow")).axes
    main = next(a for a in ax if a.get_xlabel() == label("alpha_imf"))
    lines = [line.get_xydata().T for line in main.lines if len(line.get_xdata()) > 1]
    assert len(lines) == 3
    for n_sigma, line in zip((1, 2, 3), lines, strict=True):
        np.testing.assert_allclose(line, ellipse(MEAN, COVARIANCE, n_sigma))
    np.testing.assert_array_equal(
        main.collections[0].get_offsets(), gaussian("flow").draws
    )


@pytest.mark.parametrize("truth", [(-2.3, -2.89), (-2.0, -3.5)])
def test_galaxy_shows_the_truth_however_far(truth):
    fig = plots.plot_galaxy(gaussian("flow"), truth)
    main = next(a for a in fig.axes if a.get_xlabel())
    (low, high), (bottom, top) = main.get_xlim(), main.get_ylim()
    assert low < truth[0] < high
    assert bottom < truth[1] < top


def test_galaxy_legend_names_what_is_seen():
    narrow = texts(plots.plot_galaxy(gaussian("flow"), prior=PRIOR))
    assert "prior" not in narrow  # 0.3 wide around a view of 0.1
    assert r"-2.3060 \pm 0.0084" in narrow
    wide = texts(plots.plot_galaxy(gaussian("flow", scale=20), prior=PRIOR))
    assert "prior" in wide
    assert r"-2.31 \pm 0.17" in wide
    both = plots.plot_galaxy(gaussian("flow"), others={"NUTS": gaussian("nuts")})
    assert "NUTS" in texts(both)


def test_galaxy_has_a_heading_where_one_is_given():
    heading = "First interval"
    assert heading not in texts(plots.plot_galaxy(gaussian("flow")))
    assert heading in texts(plots.plot_galaxy(gaussian("flow"), heading=heading))


def test_convergence_has_pulls_and_guide():
    fig = plots.plot_convergence(N_STARS, MEAN + 2 * SDS, SDS, MEAN)
    assert len(fig.axes) == 6
    pulls = [line for line in fig.axes[2].lines if len(line.get_xdata()) == 4]
    np.testing.assert_allclose(pulls[0].get_ydata(), 2.0)
    width, guide = fig.axes[4].lines
    np.testing.assert_allclose(width.get_ydata(), SDS[:, 0])
    np.testing.assert_allclose(guide.get_ydata(), SDS[:, 0])
    assert len(plots.plot_convergence(N_STARS, MEAN + SDS, SDS).axes) == 4


def test_contour_levels_hold_their_mass():
    grid = np.linspace(-6, 6, 400)
    density = np.exp(-0.5 * (grid[:, None] ** 2 + grid**2))
    levels = mass_levels(density, MASS_1_2_3_SIGMA)
    np.testing.assert_allclose(levels[::-1], np.exp([-0.5, -2, -4.5]), rtol=0.02)


@pytest.mark.usefixtures("unchecked")
def test_corner_checks_its_shape():
    with pytest.raises(ValueError, match=r"draws \(draw, 6\); got \(600, 5\)"):
        plots.plot_corner(theta_draws()[:, :5], PARAMETERS)


def test_corner_of_constant_draws(tmp_path):
    fig = plots.plot_corner(np.ones((50, 2)), PARAMETERS[:2])
    plots.save_figure(fig, tmp_path / "corner.png")


def test_predictive_shows_what_is_observed_and_names_the_rest():
    stars = made_up_stars(3000)
    predicted = np.random.default_rng(5).normal(size=(20, 3000, 8)) * SPREAD
    predicted[..., ABUNDANCES.index("mg_fe")] += 0.5
    figure = plots.plot_predictive(stars, predicted)
    found = texts(figure)
    assert found.count("not observed: [Ne/Fe]") == 1
    assert sum(ax.get_visible() for ax in figure.axes) == 2 * 7
    offsets = [float(x) for x in re.findall(r"mean offset \$(.*)\$ dex", found)]
    np.testing.assert_allclose(offsets, [0, 0, 0, -0.5, 0, 0, 0], atol=0.02)


def test_predictive_residuals_find_a_wrong_model():
    stars = made_up_stars(1000)
    random = np.random.default_rng(6)

    def worst(shift):
        predicted = random.normal(size=(50, 1000, 8)) * SPREAD + shift
        fig = plots.plot_predictive(stars, predicted)
        points = [ax.lines[-1].get_ydata() for ax in fig.axes if "Δ" in ax.get_ylabel()
                  or r"\Delta" in ax.get_ylabel()]  # fmt: skip
        return max(np.abs(y).max() for y in points)

    assert worst(0.0) < 4.5
    assert worst(0.1) > 5


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(20, 299, 8), (300, 7), (300,)])
def test_predictive_checks_its_shape(shape):
    with pytest.raises(ValueError, match="Expected predict"):
        plots.plot_predictive(made_up_stars(), np.zeros(shape))


def test_losses_mark_the_best_validation():
    fig = plots.plot_losses([3.0, -1.0, -2.0, -3.0], [0.0, -2.5], xlabel="step")
    train, validation, best = fig.axes[0].lines
    assert list(validation.get_xdata()) == [2, 4]
    assert best.get_xydata().tolist() == [[4.0, -2.5]]
    assert "best validation: $-2.5$" in texts(fig)
    assert fig.axes[0].get_xlabel() == "step"
    assert fig.axes[0].get_yscale() == "linear"
    falling = np.logspace(0, -4, 30)
    assert plots.plot_losses(falling, falling).axes[0].get_yscale() == "log"


def test_emulator_errors_print_bias_rms_and_tail():
    residuals = np.tile([[0.002], [-0.001]], (300, 8))
    residuals[0, 0] = np.nan  # no star is born there
    theta = theta_draws()
    found = texts(plots.plot_emulator_errors(theta, residuals))
    assert found.count("rms 0.00158") == 8
    assert found.count("99.9 % 0.0020") == 8
    assert found.count("bias +0.0005") + found.count("bias +0.00049") == 8
    for name in ABUNDANCES:
        assert label(name) in found


def test_ape_prints_the_median():
    ape = np.tile(np.array([1.0, 2.5, 3, 4, 5, 6]), (99, 1))
    ape[:30] *= 0.1
    ape[0, 0] = np.inf
    found = texts(plots.plot_single_star_ape(ape))
    assert "median 2.5 %" in found
    assert "median 1.0 %" in found


def outside(ranks, n_draws):
    """Bins outside the band, as the figure prints them, per parameter."""
    fig = plots.plot_ranks(ranks, n_draws, PARAMETERS[: ranks.shape[1]])
    return [int(ax.texts[0].get_text().split()[0]) for ax in fig.axes]


def test_rank_bands_reject_what_is_not_uniform():
    random = np.random.default_rng(7)
    uniform = random.integers(0, 101, (2000, 6))
    assert outside(uniform, 100) == [0] * 6
    truth, draws = random.normal(size=2000), random.normal(size=(100, 2000))
    wrong = [(0, 1.5), (0, 0.7), (0.3, 1)]  # too wide, too narrow, shifted
    ranks = [(shift + scale * draws < truth).sum(axis=0) for shift, scale in wrong]
    assert min(outside(np.stack(ranks, axis=1), 100)) >= 3


@pytest.mark.usefixtures("unchecked")
def test_rank_bins_count_every_rank():
    ranks = np.repeat(np.arange(8), 100)[:, None]  # exactly uniform on 0..7
    ax = plots.plot_ranks(ranks, 7, PARAMETERS[:1]).axes[0]
    band, expected, counts = (patch.get_data() for patch in ax.patches)
    np.testing.assert_array_equal(counts.values, np.full(8, 100))
    np.testing.assert_allclose(expected.values, 100)
    assert (band.baseline < 100).all()
    assert (band.values > 100).all()
    with pytest.raises(ValueError, match=r"ranks \(n, 6\); got \(800, 1\)"):
        plots.plot_ranks(ranks, 7)


def test_coverage_shows_each_curve_and_its_difference():
    coverage = np.stack([LEVELS, LEVELS**2], axis=1)
    fig = plots.plot_coverage(LEVELS, coverage, BANDS, PARAMETERS[:2])
    top, bottom = fig.axes
    np.testing.assert_allclose(top.lines[2].get_ydata(), LEVELS**2)
    np.testing.assert_allclose(bottom.lines[2].get_ydata(), LEVELS**2 - LEVELS)
    assert r"\alpha" in texts(fig)


def test_tarp_of_several_sets():
    ecp = np.stack([LEVELS, LEVELS**2, LEVELS**3], axis=1)
    top = plots.plot_tarp(LEVELS, ecp, BANDS).axes[0]
    np.testing.assert_allclose(top.lines[3].get_ydata(), LEVELS**3)
    assert [line.get_label() for line in top.lines[1:]] == ["set 1", "set 2", "set 3"]


def test_labels_have_units():
    assert label("fe_h") == "[Fe/H] [dex]"
    assert label("he_fe", unit=False) == "[He/Fe]"
    assert "Gyr" in label("birth_time")
    assert label("birth_time", unit=False) == r"$T_{\rm birth}$"
    assert label("mine") == "mine"
    assert all(label(name) != name for name in (*PARAMETERS, *ABUNDANCES))
