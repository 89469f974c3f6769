"""What all figures share: colours, labels, ellipses and how they are saved."""

import gc
import io
import os
from collections.abc import Iterator
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.rcsetup import cycler
from matplotlib.ticker import MaxNLocator

from chemsbi_jax.constants import ALL_ABUNDANCES, GLOBAL_PARAMETERS, LATEX
from chemsbi_jax.storage.files import whole_file

# Okabe & Ito 2008, told apart by all kinds of colour vision; yellow left out (too pale)
OKABE_ITO = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
STYLE = {"axes.prop_cycle": cycler(color=OKABE_ITO)}
"""Our colours as rcParams, for `matplotlib.rc_context` or `style.context`."""

# shares of the text's colour in that of the background, see `ink`
TRUTH = 1.0
GUIDE = 0.45  # guides and priors
INNER, BAND, FAINT = 0.25, 0.12, 0.07  # bands

MASS_1_2_3_SIGMA = (0.393, 0.865, 0.989)
"""Mass of a 2-D Gaussian inside Mahalanobis distances 1, 2 and 3."""

DPI = 150
LABELS = {
    **{name: f"${text}$" for name, text in zip(GLOBAL_PARAMETERS, LATEX, strict=True)},
    "log10_sfe": r"$\log_{10} {\rm SFE}\ [{\rm Gyr}^{-1}]$",
    "log10_sfr_peak": r"$\log_{10} t_{\rm peak}\ [{\rm Gyr}]$",
    "outflow_fraction": r"$x_{\rm out}$",
    "birth_time": r"$T_{\rm birth}\ [{\rm Gyr}]$",
}
LABELS |= {
    name: "[{}/{}]".format(*(part.capitalize() for part in name.split("_")))
    for name in ALL_ABUNDANCES
}


def label(name: str, *, unit: bool = True) -> str:
    """Axis label of a parameter or an abundance; other names as they are."""
    text = LABELS.get(name, name)
    if name in ALL_ABUNDANCES and unit:
        return f"{text} [dex]"
    if not unit and r"\ [" in text:
        return text.split(r"\ [")[0] + "$"
    return text


def colour(i: int) -> str:
    """Colour `i` of the user's cycle if there is one, else of Okabe & Ito."""
    cycle = mpl.rcParams["axes.prop_cycle"]
    if cycle != mpl.rcParamsDefault["axes.prop_cycle"] and "color" in cycle.keys:
        colours = cycle.by_key()["color"]
    else:
        colours = OKABE_ITO
    return colours[i % len(colours)]


def ink(strength: float) -> tuple[float, float, float]:
    """The user's text colour (1) thinned to that of the background (0); RGB, 0 to 1."""
    return tuple((1 - strength) * _background() + strength * _text())


def greys() -> str:
    """Colour map whose low end is near the background."""
    return "Greys" if _text().mean() < _background().mean() else "Greys_r"


def _text() -> Float[np.ndarray, "3"]:
    return np.array(colors.to_rgb(mpl.rcParams["text.color"]))


def _background() -> Float[np.ndarray, "3"]:
    for part in ("axes.facecolor", "figure.facecolor"):
        *rgb, alpha = colors.to_rgba(mpl.rcParams[part])
        if alpha > 0:
            return np.array(rgb)
    return np.ones(3)  # both transparent: most likely on white paper


def new_figure(width: float, height: float) -> Figure:
    """A figure of that size [inch] whose layout keeps labels apart; not in pyplot."""
    return Figure(figsize=(width, height), layout="constrained")


class EdgeLayout(ConstrainedLayoutEngine):
    """Constrained layout of a grid with labels at its left and lower edge only.

    The other panels follow from those at the two edges, which saves half of the time.
    """

    def execute(self, fig: Figure) -> None:
        """Place the panels; called when the figure is drawn."""
        every = ((ax, ax.get_subplotspec()) for ax in fig.axes)
        grid = [(ax, spec) for ax, spec in every if spec is not None]
        rows = {s.rowspan.start: ax for ax, s in grid if s.is_first_col()}
        columns = {s.colspan.start: ax for ax, s in grid if s.is_last_row()}
        inner = [(ax, s) for ax, s in grid if not (s.is_first_col() or s.is_last_row())]
        for ax, _ in inner:
            ax.set_in_layout(False)
        super().execute(fig)
        for ax, spec in inner:
            x = columns[spec.colspan.start].get_position()
            y = rows[spec.rowspan.start].get_position()
            ax.set_position((x.x0, y.y0, x.width, y.height))
            ax.set_in_layout(True)


def ellipse(
    mean: Float[np.ndarray, " 2"], covariance: Float[np.ndarray, "2 2"], n_sigma: float
) -> Float[np.ndarray, "2 point"]:
    """Points at Mahalanobis distance `n_sigma` from the mean."""
    eigenvalues, axes = np.linalg.eigh(covariance)
    angle = np.linspace(0.0, 2.0 * np.pi, 200)
    circle = np.stack([np.cos(angle), np.sin(angle)])
    half_axes = axes * np.sqrt(np.maximum(eigenvalues, 0.0))
    return np.asarray(mean)[:, None] + n_sigma * half_axes @ circle


def few_ticks(ax: Axes, n: int = 4) -> None:
    """At most `n` round steps on each axis, so that labels don't touch."""
    ax.xaxis.set_major_locator(MaxNLocator(n, steps=[1, 2, 5, 10]))
    ax.yaxis.set_major_locator(MaxNLocator(n, steps=[1, 2, 5, 10]))


def save_figure(fig: Figure, path: str | os.PathLike) -> None:
    """Write the figure (PNG, or the format of the suffix), atomically.

    A PNG has the user's `savefig.dpi` if that is a number, else 150 dots per inch.
    """
    suffix = os.path.splitext(path)[1].lstrip(".").lower() or "png"
    with whole_file(path) as temporary:
        _draw(fig, temporary, suffix)


def as_png(fig: Figure) -> bytes:
    """The figure as `save_figure` writes it into a PNG file."""
    buffer = io.BytesIO()
    _draw(fig, buffer, "png")
    return buffer.getvalue()


def _draw(fig: Figure, target: os.PathLike | io.BytesIO, suffix: str) -> None:
    dpi = mpl.rcParams["savefig.dpi"]
    dpi = DPI if dpi == "figure" else dpi
    with _no_collector(), _laid_out(fig, dpi):
        fig.savefig(target, dpi=dpi, format=suffix)


@contextmanager
def _no_collector() -> Iterator[None]:
    """Inside, no garbage is collected.

    Drawing makes so many objects that the collector would run through all of JAX's
    several times, which takes a fifth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@contextmanager
def _laid_out(fig: Figure, dpi: float) -> Iterator[None]:
    """Inside, the panels are in place, so that savefig draws once and not twice."""
    engine, own_dpi = fig.get_layout_engine(), fig.get_dpi()
    if engine is not None:
        fig.set_dpi(dpi)
        engine.execute(fig)
        fig.set_dpi(own_dpi)
        # else None would mean the user's rcParams
        with mpl.rc_context(
            {"figure.autolayout": False, "figure.constrained_layout.use": False}
        ):
            fig.set_layout_engine(None)
    try:
        yield
    finally:
        fig.set_layout_engine(engine)
