"""Figures: files, and the user's style."""

import importlib
import pkgutil
import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import matplotlib.style
import numpy as np
import pytest
from matplotlib.figure import Figure

from chemsbi_jax import plots
from chemsbi_jax.errors import OutputError
from chemsbi_jax.plots.style import (
    OKABE_ITO,
    greys,
    ink,
)
from helpers.made_up_figures import ELSEWHERE, FIGURES, MORE_FIGURES


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
