"""Figures of report.html: the PNG files that `infer` writes, with their texts."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple


class ReportFigure(NamedTuple):
    """A figure of the page."""

    name: str  # of its PNG file, without suffix
    title: str  # caption, one or two sentences
    alt: str  # what the figure shows, for those who do not see it
    png: bytes  # content of the PNG file


# name, title, alternative text; in the order of the page
TEXTS = (
    (
        "posterior",
        "Posterior of the two parameters with the statistical error only: draws, "
        "ellipses at 1, 2 and 3 sigma "
        "(39, 86 and 99 % of the probability), and the two marginal distributions. "
        "Ellipses of other methods lie on top of each other where the methods agree.",
        "Scatter plot of posterior draws of alpha_imf and log10_n_ia with nested "
        "ellipses for each method, and a histogram of each parameter along the edges.",
    ),
    (
        "shared_errors",
        "Both intervals (1 and 2 sigma): statistical error only, and with errors that "
        "all stars share.",
        "Two pairs of nested ellipses in the plane of alpha_imf and log10_n_ia: a "
        "small pair, and a larger pair that includes shared errors.",
    ),
    (
        "yield_factors",
        "Inferred log10 factors on the yields with errors of 1 sigma; grey: 1 sigma of "
        "the prior.",
        "A row for each yield factor: a point with a horizontal error bar on a grey "
        "bar that shows the prior.",
    ),
    (
        "width_budget",
        "Relative decrease of the width of the interval with shared errors if a block "
        "of shared parameters is held at its default values.",
        "A pair of horizontal bars for each block of shared parameters, one for each "
        "parameter of the galaxy, in percent.",
    ),
    (
        "convergence",
        "Without shared errors: "
        "mean with bands of 1 and 2 sigma, and width of the posterior, for N stars in "
        "a random order by the method that the legend names; the last point is the "
        "first interval. The width falls as 1/√N where the stars are independent.",
        "Four panels against the number of stars: above, the mean of each parameter "
        "with bands that become narrower; below, its width beside a dotted line "
        "proportional to one over the root of N.",
    ),
    (
        "predictive",
        "Without shared errors: "
        "abundances of the stars (blue) and those that the model predicts from the "
        "posterior of each star by itself, with noise (grey, 1 and 2 sigma). Lower "
        "panels: difference in sigma. The posterior of one star is wide, so even stars "
        "of the model can differ by several sigma; the section “Residuals of the "
        "abundances” allows for that.",
        "One histogram for each observed abundance with the predicted band behind "
        "it, and a panel of residuals in sigma below each histogram.",
    ),
    (
        "first_star",
        "Without shared errors: "
        "posterior of all six parameters for the first star alone. Grey "
        "lines on the diagonal: the prior.",
        "Corner plot of six parameters of one star: histograms on the diagonal, "
        "contours of each pair of parameters below it.",
    ),
)


FIGURES = tuple(name for name, *_ in TEXTS)


def delete_earlier(folder: Path, keep: Collection[str]) -> None:
    """Delete summary, report and figures of an earlier run in this folder.

    Without that an interrupted run would leave files of two results.

    Args:
        folder: of the result.
        keep: names of figures that are replaced.
    """
    figures = [f"{name}.png" for name in FIGURES if name not in keep]
    for name in ("summary.json", "report.html", *figures):
        (folder / name).unlink(missing_ok=True)


"""Names of all figures that a result may have."""


def read_figures(folder: str | os.PathLike) -> Sequence[ReportFigure]:
    """The figures that are in the folder of a result, in the order of the page."""
    files = [(Path(folder) / f"{name}.png", *texts) for name, *texts in TEXTS]
    return tuple(
        ReportFigure(path.stem, caption, alt, path.read_bytes())
        for path, caption, alt in files
        if path.is_file()
    )
