"""Figures of any number of abundances."""

import numpy as np

import chemsbi_jax as cs
from chemsbi_jax import plots
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.plots.simulations import plot_simulations


def test_figures_of_any_number_of_abundances():
    random = np.random.default_rng(0)
    for names in (ALL_ABUNDANCES, ("fe_h", "mg_fe", "o_fe"), cs.ABUNDANCES):
        theta, values = (
            random.normal(size=(50, 6)),
            random.normal(size=(50, len(names))),
        )
        figure = plots.plot_emulator_errors(theta, values, names)
        labels = [ax.get_xlabel() for ax in figure.axes if ax.get_visible()]
        assert len(labels) == len(names) + 1
        assert len(set(labels)) == len(labels)
        figure = plot_simulations(theta, values, names)
        labels = {ax.get_ylabel() for ax in figure.axes if ax.get_visible()}
        assert {f"[{a.split('_')[0].capitalize()}/Fe] [dex]" for a in names
                if a != "fe_h"} <= labels  # fmt: skip
