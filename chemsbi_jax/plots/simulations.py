"""Simulated stars in the planes that observers plot."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.plots.style import GUIDE, few_ticks, greys, ink, label, new_figure

COLUMNS = 4  # of panels
SHOWN = (0.5, 99.5)  # percentiles; wide priors have stars far outside
MAX_CELLS = 60  # across a panel


def plot_simulations(
    theta: Float[ArrayLike, "n 6"],
    abundances: Float[ArrayLike, "n element"],
    names: Sequence[str] = ABUNDANCES,
) -> Figure:
    """Age-metallicity relation, and [X/Fe] over [Fe/H] coloured by time of birth.

    Args:
        theta: parameters of the stars, in the order of `PARAMETERS`.
        abundances: dex; rows with a NaN (the model has no star there) are left out.
        names: of the columns of `abundances`, with fe_h.
    """
    theta, abundances = np.asarray(theta), np.asarray(abundances)
    n = len(names)
    if theta.shape != (len(theta), 6) or abundances.shape != (len(theta), n):
        raise ValueError(
            f"Expected theta (n, 6) and abundances (n, {n}); got "
            f"{theta.shape} and {abundances.shape}."
        )
    born = np.isfinite(abundances).all(axis=1)
    if not born.any():
        raise ValueError("Expected at least one star without NaN; got none.")
    abundances, birth_time = abundances[born], theta[born][:, -1]
    fe_h = abundances[:, names.index("fe_h")]
    n_rows = -(-n // COLUMNS)
    fig = new_figure(12.0, 2.8 * n_rows)
    # inch; keeps labels off the panel before
    fig.set_layout_engine("constrained", w_pad=0.12)
    axes = fig.subplots(n_rows, COLUMNS).ravel()
    _density(fig, axes[0], birth_time, fe_h)
    axes[0].set(xlabel=label(PARAMETERS[-1]), ylabel=label("fe_h"))
    others = [a for a in names if a != "fe_h"]
    cells = None
    for ax, name in zip(axes[1:], others, strict=False):
        cells = _mean_time(ax, fe_h, abundances[:, names.index(name)], birth_time)
        ax.set(xlabel=label("fe_h"), ylabel=label(name))
    for ax in axes[n:]:
        ax.set_visible(False)
    if cells is not None:  # another abundance than [Fe/H]
        last = axes[COLUMNS - 1 :: COLUMNS]
        fig.colorbar(cells, ax=last, label=f"mean {label(PARAMETERS[-1])}")
    return fig


def _density(fig: Figure, ax: Axes, x: np.ndarray, y: np.ndarray) -> None:
    extent = _extent(x, y)
    cells = ax.hexbin(
        x, y, gridsize=_n_cells(len(x)), extent=extent, mincnt=1, cmap=greys(),
        norm=LogNorm(), linewidths=0.1,
    )  # fmt: skip
    fig.colorbar(cells, ax=ax, label="stars per cell", location="top", shrink=0.9)
    _frame(ax, extent)


def _mean_time(
    ax: Axes, x: np.ndarray, y: np.ndarray, birth_time: np.ndarray
) -> PolyCollection:
    extent = _extent(x, y)
    low, high = np.percentile(birth_time, SHOWN)
    cells = ax.hexbin(
        x, y, C=birth_time, gridsize=_n_cells(len(x)), extent=extent, mincnt=1,
        vmin=low, vmax=high, linewidths=0.1,
    )  # fmt: skip
    for draw in (ax.axhline, ax.axvline):  # the Sun
        draw(0.0, color=ink(GUIDE), lw=0.8, zorder=0)
    _frame(ax, extent)
    return cells


def _n_cells(n_stars: int) -> int:
    """Few stars: cells so large that most hold several."""
    return int(np.clip(np.sqrt(n_stars) / 4.0, 12, MAX_CELLS))


def _extent(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float, float]:
    edges = []
    for values in (x, y):
        low, high = np.percentile(values, SHOWN)
        margin = 0.05 * (high - low) + 1e-3  # dex or Gyr, where all are alike
        edges += [low - margin, high + margin]
    return tuple(edges)


def _frame(ax: Axes, extent: tuple[float, float, float, float]) -> None:
    ax.set(xlim=extent[:2], ylim=extent[2:])
    few_ticks(ax)
