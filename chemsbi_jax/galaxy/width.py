"""The width of a posterior beside what the stars can give: a false one is refused."""

import numpy as np
from jaxtyping import Float

from chemsbi_jax.constants import GLOBAL_PARAMETERS, N_GLOBAL
from chemsbi_jax.errors import WidthError
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import GalaxyPosterior, Stars, shared_variance

STEEPEST = 3.0
"""Largest derivative of an abundance [dex] with respect to either parameter.

An abundance is the logarithm of a mean yield. With the slope it changes by the log10 of
a mass below 100, so by 2 at most, and with log10_n_ia by 1. The emulator's largest
value, up to 4 prior widths from the mean of the prior, is 2.4.
"""
LEAST_SHARE = 1e-6  # of the prior's width
CAUSES = (
    "Likely causes: abundances in another unit or on another scale, a code for missing "
    "values that was read as a number, or errors that are much too small. Compare the "
    "columns with the names and units that they were read by, and correct them with "
    "--columns or --solar-from; --method exact names stars that the model can't make."
)


def narrowest(prior: Prior, stars: Stars) -> Float[np.ndarray, " 2"]:
    """Standard deviations that no posterior of these stars falls below.

    The Cramer-Rao bound of the observed abundances, with the parameters of each star
    known and all abundances as steep as `STEEPEST`: 1 / sqrt(sum (3 / e)^2).

    Args:
        prior: of the parameters; its widths are the other bound.
        stars: with errors [dex].
    """
    widths = np.array([float(d.variance) ** 0.5 for d in tuple(prior)[:N_GLOBAL]])
    seen = np.asarray(stars.observed)
    variance = np.asarray(stars.errors, float) ** 2
    shared = shared_variance(stars)  # of [X/Fe] from [X/H], whose errors are smaller
    variance = variance if shared is None else variance - shared
    errors = np.where(seen, np.sqrt(variance), np.inf)
    information = np.sum((STEEPEST / errors) ** 2)
    of_data = 1.0 / np.sqrt(information + widths**-2.0)
    return np.maximum(LEAST_SHARE * widths, of_data)


def require_width(
    posterior: GalaxyPosterior,
    prior: Prior,
    stars: Stars,
    table: str = "stars",
    why: str = "",
) -> None:
    """Raise for an interval that no stars with these errors can give.

    Args:
        posterior: the result.
        prior: of the parameters.
        stars: that it was made from.
        table: name of the file.
        why: what is known of the cause, as a sentence.

    Raises:
        WidthError: a mean or a width is not a number, or a width is zero or smaller
            than the errors of the stars allow; names causes and remedies.
    """
    floor = narrowest(prior, stars)
    known = f"{why} {CAUSES}" if why else CAUSES
    each = zip(GLOBAL_PARAMETERS, posterior.mean, posterior.sd, floor, strict=True)
    for name, mean, sd, least in each:
        if not np.isfinite(mean) or not np.isfinite(sd):
            raise WidthError(
                f"{table}: the method {posterior.method} gives no number for {name} "
                f"({mean:g} +- {sd:g}), so there is no result. {known}"
            )
        if sd < least:
            raise WidthError(
                f"{table}: the method {posterior.method} gives {name} = {mean:.4f} +- "
                f"{sd:.2g}, but {len(stars.values)} stars with these errors can't give "
                f"less than {least:.2g}, so this is no result. {known}"
            )
