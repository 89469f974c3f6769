"""Figures of a galaxy: its posterior, and how it narrows with more stars."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import ArrayLike, Float, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.plots.style import (
    BAND,
    FAINT,
    GUIDE,
    TRUTH,
    colour,
    ellipse,
    few_ticks,
    ink,
    label,
    new_figure,
)
from chemsbi_jax.types import AnyArray, GalaxyPosterior

Pair = Sequence[float] | Float[AnyArray, " 2"]  # one number a global parameter

NAMES = PARAMETERS[:N_GLOBAL]
MAX_POINTS = 4000  # more draws only make a blot
VIEW = 4.0  # sigma of the widest posterior on each side


def plot_galaxy(
    posterior: GalaxyPosterior,
    truth: Pair | None = None,
    prior: tuple[Pair, Pair] | None = None,
    others: Mapping[str, GalaxyPosterior] | None = None,
    heading: str = "",
) -> Figure:
    """Posterior of (alpha_imf, log10_n_ia): draws, 1-2-3 sigma ellipses, marginals.

    The ellipses are at Mahalanobis distance 1, 2, 3 of the full covariance: 39.3, 86.5
    and 98.9 % of the mass of a 2-D Gaussian.

    Args:
        posterior: drawn with its draws.
        truth: marked, if known.
        prior: mean and sd of the independent Gaussian prior of the two parameters.
        others: label -> further posteriors, drawn as ellipses.
        heading: above the figure.
    """
    results = {posterior.method: posterior} | dict(others or {})
    fig = new_figure(6.0, 6.0)
    axes = fig.subplot_mosaic(
        [["x", "."], ["xy", "y"]], width_ratios=(4, 1.2), height_ratios=(1.2, 4)
    )
    low, high = _view(list(results.values()), truth)
    _draws(axes, posterior)
    for i, (name, result) in enumerate(results.items()):
        _ellipses(axes["xy"], result, colour(i), name)
        _gaussians(axes, np.asarray(result.mean), np.asarray(result.covariance), i)
    if prior is not None:
        _prior(axes["xy"], prior, low, high)
    if truth is not None:
        _mark_truth(axes, truth)
    _finish(axes, posterior, low, high)
    if heading:
        fig.suptitle(heading, fontsize="medium")
    return fig


def plot_convergence(
    n_stars: Sequence[int] | Int[AnyArray, " k"],
    means: Float[ArrayLike, "k 2"],
    sds: Float[ArrayLike, "k 2"],
    truth: Pair | None = None,
    others: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    name: str = "this result",
) -> Figure:
    r"""Means with 1 and 2 sigma bands, pulls, and widths beside :math:`1/\sqrt{N}`.

    Others have bars of 1 sigma; pulls, (mean - truth) / sd, need the truth.

    Args:
        n_stars: (k,) numbers of stars.
        means: posterior means.
        sds: posterior standard deviations.
        truth: marked, if known.
        others: label -> (means, sds), each (k, 2), for the same numbers of stars.
        name: label of this result where there are others.
    """
    numbers, results = np.asarray(n_stars), {name: (means, sds)} | dict(others or {})
    heights = (1.5, 1) if truth is None else (1.5, 1, 1)
    fig = new_figure(8.0, 2.3 * sum(heights))
    axes = fig.subplots(len(heights), 2, sharex=True, height_ratios=heights)
    for i, (key, (mean, sd)) in enumerate(results.items()):
        _converge(axes, numbers, np.asarray(mean), np.asarray(sd), i, key)
        if truth is not None:
            _pulls(axes[1], numbers, (np.asarray(mean) - truth) / np.asarray(sd), i)
    for j, parameter in enumerate(NAMES):
        _guide(axes[-1, j], numbers, np.asarray(sds)[:, j])
        if truth is not None:
            axes[0, j].axhline(
                float(truth[j]), color=ink(TRUTH), ls="--", lw=1, label="truth"
            )
        axes[0, j].set(ylabel=label(parameter))
        width = rf"$\sigma$({label(parameter, unit=False)})"
        axes[-1, j].set(ylabel=width, xlabel="number of stars $N$")
        axes[-1, j].set(xscale="log", yscale="log")
    axes[0, 0].legend(frameon=False)
    axes[-1, 0].legend(frameon=False)
    return fig


def _view(
    results: Sequence[GalaxyPosterior], truth: Pair | None
) -> tuple[np.ndarray, np.ndarray]:
    """Corners of a frame around all results and the truth."""
    corners = []
    for result in results:
        half = VIEW * np.sqrt(np.diag(np.asarray(result.covariance)))
        corners += [np.asarray(result.mean) - half, np.asarray(result.mean) + half]
    low, high = np.min(corners, axis=0), np.max(corners, axis=0)
    if truth is not None:
        margin = 0.05 * (high - low)
        low = np.minimum(low, np.asarray(truth) - margin)
        high = np.maximum(high, np.asarray(truth) + margin)
    return low, high


def _draws(axes: Mapping[str, Axes], posterior: GalaxyPosterior) -> None:
    draws = np.asarray(posterior.draws)
    shown = draws[:: max(1, len(draws) // MAX_POINTS)]
    style = {"color": colour(0), "alpha": 0.15, "lw": 0}
    axes["xy"].scatter(*shown.T, s=4, rasterized=True, **style)
    axes["x"].hist(draws[:, 0], bins=60, density=True, color=colour(0), alpha=0.3)
    axes["y"].hist(
        draws[:, 1], bins=60, density=True, color=colour(0), alpha=0.3,
        orientation="horizontal",
    )  # fmt: skip


def _ellipses(ax: Axes, result: GalaxyPosterior, color: str, name: str) -> None:
    mean, covariance = np.asarray(result.mean), np.asarray(result.covariance)
    for n_sigma, width in ((1, 1.8), (2, 1.3), (3, 0.9)):
        line = ellipse(mean, covariance, n_sigma)
        ax.plot(*line, color=color, lw=width, label=name if n_sigma == 1 else None)
    ax.plot(*mean, "+", color=color, ms=8)


def _gaussians(
    axes: Mapping[str, Axes], mean: np.ndarray, covariance: np.ndarray, i: int
) -> None:
    for j, key in enumerate("xy"):
        sd = np.sqrt(covariance[j, j])
        if sd == 0.0:
            continue
        grid = mean[j] + sd * np.linspace(-VIEW, VIEW, 200)
        density = np.exp(-0.5 * ((grid - mean[j]) / sd) ** 2)
        density /= sd * np.sqrt(2 * np.pi)
        line = (grid, density) if key == "x" else (density, grid)
        axes[key].plot(*line, color=colour(i), lw=1.3)


def _prior(
    ax: Axes, prior: tuple[Pair, Pair], low: np.ndarray, high: np.ndarray
) -> None:
    mean, sd = (np.asarray(part) for part in prior)
    inside = False
    for n_sigma in (1, 2, 3):
        line = ellipse(mean, np.diag(sd**2), n_sigma)
        ax.plot(*line, color=ink(GUIDE), ls=":", lw=1.2)
        inside |= ((line.T > low) & (line.T < high)).all(axis=1).any()
    if inside:  # else a legend would name lines that nobody sees
        ax.plot([], [], color=ink(GUIDE), ls=":", lw=1.2, label="prior")


def _mark_truth(axes: Mapping[str, Axes], truth: Pair) -> None:
    style = {"color": ink(TRUTH), "ls": "--", "lw": 1}
    axes["x"].axvline(float(truth[0]), **style)
    axes["y"].axhline(float(truth[1]), **style)
    axes["xy"].axvline(float(truth[0]), **style, label="truth")
    axes["xy"].axhline(float(truth[1]), **style)


def _finish(
    axes: Mapping[str, Axes],
    posterior: GalaxyPosterior,
    low: np.ndarray,
    high: np.ndarray,
) -> None:
    ax = axes["xy"]
    ax.set(xlabel=label(NAMES[0]), ylabel=label(NAMES[1]))
    ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    few_ticks(ax, 5)
    ax.legend(frameon=False, loc="upper left")
    axes["x"].set(xlim=ax.get_xlim(), yticks=[], xticklabels=[])
    axes["y"].set(ylim=ax.get_ylim(), xticks=[], yticklabels=[])
    axes["x"].set_xticks(ax.get_xticks(), [])
    axes["y"].set_yticks(ax.get_yticks(), [])
    axes["x"].set_xlim(low[0], high[0])
    axes["y"].set_ylim(low[1], high[1])
    sd = np.sqrt(np.diag(np.asarray(posterior.covariance)))
    texts = [
        f"{label(name, unit=False)} = {_pm(float(posterior.mean[i]), sd[i])}"
        for i, name in enumerate(NAMES)
    ]
    axes["x"].set_title("    ".join(texts), fontsize="medium", loc="left")


def _pm(mean: float, sd: float) -> str:
    """Mean and sd with two digits of the sd."""
    if not 0 < sd < np.inf:
        return f"${mean:g}$"
    digits = max(0, 1 - int(np.floor(np.log10(sd))))
    return rf"${mean:.{digits}f} \pm {sd:.{digits}f}$"


def _converge(
    axes: np.ndarray, n_stars: np.ndarray, mean: np.ndarray, sd: np.ndarray, i: int,
    key: str,
) -> None:  # fmt: skip
    """Bands for the first result, bars beside it for the others; widths below."""
    beside = n_stars * 1.08**i  # bars of equal N would hide each other
    style = {"marker": "o", "ms": 4, "color": colour(i), "label": key}
    for j in range(len(NAMES)):
        ax, m, s = axes[0, j], mean[:, j], sd[:, j]
        if i == 0:
            ax.plot(n_stars, m, **style)
            for k, alpha in ((1, 0.3), (2, 0.15)):
                band = (m - k * s, m + k * s)
                ax.fill_between(n_stars, *band, color=colour(i), alpha=alpha, lw=0)
        else:
            ax.errorbar(beside, m, s, ls="", capsize=2, **style)
        axes[-1, j].plot(beside, s, ls="", **style | {"label": None})


def _pulls(axes: np.ndarray, n_stars: np.ndarray, pull: np.ndarray, i: int) -> None:
    for j, ax in enumerate(axes):
        if i == 0:
            ax.axhspan(-2, 2, color=ink(FAINT), lw=0)
            ax.axhspan(-1, 1, color=ink(BAND), lw=0)
            ax.axhline(0, color=ink(TRUTH), ls="--", lw=1)
            ax.set(ylabel=r"(mean $-$ truth)/$\sigma$", ylim=(-3, 3))
        ax.plot(n_stars, pull[:, j], marker="o", ms=4, lw=1, color=colour(i))
        half = max(ax.get_ylim()[1], 1.1 * np.abs(pull[:, j]).max())
        ax.set_ylim(-half, half)


def _guide(ax: Axes, n_stars: np.ndarray, sd: np.ndarray) -> None:
    """1/sqrt(N) through the last width."""
    guide = sd[-1] * np.sqrt(n_stars[-1] / n_stars)
    ax.plot(n_stars, guide, color=ink(GUIDE), ls=":", label=r"$\propto 1/\sqrt{N}$")
