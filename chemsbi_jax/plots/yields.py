"""Yield sets side by side: what stars make, what a galaxy becomes of it."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from chemsbi_jax.plots.style import GUIDE, colour, few_ticks, ink, label, new_figure

LINES = ("-", "--", ":", "-.")
N_COLOURS = 6  # of the cycle; then the next line style
COLUMNS = 4
MARKERS = "osD^v<>P*X"


def plot_net_yields(
    curves: Mapping[str, Sequence[tuple[np.ndarray, Mapping[str, np.ndarray]]]],
    elements: Sequence[str],
) -> Figure:
    """Net yields against the initial mass, a panel an element, a line a set.

    Args:
        curves: set -> its channels: edges of the mass bins (bin + 1,) in Msun, and by
            element the newly made mass (bin,) in Msun per Msun of the star.
        elements: symbols, in the order of the panels.
    """
    figure, axes = _panels(len(elements))
    for ax, element in zip(axes, elements, strict=False):
        for i, (name, channels) in enumerate(curves.items()):
            for j, (edges, made) in enumerate(channels):
                if element in made:
                    ax.stairs(
                        made[element], np.sort(edges), baseline=None,
                        label=None if j else name, **_line(i),
                    )  # fmt: skip
        ax.axhline(0.0, color=ink(GUIDE), lw=0.8, zorder=0)
        ax.set(xscale="log", title=element)
        ax.set_xticks([1, 2, 4, 8, 20, 50, 100], labels=[1, 2, 4, 8, 20, 50, 100])
        ax.minorticks_off()
    figure.supxlabel(r"Initial mass [$M_\odot$]")
    figure.supylabel("Net yield / initial mass")
    _legend(figure, axes[0])
    return figure


def plot_ejecta(
    ratios: Mapping[str, Mapping[str, Mapping[str, float]]], titles: Sequence[str]
) -> Figure:
    """[X/Fe] of all ejecta of each channel, averaged over the IMF.

    Args:
        ratios: channel -> set -> element -> dex; elements in order of the x axis.
        titles: of the channels.
    """
    figure = new_figure(9.0, 2.6 * len(ratios))
    axes = np.atleast_1d(figure.subplots(len(ratios), 1))
    for ax, title, sets in zip(axes, titles, ratios.values(), strict=True):
        order = list(dict.fromkeys(e for made in sets.values() for e in made))
        for i, (name, made) in enumerate(sets.items()):
            step = 0.6 * ((i + 0.5) / len(sets) - 0.5)
            x = [order.index(e) + step for e in made]
            marker = MARKERS[i // N_COLOURS % len(MARKERS)]
            ax.plot(
                x, [*made.values()], marker, ms=4, color=colour(i % N_COLOURS),
                label=name,
            )  # fmt: skip
        ax.axhline(0.0, color=ink(GUIDE), lw=0.8, zorder=0)
        ax.set(title=title, ylabel="[X/Fe] [dex]", xlim=(-0.5, len(order) - 0.5))
        ax.set_xticks(range(len(order)), labels=order)
    _legend(figure, axes[0])
    return figure


def plot_tracks(
    tracks: Mapping[str, Mapping[str, Float[np.ndarray, " time"]]],
    abundances: Sequence[str],
) -> Figure:
    """[X/Fe] of the gas of one galaxy against [Fe/H], a panel an element.

    Args:
        tracks: set -> abundance name -> dex over time, with "fe_h".
        abundances: names of the panels.
    """
    figure, axes = _panels(len(abundances))
    for ax, name in zip(axes, abundances, strict=False):
        for i, (which, track) in enumerate(tracks.items()):
            if name in track:
                ax.plot(track["fe_h"], track[name], label=which, **_line(i))
        ax.axhline(0.0, color=ink(GUIDE), lw=0.8, zorder=0)
        ax.set(title=_ratio(name), xlim=(-1.6, None))
        _fit_height(ax)
        few_ticks(ax)
    figure.supxlabel(label("fe_h"))
    figure.supylabel("[X/Fe] [dex]")
    _legend(figure, axes[0])
    return figure


def _fit_height(ax: Axes) -> None:
    """The y range of what is to the right of the left end."""
    low, _ = ax.get_xlim()
    lines = (map(np.asarray, line.get_data()) for line in ax.get_lines()[:-1])
    seen = [y[x >= low] for x, y in lines]
    seen = np.concatenate([*seen, [0.0]])
    margin = 0.05 * np.ptp(seen) + 0.05
    ax.set_ylim(seen.min() - margin, seen.max() + margin)


def _panels(n: int) -> tuple[Figure, np.ndarray]:
    rows = -(-n // COLUMNS)
    figure = new_figure(2.7 * COLUMNS, 2.2 * rows + 0.8)
    axes = np.atleast_2d(figure.subplots(rows, COLUMNS, squeeze=False)).ravel()
    for ax in axes[n:]:
        ax.set_visible(False)
    return figure, axes


def _line(i: int) -> dict:
    return {
        "color": colour(i % N_COLOURS),
        "ls": LINES[i // N_COLOURS % len(LINES)],
        "lw": 1.2,
    }


def _ratio(name: str) -> str:
    return "[{}/{}]".format(*(part.capitalize() for part in name.split("_")))


def _legend(figure: Figure, ax: Axes) -> None:
    handles, labels = ax.get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=min(4, len(labels)),
        frameon=False,
    )  # fmt: skip
