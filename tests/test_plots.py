"""Figures: what they show is what they were given, and they leave no state behind."""

import importlib
import pkgutil
import re
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure

from chemsbi_jax import plots
from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.errors import OutputError
from chemsbi_jax.plots.corner import mass_levels
from chemsbi_jax.plots.reproduction import plot_recovery
from chemsbi_jax.plots.shared_errors import (
    plot_both_intervals,
    plot_budget,
    plot_yield_factors,
)
from chemsbi_jax.plots.simulations import plot_simulations
from chemsbi_jax.plots.style import (
    MASS_1_2_3_SIGMA,
    OKABE_ITO,
    ellipse,
    greys,
    ink,
    label,
)
from chemsbi_jax.results import GalaxyPosterior
from chemsbi_jax.types import Stars

MEAN = np.array([-2.306, -2.884])
COVARIANCE = np.array([[7.06e-5, 8.68e-5], [8.68e-5, 1.51e-4]])
PRIOR = ((-2.3, -2.89), (0.3, 0.3))
RNG = np.random.default_rng(8)
SPREAD = np.array([0.1, 0.3, 0.05, 0.12, 0.2, 0.1, 0.15, 0.1])


def gaussian(method, shift=0.0, scale=1.0):
    mean, covariance = MEAN + shift, COVARIANCE * scale**2
    draws = np.random.default_rng(1).multivariate_normal(mean, covariance, 2000)
    return GalaxyPosterior(method, draws, mean, covariance, {})


def made_up_stars(n=300):
    values = np.random.default_rng(2).normal(size=(n, 8)) * SPREAD
    observed = np.ones((n, 8), bool)
    observed[:, 5] = False
    observed[: n // 2, 2] = False
    unknown = np.full(n, np.nan)
    return Stars(
        np.where(observed, values, np.nan),
        np.where(observed, 0.05, np.nan),
        observed,
        unknown,
        unknown,
        np.arange(n).astype(str),
    )


def theta_draws(n=600):
    centre = np.array([-2.3, -2.89, -0.3, 0.55, 0.5, 7.0])
    width = np.array([0.1, 0.12, 0.3, 0.1, 0.1, 2.0])
    return centre + width * np.random.default_rng(3).normal(size=(n, 6))


LEVELS = np.linspace(0, 1, 21)
WIDTH = 2.576 * np.sqrt(LEVELS * (1 - LEVELS) / 500)
BANDS = (LEVELS - WIDTH, LEVELS + WIDTH)
N_STARS = [1, 10, 100, 1000]
SDS = np.array([[0.1, 0.15]]) / np.sqrt(N_STARS)[:, None]
FIGURES = {
    "galaxy": lambda: plots.plot_galaxy(
        gaussian("flow"), (-2.3, -2.89), PRIOR, {"gaussian": gaussian("gaussian", 0.01)}
    ),
    "galaxy, no truth": lambda: plots.plot_galaxy(gaussian("flow")),
    "convergence": lambda: plots.plot_convergence(
        N_STARS, MEAN + SDS, SDS, MEAN, {"gaussian": (MEAN - SDS, SDS)}
    ),
    "convergence, no truth": lambda: plots.plot_convergence(N_STARS, MEAN + SDS, SDS),
    "corner": lambda: plots.plot_corner(
        theta_draws(), PARAMETERS, theta_draws()[0], theta_draws() * 1.1
    ),
    "predictive": lambda: plots.plot_predictive(
        made_up_stars(), RNG.normal(size=(20, 300, 8)) * SPREAD
    ),
    "predictive, pooled": lambda: plots.plot_predictive(
        made_up_stars(), RNG.normal(size=(900, 8)) * SPREAD
    ),
    "predictive, one star": lambda: plots.plot_predictive(
        made_up_stars(1), RNG.normal(size=(20, 1, 8)) * SPREAD
    ),
    "losses": lambda: plots.plot_losses(np.exp(-np.arange(50)), np.ones(10)),
    "emulator": lambda: plots.plot_emulator_errors(
        theta_draws(), 0.003 * RNG.normal(size=(600, 8))
    ),
    "ape": lambda: plots.plot_single_star_ape(np.abs(RNG.normal(size=(300, 6)))),
    "ranks": lambda: plots.plot_ranks(RNG.integers(0, 100, (500, 6)), 99),
    "coverage": lambda: plots.plot_coverage(LEVELS, np.tile(LEVELS, (6, 1)).T, BANDS),
    "tarp": lambda: plots.plot_tarp(LEVELS, LEVELS**1.1, BANDS),
    "simulations": lambda: plot_simulations(
        theta_draws(), RNG.normal(size=(600, 8)) * SPREAD
    ),
    "recovery": lambda: plot_recovery(
        LEVELS, {100: {"exact": LEVELS, "flow": 30 * LEVELS}}, ["near"]
    ),
}

ELSEWHERE = {"yields"}  # its figures are made in test_yields_script.py
INTERVAL = (MEAN, np.diag([0.01, 0.02]) ** 2)
SHARES = {"alpha_imf": 0.3, "log10_n_ia": 0.6}
MORE_FIGURES = {
    "posteriors of yield sets": lambda: plots.plot_yield_posteriors(
        {"tng": INTERVAL, "nkt13": INTERVAL}, RNG.normal(size=(100, 2))
    ),
    "residuals of yield sets": lambda: plots.plot_yield_residuals(
        {"tng": {"fe_h": 0.1, "mg_fe": None}}, {"tng": {"fe_h": 0.02, "mg_fe": None}}
    ),
    "both intervals": lambda: plot_both_intervals(INTERVAL, INTERVAL, MEAN),
    "yield factors": lambda: plot_yield_factors(
        {"sn2_mg": {"mean": 0.1, "sd": 0.05}}, {"sn2_mg": 0.2}
    ),
    "budget": lambda: plot_budget({"yields": SHARES, "all": SHARES}),
}


def texts(fig):
    """All text of a figure, as one string."""
    found = [text.get_text() for ax in fig.axes for text in ax.texts]
    for ax in fig.axes:
        found += [
            ax.get_xlabel(),
            ax.get_ylabel(),
            ax.get_title(),
            ax.get_title("left"),
        ]
        found += [ax.get_title("right")]
        if ax.get_legend():
            found += [text.get_text() for text in ax.get_legend().get_texts()]
    return "\n".join(found)


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_saved_whole(tmp_path, name):
    fig = FIGURES[name]()
    assert isinstance(fig, Figure)
    path = tmp_path / "plots" / "figure.png"
    plots.save_figure(fig, path)
    pixels = mpl.image.imread(path)
    width, height = fig.get_size_inches()
    np.testing.assert_allclose(pixels.shape[:2], [150 * height, 150 * width], atol=1)
    assert [file.name for file in path.parent.iterdir()] == ["figure.png"]


def test_other_suffixes(tmp_path):
    plots.save_figure(FIGURES["tarp"](), tmp_path / "figure.pdf")
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")
    plots.save_figure(FIGURES["tarp"](), tmp_path / "figure")
    assert (tmp_path / "figure").read_bytes().startswith(b"\x89PNG")


def test_figure_where_no_folder_can_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"figure\.png into folder .*file"):
        plots.save_figure(FIGURES["tarp"](), tmp_path / "file" / "figure.png")


