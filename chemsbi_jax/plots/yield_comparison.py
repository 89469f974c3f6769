"""Results of several yield sets for the same stars."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.plots.style import (
    GUIDE,
    colour,
    ellipse,
    few_ticks,
    ink,
    label,
    new_figure,
)

LINES = ("-", "--", ":", "-.")
MARKERS = "osD^v<>P*X"
N_COLOURS = 6  # of the cycle; then the next line style and marker
N_SIGMA = 2.0

Mean = Float[np.ndarray, " 2"] | Sequence[float]
Covariance = Float[np.ndarray, "2 2"] | Sequence[Sequence[float]]


def plot_yield_posteriors(
    posteriors: Mapping[str, tuple[Mean, Covariance]],
    mixture: Float[np.ndarray, "draw 2"] | None = None,
) -> Figure:
    """All posteriors in one plane: the 2 sigma ellipse of each set, and the mixture.

    Args:
        posteriors: set -> mean (2,) and covariance (2, 2) of alpha_imf, log10_n_ia.
        mixture: draws of the mixture by stacking weights.
    """
    figure = new_figure(7.0, 4.6)
    ax = figure.subplots()
    if mixture is not None:
        ax.plot(*mixture.T, ".", ms=1.5, color=ink(GUIDE), label="mixture", zorder=0)
    for i, (name, (mean, covariance)) in enumerate(posteriors.items()):
        mean, covariance = np.asarray(mean, float), np.asarray(covariance, float)
        turn = i // N_COLOURS
        tint, style = colour(i % N_COLOURS), LINES[turn % len(LINES)]
        ax.plot(*ellipse(mean, covariance, N_SIGMA), lw=1.2, color=tint, ls=style)
        marker = MARKERS[turn % len(MARKERS)]
        ax.plot(*mean, marker, ms=4, label=name, color=tint, ls=style)
    ax.set(xlabel=label(GLOBAL_PARAMETERS[0]), ylabel=label(GLOBAL_PARAMETERS[1]))
    few_ticks(ax, 6)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def plot_yield_residuals(
    residuals: Mapping[str, Mapping[str, float | None]],
    errors: Mapping[str, Mapping[str, float | None]],
) -> Figure:
    """Mean residual of each abundance, observed minus expected, for each set.

    Args:
        residuals: set -> abundance -> dex.
        errors: the same with the standard errors [dex].
    """
    names = list(dict.fromkeys(a for each in residuals.values() for a in each))
    figure = new_figure(max(6.0, 1.2 * len(names)), 4.2)
    ax = figure.subplots()
    for i, (name, each) in enumerate(residuals.items()):
        step = 0.8 * ((i + 0.5) / len(residuals) - 0.5)
        x = np.arange(len(names)) + step
        y, e = (
            np.array([part.get(a) for a in names], float)
            for part in (each, errors[name])
        )
        marker = MARKERS[i // N_COLOURS % len(MARKERS)]
        ax.errorbar(
            x, y, e, fmt=marker, ms=3.5, lw=1.0, color=colour(i % N_COLOURS),
            label=name,
        )  # fmt: skip
    ax.axhline(0.0, color=ink(GUIDE), lw=0.8, zorder=0)
    ax.set_xticks(range(len(names)), labels=[label(a, unit=False) for a in names])
    ax.set_ylabel("observed - expected [dex]")
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure
