"""Figures of the interval with shared errors."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import ArrayLike, Float
from matplotlib.figure import Figure

from chemsbi_jax.plots.style import GUIDE, colour, ellipse, ink, label, new_figure

GALAXY = ("alpha_imf", "log10_n_ia")
TWO_SIGMA = 2.0
LONGEST_NAME = 30  # characters of a catalogue's name in a legend; longer ones are cut
LONG_NAME = 12  # beyond it, the legend has one column
# catalogues of one line style (or mark): their colours differ
N_COLOURS, LINE_STYLES = 5, ("-", "--", ":", "-.")


def plot_both_intervals(
    statistical: tuple[Float[ArrayLike, " 2"], Float[ArrayLike, "2 2"]],
    shared: tuple[Float[ArrayLike, " 2"], Float[ArrayLike, "2 2"]],
    truth: Float[ArrayLike, " 2"] | None = None,
) -> Figure:
    """Regions of 1 and 2 sigma of both intervals in one plane.

    Args:
        statistical: mean and covariance with everything shared taken as known.
        shared: mean and covariance with shared errors.
        truth: marked, if known.
    """
    fig = new_figure(4.5, 4.0)
    ax = fig.subplots()
    names = ("first interval", "with shared errors")
    for i, ((mean, covariance), name) in enumerate(
        zip((statistical, shared), names, strict=True)
    ):
        for n in (1.0, TWO_SIGMA):
            x, y = ellipse(np.asarray(mean), np.asarray(covariance), n)
            ax.plot(x, y, color=colour(i), label=name if n == 1.0 else None)
    if truth is not None:
        ax.plot(*np.asarray(truth), "+", color=ink(1.0), label="truth")
    ax.set_xlabel(label(GALAXY[0]))
    ax.set_ylabel(label(GALAXY[1]))
    # above the panel, where no ellipse lies
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, frameon=False)
    return fig


def plot_catalogues(
    catalogues: Mapping[str, tuple[Float[ArrayLike, " 2"], Float[ArrayLike, "2 2"]]],
    together: Mapping[str, tuple[Float[ArrayLike, " 2"], Float[ArrayLike, "2 2"]]],
    truth: Float[ArrayLike, " 2"] | None = None,
) -> Figure:
    """Ellipses of 1 sigma of several catalogues, and of 1 and 2 sigma of all together.

    Args:
        catalogues: name -> mean and covariance.
        together: the same, given all of them.
        truth: marked, if known.
    """
    names = [*catalogues, *together]
    n_columns = 1 if max(map(len, names)) > LONG_NAME else 2
    n_rows = -(-(len(names) + (truth is not None)) // n_columns)
    fig = new_figure(4.8, 4.0 + 0.2 * n_rows)
    ax = fig.subplots()
    for i, (name, (mean, covariance)) in enumerate(catalogues.items()):
        x, y = ellipse(np.asarray(mean), np.asarray(covariance), 1.0)
        style = LINE_STYLES[i // N_COLOURS % len(LINE_STYLES)]
        text = f"{_plain(name)} (1 sigma)"
        ax.plot(x, y, color=colour(i % N_COLOURS), linestyle=style, label=text)
    for name, (mean, covariance) in together.items():
        for n in (1.0, TWO_SIGMA):
            x, y = ellipse(np.asarray(mean), np.asarray(covariance), n)
            text = f"{_plain(name)} (1 and 2 sigma)" if n == 1.0 else None
            ax.plot(x, y, color=ink(1.0), linewidth=2.0, label=text)
    if truth is not None:
        ax.plot(*np.asarray(truth), "+", color=ink(1.0), label="truth")
    ax.set_xlabel(label(GALAXY[0]))
    ax.set_ylabel(label(GALAXY[1]))
    place = {"loc": "lower center", "bbox_to_anchor": (0.5, 1.0)}
    ax.legend(**place, ncols=n_columns, frameon=False)
    return fig


def _plain(name: str) -> str:
    """A name of any characters as a legend has it: no formula, none that is hidden."""
    short = name if len(name) <= LONGEST_NAME else f"...{name[-LONGEST_NAME:]}"
    return short.replace("$", r"\$").lstrip("_") or "catalogue"


def plot_yields_of_catalogues(
    catalogues: Mapping[str, Mapping[str, Mapping[str, float]]],
    together: Mapping[str, Mapping[str, float]],
    prior: Mapping[str, float],
) -> Figure:
    """Yield factors and slopes of several catalogues and of all together, 1 sigma.

    Args:
        catalogues: name -> factor -> its "mean" and "sd" [dex; slopes: dex per dex of
            [Fe/H]].
        together: factor -> the same, given all of them.
        prior: factor -> prior scale in the same unit, drawn as a band.
    """
    fig = new_figure(5.4, 1.2 + 0.36 * len(prior) + 0.1 * len(catalogues))
    ax = fig.subplots()
    rows, scales = np.arange(len(prior)), np.array([*prior.values()])
    ax.barh(rows, 2.0 * scales, left=-scales, color=ink(0.12), label="prior")
    ax.axvline(0.0, color=ink(GUIDE), linewidth=0.8)
    places = np.linspace(-0.3, 0.3, len(catalogues) + 1)
    each = [*catalogues.items(), ("together", together)]
    for i, ((name, factors), place) in enumerate(zip(each, places, strict=True)):
        mean, sd = ([factors[f][k] for f in prior] for k in ("mean", "sd"))
        is_last = i == len(catalogues)
        tint = ink(1.0) if is_last else colour(i % N_COLOURS)
        mark = "s" if is_last else "o^vD"[i // N_COLOURS % 4]
        ax.errorbar(mean, rows + place, xerr=sd, fmt=mark, color=tint, markersize=3.5,
                    label=_plain(name))  # fmt: skip
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    ax.set_yticks(rows, [name.replace("_", " ") for name in prior])
    ax.set_ylim(len(prior) - 0.4, -0.6)
    ax.set_xlabel("log10 yield factor [dex], or slope [dex per dex of [Fe/H]]")
    return fig


def plot_yield_factors(
    factors: Mapping[str, Mapping[str, float]],
    prior: Mapping[str, float] | None = None,
) -> Figure:
    """Inferred log10 yield factors, and their slopes, with errors of 1 sigma.

    Args:
        factors: name -> its "mean" and "sd" [dex; slopes: dex per dex of [Fe/H]], as in
            `shared_errors` of a summary.
        prior: name -> prior scale in the same unit, drawn as a band.
    """
    fig = new_figure(5.0, 0.6 + 0.3 * len(factors))
    ax = fig.subplots()
    rows = np.arange(len(factors))
    mean, sd = ([f[k] for f in factors.values()] for k in ("mean", "sd"))
    if prior is not None:
        scales = [prior[name] for name in factors]
        width, left = 2.0 * np.array(scales), -np.array(scales)
        ax.barh(rows, width, left=left, color=ink(0.12), label="prior")
    ax.axvline(0.0, color=ink(GUIDE), linewidth=0.8)
    ax.errorbar(mean, rows, xerr=sd, fmt="o", color=colour(0), label="posterior")
    # above the panel, where no point lies
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, frameon=False)
    ax.set_yticks(rows, [name.replace("_", " ") for name in factors])
    ax.invert_yaxis()
    ax.set_xlabel("log10 yield factor [dex], or slope [dex per dex of [Fe/H]]")
    return fig


def plot_budget(budget: Mapping[str, Mapping[str, float]]) -> Figure:
    """How much the width of each parameter decreases if a block is held.

    Args:
        budget: block -> parameter -> share of its width, as in `shared_errors`.
    """
    fig = new_figure(5.0, 0.8 + 0.45 * len(budget))
    ax = fig.subplots()
    rows = np.arange(len(budget))
    for i, name in enumerate(GALAXY):
        share = [100.0 * block[name] for block in budget.values()]
        ax.barh(rows + 0.4 * (i - 0.5), share, 0.38, color=colour(i), label=label(name))
    ax.set_yticks(rows, [block.replace("_", " ") for block in budget])
    ax.invert_yaxis()
    ax.set_xlabel("decrease of the width if the block is held [%]")
    ax.legend(frameon=False)
    return fig


def plot_power(widths: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Width of the galaxy's parameters against the number of stars.

    Args:
        widths: what was measured -> number of stars -> parameter -> posterior width in
            units of the prior's.
    """
    fig = new_figure(7.0, 3.4)
    axes = fig.subplots(1, 2, sharey=True)
    for ax, name in zip(axes, GALAXY, strict=True):
        for i, (measured, rows) in enumerate(widths.items()):
            n = [int(x) for x in rows]
            sd = [row[name] for row in rows.values()]
            ax.plot(n, sd, "o-", color=colour(i), label=measured)
        ax.set_xscale("log")
        ax.set_ylim(0.0, 1.0)
        ax.set_xlabel("number of stars")
        ax.set_title(label(name))
    axes[0].set_ylabel("posterior width / prior width")
    axes[1].legend(frameon=False)
    return fig
