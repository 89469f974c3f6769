"""Figures of results: plain arrays in, a matplotlib Figure out; no pyplot state.

The style is the user's: every function reads the rcParams of the moment (fonts, grids,
spines, background, a changed colour cycle and colour map, a numeric `savefig.dpi`) and
changes none. Greys lie between the user's text and background, so that dark styles
work. Ours are the layout, the size, which `fig.set_size_inches` changes, and, where the
colour cycle is matplotlib's own, the colours of Okabe & Ito (`STYLE`):

    with matplotlib.style.context("dark_background"):
        fig = plots.plot_galaxy(posterior)  # the user's style
    with matplotlib.style.context(["ggplot", plots.STYLE]):
        fig = plots.plot_galaxy(posterior)  # the user's style, our colours
"""

from chemsbi_jax.plots.calibration import plot_coverage as plot_coverage
from chemsbi_jax.plots.calibration import plot_ranks as plot_ranks
from chemsbi_jax.plots.calibration import plot_tarp as plot_tarp
from chemsbi_jax.plots.corner import plot_corner as plot_corner
from chemsbi_jax.plots.galaxy import plot_convergence as plot_convergence
from chemsbi_jax.plots.galaxy import plot_galaxy as plot_galaxy
from chemsbi_jax.plots.predictive import plot_predictive as plot_predictive
from chemsbi_jax.plots.style import STYLE as STYLE
from chemsbi_jax.plots.style import as_png as as_png
from chemsbi_jax.plots.style import save_figure as save_figure
from chemsbi_jax.plots.training import plot_emulator_errors as plot_emulator_errors
from chemsbi_jax.plots.training import plot_losses as plot_losses
from chemsbi_jax.plots.training import plot_single_star_ape as plot_single_star_ape
from chemsbi_jax.plots.yield_comparison import (
    plot_yield_posteriors as plot_yield_posteriors,
)
from chemsbi_jax.plots.yield_comparison import (
    plot_yield_residuals as plot_yield_residuals,
)
