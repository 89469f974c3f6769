"""Why the exact method found no posterior, and what to do."""

import numpy as np
from jaxtyping import Float

from chemsbi_jax.galaxy.likelihood import Observed
from chemsbi_jax.types import AnyArray

FEW_EFFECTIVE_DRAWS = 8.0  # median of the stars, below which draws are the cause
FEW_VALUES = 2  # measured values of a star, too few for its parameters


def why_no_posterior(
    n_used: int, draws: float, mean: Float[AnyArray, " 2"], observed: Observed
) -> str:
    """Cause and remedy, in sentences.

    Args:
        n_used: stars in use.
        draws: effective draws of a star, in the median.
        mean: of the last round, in latents.
        observed: measurements of the stars.
    """
    cause = "the grid of the last round did not fit the posterior"
    if draws < FEW_EFFECTIVE_DRAWS:
        cause = (
            f"the median number of effective draws of a star is {draws:.1f}, because "
            "the proposals do not cover the local parameters of these stars"
        )
    remedy = (
        "Check the units and solar scale of the abundances and their errors, leave out "
        "those that the model can't reproduce, or use another method (flow, robust)."
    )
    n_values = median_of_values(observed)
    if n_values <= FEW_VALUES:
        remedy = (
            f"The stars have {n_values:.0f} measured values in the median, too few to "
            "constrain the six parameters of a star: give more abundances, or ages "
            "with errors."
        )
    return (
        f"The exact method found no posterior for these {n_used} stars: {cause}. The "
        f"mean of the last round is {np.hypot(*np.asarray(mean)):.1f} prior widths "
        f"from the prior's mean. {remedy}"
    )


def median_of_values(observed: Observed) -> float:
    """Measured abundances and birth times of a star, in the median."""
    seen = (np.asarray(observed.weight) > 0.0).sum(axis=-1)
    dated = np.asarray(observed.birth_weight) > 0.0
    return float(np.median(seen + dated))
