"""Two methods beside each other."""

from typing import NamedTuple

import numpy as np

from chemsbi_jax.types import AMORTISED, GalaxyPosterior

AGREE_SIGMA, AGREE_WIDTH = 2.0, 0.2  # methods that differ by more do not agree


class Agreement(NamedTuple):
    """Another method beside the result, in units of the result's own width."""

    other: str  # name of the other method
    shift_sigma: list[float]  # of the two means
    width_ratio: list[float]  # other standard deviation / that of the result
    guarded_stars: int  # stars whose Gaussian is wider than the prior
    weak_stars: int  # stars that the other method excludes
    widened_stars: int  # stars whose errors the network increases
    agree: bool


def compare(
    galaxy: GalaxyPosterior, other: GalaxyPosterior, n_widened: int = 0
) -> Agreement:
    """Difference of two methods, in units of the first one's width.

    Args:
        galaxy: the result.
        other: that of another method.
        n_widened: stars with smaller errors than the training of the network had
            (`count_widened`).
    """
    shift = (np.asarray(other.mean) - galaxy.mean) / galaxy.sd
    ratio = other.sd / galaxy.sd
    n_weak = other.checks.get("weak_stars", 0)
    # a network that excludes weak stars, or increases errors, has less information than
    # the exact method: it may be wider, and farther away
    has_less = n_weak + n_widened > 0 and galaxy.method not in AMORTISED
    unit = np.maximum(ratio, 1.0) if has_less else 1.0
    is_near = (np.abs(shift) < AGREE_SIGMA * unit).all()
    is_alike = (np.abs(ratio / unit - 1.0) < AGREE_WIDTH).all()
    guarded = (other.checks.get("guarded_stars"), galaxy.checks.get("guarded_stars"))
    return Agreement(
        other=other.method,
        shift_sigma=shift.tolist(),
        width_ratio=ratio.tolist(),
        guarded_stars=guarded[0] or guarded[1] or 0,
        weak_stars=n_weak,
        widened_stars=n_widened,
        agree=bool(is_near and is_alike),
    )
