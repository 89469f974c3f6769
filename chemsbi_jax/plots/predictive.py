"""Posterior predictive check: observed abundances beside what the model expects."""

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chemsbi_jax.plots.style import (
    BAND,
    GUIDE,
    INNER,
    colour,
    few_ticks,
    ink,
    label,
    new_figure,
)
from chemsbi_jax.types import Stars

COLUMNS = 4  # of panels
MAX_BINS = 30
ONE_SIGMA = (16, 84)  # percentiles
TWO_SIGMA = (2.3, 97.7)


def plot_predictive(
    stars: Stars,
    predicted: Float[ArrayLike, "draw star element"] | Float[ArrayLike, "n element"],
) -> Figure:
    """Histograms of the stars over the predictive band, and their difference in sigma.

    Abundances that no star has get no panel; a line below names them.

    Args:
        stars: as observed.
        predicted: noisy abundances [dex], noise included. With an axis of draws the
            band is the spread of the draws' histograms (1 and 2 sigma); without, it is
            the counting noise.
    """
    predicted, n = np.asarray(predicted), len(stars.abundances)
    if predicted.ndim not in (2, 3) or predicted.shape[-1] != n:
        raise ValueError(
            f"Expected predicted (draw, star, {n}) or (n, {n}); got {predicted.shape}."
        )
    if predicted.ndim == 3 and predicted.shape[1] != len(stars.values):
        raise ValueError(
            f"Expected predictions of {len(stars.values)} stars; got "
            f"{predicted.shape[1]}."
        )
    shown = np.flatnonzero(stars.observed.any(axis=0))
    fig, pairs = _panels(len(shown))
    for i, pair in zip(shown, pairs, strict=True):
        seen = stars.observed[:, i]
        model = predicted[:, seen, i] if predicted.ndim == 3 else predicted[..., i]
        _compare(*pair, stars.values[seen, i], model)
        pair[1].set_xlabel(label(stars.abundances[i]))
    for top, bottom in pairs[::COLUMNS]:
        top.set_ylabel("stars per bin")
        bottom.set_ylabel(r"$\Delta/\sigma$")
    hidden = [label(a, unit=False) for a in np.delete(stars.abundances, shown)]
    if hidden:
        fig.supxlabel(f"not observed: {', '.join(hidden)}", fontsize="small")
    if pairs:
        _legend(fig, pairs[0][0])
    return fig


def _panels(n: int) -> tuple[Figure, list[tuple[Axes, Axes]]]:
    """A figure with two panels, one above the other, for each of `n` abundances."""
    n_columns, n_rows = min(max(n, 1), COLUMNS), max(1, -(-n // COLUMNS))
    fig = new_figure(max(5.0, 2.75 * n_columns), 3.2 * n_rows)
    ratios = (3, 1.1) * n_rows
    axes = fig.subplots(2 * n_rows, n_columns, height_ratios=ratios, squeeze=False)
    pairs = [(a, b) for rows in axes.reshape(n_rows, 2, -1) for a, b in rows.T]
    for ax in np.ravel(pairs[n:]):
        ax.set_visible(False)
    return fig, pairs[:n]


def _compare(top: Axes, bottom: Axes, observed: np.ndarray, model: np.ndarray) -> None:
    model = np.where(np.isfinite(model), model, np.nan)  # NaN: no star is born there
    edges = _edges(observed, model)
    counts = np.histogram(observed, edges)[0]
    mean, sd, bands = _expected(model, edges, len(observed))
    for (low, high), strength in zip(bands, (BAND, INNER), strict=True):
        top.stairs(high, edges, baseline=low, fill=True, color=ink(strength))
    top.stairs(mean, edges, color=ink(GUIDE))
    top.stairs(counts, edges, color=colour(0), lw=1.5)
    top.set_ylim(bottom=0)
    top.tick_params(labelbottom=False)
    offset = np.mean(observed) - np.nanmean(model)
    top.set_title(rf"mean offset ${offset:+.3f}$ dex", fontsize="small", loc="right")
    _residuals(bottom, edges, (counts - mean) / sd)
    bottom.sharex(top)
    top.set_xlim(edges[0], edges[-1])
    few_ticks(top)


def _edges(observed: np.ndarray, model: np.ndarray) -> np.ndarray:
    low = min(observed.min(), np.nanpercentile(model, 0.5))
    high = max(observed.max(), np.nanpercentile(model, 99.5))
    n_bins = int(np.clip(2 * np.sqrt(len(observed)), 6, MAX_BINS))
    return np.linspace(low, high + 1e-6, n_bins + 1)


def _expected(
    model: np.ndarray, edges: np.ndarray, n_stars: int
) -> tuple[np.ndarray, np.ndarray, list]:
    """Mean and sd of the counts, and their 2 and 1 sigma bands (outer first)."""
    if model.ndim == 2:
        counts = np.stack([np.histogram(draw, edges)[0] for draw in model])
        mean, sd = counts.mean(axis=0), counts.std(axis=0)
        bands = [np.percentile(counts, band, axis=0) for band in (TWO_SIGMA, ONE_SIGMA)]
    else:
        n_model = max(1, np.isfinite(model).sum())
        share = np.histogram(model, edges)[0] / n_model
        mean = n_stars * share
        sd = np.sqrt(mean * (1 - share) * (1 + n_stars / n_model))  # noise of both
        bands = [(np.maximum(mean - k * sd, 0), mean + k * sd) for k in (2, 1)]
    return mean, np.maximum(sd, 1.0), bands  # an empty bin is known to about one star


def _residuals(ax: Axes, edges: np.ndarray, residuals: np.ndarray) -> None:
    centres = 0.5 * (edges[1:] + edges[:-1])
    ax.axhspan(-2, 2, color=ink(BAND), lw=0)
    ax.axhspan(-1, 1, color=ink(INNER), lw=0)
    ax.axhline(0, color=ink(GUIDE), lw=0.8)
    ax.plot(centres, residuals, "o", ms=3, color=colour(0))
    half = max(3.5, 1.1 * np.abs(residuals).max())
    ax.set_ylim(-half, half)


def _legend(fig: Figure, ax: Axes) -> None:
    handles = [
        ax.plot([], [], color=colour(0), label="observed")[0],
        ax.plot([], [], color=ink(GUIDE), label="predicted")[0],
        ax.fill_between([], [], color=ink(INNER), label=r"1 $\sigma$"),
        ax.fill_between([], [], color=ink(BAND), label=r"2 $\sigma$"),
    ]
    fig.legend(handles=handles, loc="outside upper center", ncols=4, frameon=False)
