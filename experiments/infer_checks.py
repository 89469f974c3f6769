"""Former home of `galaxy.checks`, for scripts that still import it from here."""

from chemsbi_jax.galaxy import checks
from chemsbi_jax.galaxy.checks import N_CHECK_DRAWS as N_CHECK_DRAWS
from chemsbi_jax.galaxy.networks import Networks


def check_fit(key, npe, forward, stars, draws, galaxy):
    """`galaxy.checks.check_fit` with the networks as two arguments."""
    return checks.check_fit(key, Networks(npe, forward), stars, draws, galaxy)
