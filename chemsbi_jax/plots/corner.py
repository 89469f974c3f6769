"""Corner plot of the parameters of one star."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from scipy.ndimage import gaussian_filter

from chemsbi_jax.plots.style import (
    GUIDE,
    MASS_1_2_3_SIGMA,
    TRUTH,
    EdgeLayout,
    colour,
    few_ticks,
    ink,
    label,
    new_figure,
)

BINS = 40
SMOOTH = 1.2  # bins; less than the width of any feature seen with 1000 draws
OPACITY = (0.15, 0.3, 0.5)  # of what each level adds to the one around it
RANGE = (0.1, 99.9)  # percentiles that are in view


def plot_corner(
    draws: Float[ArrayLike, "draw param"],
    names: Sequence[str],
    truth: Float[ArrayLike, " param"] | None = None,
    prior_draws: Float[ArrayLike, "draw_prior param"] | None = None,
) -> Figure:
    """Marginals, and pairs with the contours of 39.3, 86.5 and 98.9 % of the mass.

    Args:
        draws: posterior of one star.
        names: of the parameters.
        truth: marked, if known.
        prior_draws: drawn as a grey line on the diagonal.
    """
    draws = np.asarray(draws)
    if draws.ndim != 2 or draws.shape[1] != len(names):
        raise ValueError(f"Expected draws (draw, {len(names)}); got {draws.shape}.")
    n = len(names)
    fig = new_figure(1.7 * n + 0.6, 1.7 * n + 0.6)
    fig.set_layout_engine(EdgeLayout())
    axes = _lower_triangle(fig, n)
    limits = _limits(draws, prior_draws, truth)
    for row in range(n):
        for column in range(row):
            _pair(axes[row, column], draws[:, [column, row]], limits[[column, row]])
        _marginal(axes[row, row], draws[:, row], limits[row])
        if prior_draws is not None:
            _step(axes[row, row], np.asarray(prior_draws)[:, row], limits[row])
    if truth is not None:
        _mark(axes, np.asarray(truth))
    _label(axes, names, limits)
    return fig


def _lower_triangle(fig: Figure, n: int) -> np.ndarray:
    """(n, n) Axes, None above the diagonal; a column shares its x axis."""
    grid, axes = fig.add_gridspec(n, n), np.full((n, n), None)
    for column in range(n):
        for row in range(column, n):
            first = axes[column, column]
            axes[row, column] = fig.add_subplot(grid[row, column], sharex=first)
            axes[row, column].xaxis.offsetText.set_visible(row == n - 1)
    return axes


def _limits(
    draws: np.ndarray, prior_draws: ArrayLike | None, truth: ArrayLike | None
) -> Float[np.ndarray, "param 2"]:
    parts = [np.percentile(draws, RANGE, axis=0)]
    if prior_draws is not None:
        parts.append(np.percentile(np.asarray(prior_draws), (1, 99), axis=0))
    if truth is not None:
        parts.append(np.asarray(truth)[None])
    low, high = np.min(np.vstack(parts), axis=0), np.max(np.vstack(parts), axis=0)
    margin = np.where(high > low, 0.04 * (high - low), 0.5)  # also for constant draws
    return np.stack([low - margin, high + margin], axis=1)


def _marginal(ax: Axes, draws: np.ndarray, limits: np.ndarray) -> None:
    style = {"bins": BINS, "range": tuple(limits), "density": True, "color": colour(0)}
    ax.hist(draws, histtype="stepfilled", alpha=0.35, **style)
    ax.hist(draws, histtype="step", **style)
    ax.set_yticks([])


def _step(ax: Axes, draws: np.ndarray, limits: np.ndarray) -> None:
    ax.hist(
        draws, bins=BINS // 2, range=tuple(limits), density=True, histtype="step",
        color=ink(GUIDE),
    )  # fmt: skip


def _pair(ax: Axes, draws: np.ndarray, limits: np.ndarray) -> None:
    counts, x, y = np.histogram2d(*draws.T, bins=BINS, range=limits)
    density = gaussian_filter(counts, SMOOTH)
    levels = mass_levels(density, MASS_1_2_3_SIGMA)
    centres = 0.5 * (x[1:] + x[:-1]), 0.5 * (y[1:] + y[:-1])
    if len(levels) == 0:
        return
    edges = [*levels, density.max() * (1 + 1e-9)]
    # one layer of glass over another for each level
    opacity = 1.0 - np.cumprod(1.0 - np.array(OPACITY[: len(levels)]))
    shades = [to_rgba(colour(0), alpha) for alpha in opacity]
    ax.contourf(*centres, density.T, edges, colors=shades)
    ax.contour(*centres, density.T, levels, colors=[colour(0)], linewidths=0.9)


def mass_levels(
    density: Float[np.ndarray, "x y"], masses: Sequence[float]
) -> Float[np.ndarray, " level"]:
    """Increasing densities whose contours hold these shares of the mass."""
    order = np.sort(density.ravel())[::-1]
    mass = np.cumsum(order) / order.sum()
    levels = np.unique([order[np.searchsorted(mass, share)] for share in masses])
    return levels[(levels > 0) & (levels < density.max())]


def _mark(axes: np.ndarray, truth: np.ndarray) -> None:
    style = {"color": ink(TRUTH), "ls": "--", "lw": 0.9}
    for row in range(len(axes)):
        for column in range(row + 1):
            axes[row, column].axvline(truth[column], **style)
            if column < row:
                axes[row, column].axhline(truth[row], **style)


def _label(axes: np.ndarray, names: Sequence[str], limits: np.ndarray) -> None:
    n = len(names)
    for row in range(n):
        for column in range(row + 1):
            ax = axes[row, column]
            if column < row:
                few_ticks(ax, 3)
                ax.set_ylim(*limits[row])
            else:
                few_ticks(ax, 3)
                ax.set_yticks([])
            ax.set_xlim(*limits[column])
            ax.tick_params(labelbottom=row == n - 1, labelleft=0 == column < row)
        axes[n - 1, row].set_xlabel(label(names[row]))
        if row:
            axes[row, 0].set_ylabel(label(names[row]))