def test_no_pyplot():
    code = "import sys, chemsbi_jax.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_figure_is_here():
    modules = [
        importlib.import_module(f"{plots.__name__}.{module.name}")
        for module in pkgutil.iter_modules(plots.__path__)
    ]
    modules = [m for m in modules if m.__name__.split(".")[-1] not in ELSEWHERE]
    public = {name for m in modules for name in vars(m) if name.startswith("plot_")}
    makers = [*FIGURES.values(), *MORE_FIGURES.values()]
    called = {name for make in makers for name in make.__code__.co_names}
    assert public - called == set()


@pytest.mark.parametrize("name", MORE_FIGURES)
def test_figures_of_yields_and_of_shared_errors_are_drawn(tmp_path, name):
    plots.save_figure(MORE_FIGURES[name](), tmp_path / "figure.png")
    assert mpl.image.imread(tmp_path / "figure.png")[..., :3].std() > 0.01


USERS_STYLE = {
    "font.size": 17.0,
    "axes.facecolor": "#123456",
    "text.color": "#fedcba",
    "axes.grid": True,
    "axes.spines.top": False,
}


@pytest.mark.parametrize("name", FIGURES)
def test_users_style_ends_up_in_the_figure(name):
    with mpl.rc_context(USERS_STYLE):
        before = dict(mpl.rcParams)
        fig = FIGURES[name]()
        assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
    panels = [ax for ax in fig.axes if ax.get_label() != "<colorbar>"]
    for ax in panels:
        assert ax.xaxis.label.get_fontsize() == 17
        assert mpl.colors.to_hex(ax.get_facecolor()) == "#123456"
        assert ax.xaxis.get_tick_params()["gridOn"]
        assert not ax.spines["top"].get_visible()


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_lost_on_a_dark_background(name):
    with mpl.style.context("dark_background"):
        fig = FIGURES[name]()
    lines = [line for ax in fig.axes for line in ax.lines]
    assert all(np.mean(mpl.colors.to_rgb(line.get_color())) > 0.3 for line in lines)
    fills = [f for ax in fig.axes for f in (*ax.patches, *ax.collections)]
    colours = [c for fill in fills for c in np.atleast_2d(fill.get_facecolor())]
    grey = [c[:3] for c in colours if c[3] == 1 and np.ptp(c[:3]) == 0]
    if name != "simulations":  # its cells cover a whole colour map
        assert all(0 < c[0] < 0.5 for c in grey)  # bands stay dark, but are seen


def test_greys_are_between_text_and_background():
    np.testing.assert_allclose(ink(0.12), 0.88)  # black on white
    with mpl.rc_context({"axes.facecolor": "none", "figure.facecolor": "#000000"}):
        np.testing.assert_allclose(ink(0.5), 0.0)
    with mpl.rc_context({"axes.facecolor": "none", "figure.facecolor": "none"}):
        np.testing.assert_allclose(ink(0.5), 0.5)
    assert greys() == "Greys"
    with mpl.style.context("dark_background"):
        assert greys() == "Greys_r"


def test_colours_are_ours_unless_the_user_chose_some():
    def first():
        return FIGURES["tarp"]().axes[0].lines[1].get_color()

    assert first() == OKABE_ITO[0]
    with mpl.rc_context({"axes.prop_cycle": mpl.cycler(color=["#123456"])}):
        assert first() == "#123456"
        with mpl.style.context(plots.STYLE):
            assert first() == OKABE_ITO[0]


def test_users_resolution(tmp_path):
    fig = FIGURES["losses"]()
    with mpl.rc_context({"savefig.dpi": 40}):
        plots.save_figure(fig, tmp_path / "figure.png")
    assert mpl.image.imread(tmp_path / "figure.png").shape[:2] == (160, 240)


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


def test_predictive_prints_the_offset_and_the_missing():
    stars = made_up_stars(3000)
    predicted = np.random.default_rng(5).normal(size=(20, 3000, 8)) * SPREAD
    predicted[..., ABUNDANCES.index("mg_fe")] += 0.5
    found = texts(plots.plot_predictive(stars, predicted))
    assert found.count("not observed") == 1
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
