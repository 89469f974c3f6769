"""Each public figure, of made-up content."""

import numpy as np

from chemsbi_jax import plots
from chemsbi_jax.constants import PARAMETERS
from chemsbi_jax.plots.reproduction import plot_recovery
from chemsbi_jax.plots.shared_errors import (
    plot_both_intervals,
    plot_budget,
    plot_catalogues,
    plot_power,
    plot_yield_factors,
    plot_yields_of_catalogues,
)
from chemsbi_jax.plots.simulations import plot_simulations
from chemsbi_jax.results import GalaxyPosterior
from chemsbi_jax.types import Stars

MEAN = np.array([-2.306, -2.884])
COVARIANCE = np.array([[7.06e-5, 8.68e-5], [8.68e-5, 1.51e-4]])
PRIOR = ((-2.3, -2.89), (0.3, 0.3))
RNG = np.random.default_rng(8)
SPREAD = np.array([0.1, 0.3, 0.05, 0.12, 0.2, 0.1, 0.15, 0.1])


def gaussian(method, shift=0.0, scale=1.0):
    mean, covariance = MEAN + shift, COVARIANCE * scale**2
    draws = np.random.default_rng(1).multivariate_normal(mean, covariance, 2000)
    return GalaxyPosterior(method, draws, mean, covariance, {})


def made_up_stars(n=300):
    values = np.random.default_rng(2).normal(size=(n, 8)) * SPREAD
    observed = np.ones((n, 8), bool)
    observed[:, 5] = False
    observed[: n // 2, 2] = False
    unknown = np.full(n, np.nan)
    return Stars(
        np.where(observed, values, np.nan),
        np.where(observed, 0.05, np.nan),
        observed,
        unknown,
        unknown,
        np.arange(n).astype(str),
    )


def theta_draws(n=600):
    centre = np.array([-2.3, -2.89, -0.3, 0.55, 0.5, 7.0])
    width = np.array([0.1, 0.12, 0.3, 0.1, 0.1, 2.0])
    return centre + width * np.random.default_rng(3).normal(size=(n, 6))


LEVELS = np.linspace(0, 1, 21)
WIDTH = 2.576 * np.sqrt(LEVELS * (1 - LEVELS) / 500)
BANDS = (LEVELS - WIDTH, LEVELS + WIDTH)
N_STARS = [1, 10, 100, 1000]
SDS = np.array([[0.1, 0.15]]) / np.sqrt(N_STARS)[:, None]
FIGURES = {
    "galaxy": lambda: plots.plot_galaxy(
        gaussian("flow"), (-2.3, -2.89), PRIOR, {"gaussian": gaussian("gaussian", 0.01)}
    ),
    "galaxy, no truth": lambda: plots.plot_galaxy(gaussian("flow")),
    "convergence": lambda: plots.plot_convergence(
        N_STARS, MEAN + SDS, SDS, MEAN, {"gaussian": (MEAN - SDS, SDS)}
    ),
    "convergence, no truth": lambda: plots.plot_convergence(N_STARS, MEAN + SDS, SDS),
    "corner": lambda: plots.plot_corner(
        theta_draws(), PARAMETERS, theta_draws()[0], theta_draws() * 1.1
    ),
    "predictive": lambda: plots.plot_predictive(
        made_up_stars(), RNG.normal(size=(20, 300, 8)) * SPREAD
    ),
    "predictive, pooled": lambda: plots.plot_predictive(
        made_up_stars(), RNG.normal(size=(900, 8)) * SPREAD
    ),
    "predictive, one star": lambda: plots.plot_predictive(
        made_up_stars(1), RNG.normal(size=(20, 1, 8)) * SPREAD
    ),
    "losses": lambda: plots.plot_losses(np.exp(-np.arange(50)), np.ones(10)),
    "emulator": lambda: plots.plot_emulator_errors(
        theta_draws(), 0.003 * RNG.normal(size=(600, 8))
    ),
    "ape": lambda: plots.plot_single_star_ape(np.abs(RNG.normal(size=(300, 6)))),
    "ranks": lambda: plots.plot_ranks(RNG.integers(0, 100, (500, 6)), 99),
    "coverage": lambda: plots.plot_coverage(LEVELS, np.tile(LEVELS, (6, 1)).T, BANDS),
    "tarp": lambda: plots.plot_tarp(LEVELS, LEVELS**1.1, BANDS),
    "simulations": lambda: plot_simulations(
        theta_draws(), RNG.normal(size=(600, 8)) * SPREAD
    ),
    "recovery": lambda: plot_recovery(
        LEVELS, {100: {"exact": LEVELS, "flow": 30 * LEVELS}}, ["near"]
    ),
}

ELSEWHERE = {"yields"}  # its figures are made in test_yields_script.py
INTERVAL = (MEAN, np.diag([0.01, 0.02]) ** 2)
SHARES = {"alpha_imf": 0.3, "log10_n_ia": 0.6}
YIELDS = {"sn2_mg": {"mean": 0.1, "sd": 0.05}}
MORE_FIGURES = {
    "posteriors of yield sets": lambda: plots.plot_yield_posteriors(
        {"tng": INTERVAL, "nkt13": INTERVAL}, RNG.normal(size=(100, 2))
    ),
    "residuals of yield sets": lambda: plots.plot_yield_residuals(
        {"tng": {"fe_h": 0.1, "mg_fe": None}}, {"tng": {"fe_h": 0.02, "mg_fe": None}}
    ),
    "both intervals": lambda: plot_both_intervals(INTERVAL, INTERVAL, MEAN),
    "catalogues": lambda: plot_catalogues(
        {"survey": INTERVAL}, {"all": INTERVAL}, MEAN
    ),
    "yields of catalogues": lambda: plot_yields_of_catalogues(
        {"a": YIELDS}, YIELDS, {"sn2_mg": 0.2}
    ),
    "yield factors": lambda: plot_yield_factors(YIELDS, {"sn2_mg": 0.2}),
    "budget": lambda: plot_budget({"yields": SHARES, "all": SHARES}),
    "power": lambda: plot_power({"Fe, Mg": {"10": SHARES, "100": SHARES}}),
}


def texts(fig):
    """All text of a figure, as one string."""
    found = [text.get_text() for part in (fig, *fig.axes) for text in part.texts]
    for ax in fig.axes:
        found += [
            ax.get_xlabel(),
            ax.get_ylabel(),
            ax.get_title(),
            ax.get_title("left"),
        ]
        found += [ax.get_title("right")]
        if ax.get_legend():
            found += [text.get_text() for text in ax.get_legend().get_texts()]
    return "\n".join(found)
