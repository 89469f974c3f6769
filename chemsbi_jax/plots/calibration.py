"""Figures of calibration: ranks, coverage and TARP with their bands."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chemsbi_jax.constants import PARAMETERS
from chemsbi_jax.diagnostics.bands import bin_band
from chemsbi_jax.plots.style import BAND, GUIDE, colour, ink, label, new_figure

MAX_BINS = 25
CONFIDENCE = 0.99
Band = tuple[Float[ArrayLike, " k"], Float[ArrayLike, " k"]]


def plot_ranks(
    ranks: Int[ArrayLike, "n param"],
    n_draws: int,
    names: Sequence[str] = PARAMETERS,
) -> Figure:
    """SBC ranks (Talts+ 2018); all bins of a uniform are in the band 99 % of the time.

    Args:
        ranks: number of posterior draws below the truth, 0 to `n_draws`.
        n_draws: posterior draws per truth.
        names: of the parameters.
    """
    ranks = np.asarray(ranks)
    if ranks.ndim != 2 or ranks.shape[1] != len(names):
        raise ValueError(f"Expected ranks (n, {len(names)}); got {ranks.shape}.")
    columns = min(3, len(names))
    rows = -(-len(names) // columns)
    fig = new_figure(3.2 * columns, 2.5 * rows)
    axes = fig.subplots(rows, columns, squeeze=False).ravel()
    edges = _edges(len(ranks), n_draws)
    for i, name in enumerate(names):
        _ranks(axes[i], ranks[:, i], edges)
        axes[i].set_xlabel(f"rank of {label(name, unit=False)}")
    for ax in axes[len(names) :]:
        ax.remove()
    for ax in axes[: len(names) : columns]:
        ax.set_ylabel("number")
    return fig


def plot_coverage(
    levels: Float[ArrayLike, " k"],
    coverage: Float[ArrayLike, "k param"],
    bands: Band,
    names: Sequence[str] = PARAMETERS,
) -> Figure:
    """Share of truths inside the central interval of each level, per parameter.

    Args:
        levels: credible levels, 0 to 1.
        coverage: share of truths inside.
        bands: lower and upper edge of the 99 % band.
        names: of the parameters.
    """
    coverage = np.asarray(coverage)
    curves = {label(name, unit=False): coverage[:, i] for i, name in enumerate(names)}
    return _diagonal(levels, curves, bands, "credible level", "share of truths inside")


def plot_tarp(
    alpha: Float[ArrayLike, " k"],
    ecp: Float[ArrayLike, " k"] | Float[ArrayLike, "k set"],
    band: Band,
) -> Figure:
    """TARP: expected coverage probability (Lemos+ 2023) with its 99 % band.

    With several sets of reference points, one curve for each.
    """
    sets = np.atleast_2d(np.asarray(ecp).T)
    names = ["TARP"] if len(sets) == 1 else [f"set {i + 1}" for i in range(len(sets))]
    curves = dict(zip(names, sets, strict=True))
    return _diagonal(alpha, curves, band, "credibility", "expected coverage")


def _edges(n: int, n_draws: int) -> Int[np.ndarray, " edge"]:
    """Edges between the `n_draws + 1` ranks, of bins that hold enough truths."""
    n_bins = int(np.clip(min(n // 20, n_draws + 1), 2, MAX_BINS))
    return np.round(np.linspace(0, n_draws + 1, n_bins + 1)).astype(int)


def _ranks(ax: Axes, ranks: np.ndarray, edges: np.ndarray) -> None:
    counts = np.histogram(ranks, edges - 0.5)[0]
    share = np.diff(edges) / edges[-1]  # bins may differ by one rank
    low, high = bin_band(len(ranks), tuple(share), CONFIDENCE)
    outside = (counts < low) | (counts > high)
    ax.stairs(high, edges, baseline=low, fill=True, color=ink(BAND))
    ax.stairs(len(ranks) * share, edges, color=ink(GUIDE))
    ax.stairs(counts, edges, color=colour(0), lw=1.4)
    ax.set(xlim=(edges[0], edges[-1]), ylim=(0, 1.35 * max(counts.max(), high.max())))
    ax.text(0.97, 0.95, f"{outside.sum()} of {len(counts)} bins outside 99 %",
            ha="right", va="top", fontsize="small", transform=ax.transAxes)  # fmt: skip


def _diagonal(
    x: ArrayLike, curves: dict[str, np.ndarray], band: Band, xlabel: str, ylabel: str
) -> Figure:
    """Curves beside the diagonal, and below it their distance from it."""
    x = np.asarray(x)
    low, high = (np.asarray(edge) for edge in band)
    fig = new_figure(4.8, 6.2)
    top, bottom = fig.subplots(2, 1, sharex=True, height_ratios=(2.2, 1))
    for ax, base in ((top, 0.0), (bottom, x)):
        ax.fill_between(x, low - base, high - base, color=ink(BAND), lw=0, label="99 %")
        ax.plot(x, x - base, color=ink(GUIDE), lw=1)
        for i, (name, curve) in enumerate(curves.items()):
            ax.plot(x, curve - base, color=colour(i), lw=1.3, label=name)
    top.set(ylabel=ylabel, xlim=(0, 1), ylim=(0, 1))
    bottom.set(xlabel=xlabel, ylabel="difference")
    top.legend(frameon=False, loc="upper left")
    return fig
