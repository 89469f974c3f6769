"""Figures of training: losses, emulator errors, single-star errors."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.plots.style import (
    GUIDE,
    TRUTH,
    colour,
    few_ticks,
    ink,
    label,
    new_figure,
)

QUANTILE_BINS = 20
LOG_RANGE = 10.0  # a positive loss that falls by more than this is drawn on a log axis


def plot_losses(
    train: Sequence[float] | Float[ArrayLike, " step"],
    validation: Sequence[float] | Float[ArrayLike, " evaluation"],
    xlabel: str = "epoch",
) -> Figure:
    """Training and validation loss, which span the same steps; the best is marked."""
    train, validation = np.asarray(train), np.asarray(validation)
    n = max(len(train), len(validation))
    fig = new_figure(6.0, 4.0)
    ax = fig.subplots()
    for i, (name, loss) in enumerate((("training", train), ("validation", validation))):
        ax.plot(_steps(loss, n), loss, color=colour(i), lw=1.3, label=name)
    best = int(np.nanargmin(validation))
    ax.plot(
        _steps(validation, n)[best], validation[best], "o", mfc="none",
        color=ink(TRUTH), label=f"best validation: ${validation[best]:.4g}$",
    )  # fmt: skip
    ax.set(xlabel=xlabel, ylabel="loss")
    both = np.concatenate([train, validation])
    both = both[np.isfinite(both)]
    if both.min() > 0 and both.max() / both.min() > LOG_RANGE:
        ax.set_yscale("log")
    else:  # the first steps of a flow would squeeze all others
        low, high = both.min(), np.percentile(both, 95)
        ax.set_ylim(low - 0.05 * (high - low), high + 0.05 * (high - low))
    ax.legend(frameon=False)
    return fig


def plot_emulator_errors(
    theta: Float[ArrayLike, "n 6"],
    residuals: Float[ArrayLike, "n element"],
    names: Sequence[str] = ABUNDANCES,
) -> Figure:
    """Emulator minus simulator per abundance [dex], and where in theta it is large.

    Each panel prints the bias, the rms and the 99.9th percentile of the size. The last
    one has the rms over all abundances along each parameter, from its lowest to its
    highest value. Rows with a NaN (the model has no star there) are left out.

    Args:
        theta: parameters of the stars, in the order of `PARAMETERS`.
        residuals: dex.
        names: of the columns of `residuals`.
    """
    theta, residuals = np.asarray(theta), np.asarray(residuals)
    born = np.isfinite(residuals).all(axis=1)
    theta, residuals = theta[born], residuals[born]
    n, columns = len(names), 3 if len(names) < 9 else 4
    n_rows = -(-(n + 1) // columns)
    fig = new_figure(9.5, 2.5 * n_rows)
    axes = fig.subplots(n_rows, columns).ravel()
    for i, (ax, name) in enumerate(zip(axes, names, strict=False)):
        _errors(ax, residuals[:, i])
        ax.set_xlabel(rf"$\Delta$ {label(name)}")
    for ax in axes[:n:columns]:
        ax.set_ylabel("number")
    _along_parameters(axes[n], theta, residuals)
    for ax in axes[n + 1 :]:
        ax.set_visible(False)
    return fig


def plot_single_star_ape(ape: Float[ArrayLike, "n 6"]) -> Figure:
    """Absolute percentage error of the six parameters, star by star.

    Args:
        ape: 100 |estimate - truth| / |truth| [%].
    """
    ape = np.asarray(ape)
    fig = new_figure(9.0, 5.2)
    axes = fig.subplots(2, 3).ravel()
    for i, (ax, name) in enumerate(zip(axes, PARAMETERS, strict=True)):
        values = ape[np.isfinite(ape[:, i]), i]
        high = np.percentile(values, 98)  # a truth near zero makes an endless tail
        ax.hist(values, bins=40, range=(0, high), color=colour(0), alpha=0.45)
        median = np.median(values)
        ax.axvline(median, color=colour(1), label=f"median {median:.1f} %")
        beyond = 100 * np.mean(values > high)
        ax.plot([], [], " ", label=f"{beyond:.1f} % beyond")
        ax.set(xlabel=f"APE of {label(name, unit=False)} [%]", xlim=(0, high))
        ax.legend(frameon=False, loc="upper right")
        if i % 3 == 0:
            ax.set_ylabel("number of stars")
    return fig


def _steps(loss: np.ndarray, n: int) -> np.ndarray:
    return np.arange(1, len(loss) + 1) * (n / len(loss))


def _errors(ax: Axes, residual: np.ndarray) -> None:
    size = np.percentile(np.abs(residual), 99.9)
    half = max(float(np.percentile(np.abs(residual), 99.5)), 1e-9)
    ax.hist(residual, bins=60, range=(-half, half), color=colour(0), alpha=0.45)
    ax.axvline(0, color=ink(GUIDE), lw=0.8)
    bias, rms = residual.mean(), np.sqrt(np.mean(residual**2))
    text = f"bias {bias:+.5f}\nrms {rms:.5f}\n99.9 % {size:.4f}"
    ax.text(0.97, 0.95, text, ha="right", va="top", fontsize="small",
            transform=ax.transAxes)  # fmt: skip
    ax.set_xlim(-half, half)
    few_ticks(ax)


def _along_parameters(ax: Axes, theta: np.ndarray, residuals: np.ndarray) -> None:
    squared = np.mean(residuals**2, axis=1)
    for i, name in enumerate(PARAMETERS):
        groups = np.array_split(squared[np.argsort(theta[:, i])], QUANTILE_BINS)
        rms = [1e3 * np.sqrt(group.mean()) for group in groups if len(group)]
        centres = (np.arange(len(rms)) + 0.5) / len(rms)
        ax.plot(centres, rms, color=colour(i), lw=1.2, label=label(name, unit=False))
    ax.set(xlabel="quantile of the parameter", ylabel=r"rms [$10^{-3}$ dex]")
    ax.set_ylim(0, 1.4 * ax.get_ylim()[1])
    ax.legend(frameon=False, fontsize="x-small", ncols=2)
