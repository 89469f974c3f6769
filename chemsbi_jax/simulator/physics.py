"""Choices of the physics, and the numerical errors of the original code."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Physics:
    """Static switches of the simulator; each names the modules in which it acts.

    The second group are by-products of how the original Chempy is coded. They are all
    off in `CLEAN` and all on in `LEGACY`.
    """

    n_steps: int = 27
    """Time steps from the start to `birth_time` (`onezone`); another number changes the
    abundances."""
    lagged_composition: bool = True
    """Unprocessed ejecta have the gas composition of one step before (`onezone`)."""
    integrated_delay_times: bool = False
    """Integrate the SN Ia delay times over each step (`delay_times`)."""

    gridded_imf: bool = False
    """Sum the IMF over 5000 masses instead of integrating it (`imf`)."""
    dropped_last_agb: bool = False
    """Lose the AGB stars of the step that ends below 1 Msun (`ssp`)."""
    unfloored_metallicity: bool = False
    """Extrapolate lifetimes and yields to metallicities of 1e-11 (`lifetimes`)."""
    stepwise_reservoir: bool = False
    """Count whole steps until today in the gas reservoir (`star_formation`)."""
    stepwise_delay_times: bool = False
    """Count whole steps in the SN Ia normalisation and onset (`delay_times`)."""
    truncated_late_run: bool = False
    """End one step early for stars born after `T_END` (`star_formation`)."""
    rounding_factors: bool = False
    """Multiply the gas needed by 1 + 1e-7 and the infall by 1 + 1e-8 (`onezone`)."""


CLEAN = Physics()

LEGACY = Physics(
    gridded_imf=True,
    dropped_last_agb=True,
    unfloored_metallicity=True,
    stepwise_reservoir=True,
    stepwise_delay_times=True,
    truncated_late_run=True,
    rounding_factors=True,
)
