"""Figure of the recovery test: which formula finds which truth."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.figure import Figure

from chemsbi_jax.plots.style import BAND, GUIDE, colour, ink, new_figure

MARKERS = "os^Dvp"
LOWEST = 0.1  # smaller distances are drawn here


def plot_recovery(
    distance: Float[ArrayLike, " truth"],
    pulls: Mapping[int, Mapping[str, Float[ArrayLike, " truth"]]],
    labels: Sequence[str] | None = None,
) -> Figure:
    """Mahalanobis distance of each result from its truth, beside that of the truth.

    Args:
        distance: of each truth from the mean of the prior, in its standard deviations.
        pulls: number of stars -> formula -> Mahalanobis distance of each result.
        labels: names of the first truths.
    """
    distance = np.asarray(distance)
    fig = new_figure(4.6 * len(pulls), 4.2)
    axes = fig.subplots(1, len(pulls), sharex=True, sharey=True, squeeze=False)[0]
    for ax, (n_stars, by_method) in zip(axes, pulls.items(), strict=True):
        ax.axhspan(LOWEST / 2, 3, color=ink(BAND), lw=0)
        ax.axhline(3, color=ink(GUIDE), lw=1, ls=":")
        for i, (name, pull) in enumerate(by_method.items()):
            ax.plot(
                distance, np.maximum(pull, LOWEST), MARKERS[i % len(MARKERS)],
                color=colour(i), ms=5, mew=0.8, mfc=colour(i) if i == 0 else "none",
                label=name,
            )  # fmt: skip
        for x, text in zip(distance, labels or (), strict=False):
            ax.annotate(
                text, (x, 1), xycoords=("data", "axes fraction"), rotation=90,
                xytext=(0, -4), textcoords="offset points", ha="center", va="top",
                fontsize="small", color=ink(GUIDE),
            )  # fmt: skip
        ax.set(title=f"{n_stars} stars", yscale="log")
        ax.set(xlabel="distance of the truth from the prior mean [prior $\\sigma$]")
    axes[0].set(ylabel=r"Mahalanobis distance from the truth [$\sigma$]")
    top = max(np.max(pull) for by in pulls.values() for pull in by.values())
    axes[0].set_ylim(LOWEST / 1.2, 30 * max(top, 3))
    fig.legend(
        *axes[0].get_legend_handles_labels(), frameon=False, ncols=4,
        loc="outside lower center",
    )  # fmt: skip
    return fig
