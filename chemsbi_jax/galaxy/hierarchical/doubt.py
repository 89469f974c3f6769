"""Reasons to doubt an interval with shared errors, as sentences."""

from collections.abc import Mapping

import numpy as np

from chemsbi_jax.galaxy.hierarchical.settings import (
    BLOCKS,
    ENOUGH_POINTS,
    FAR_MODE,
    MIN_P,
)
from chemsbi_jax.galaxy.hierarchical.shared import Layout

TOO_NARROW = ("yields", "population", "outliers")  # held; outliers are by default


def wrong_coverage(layout: Layout) -> dict:
    """Entries of `checks` where tests of the network found a wrong coverage.

    It is too wide if all blocks are held, and too narrow if the yields and the
    population are: plots/shared_cases.md.

    Args:
        layout: with the prior scales.
    """
    scale, at = np.asarray(layout.scale), layout.slices()
    held = [b for b in BLOCKS if not scale[at[b]].any()]
    return {"held_blocks": held} if tuple(held) in (BLOCKS, TOO_NARROW) else {}


def doubts(checks: Mapping) -> list[str]:
    """Warnings about the checks of an interval; empty if there is no doubt."""
    is_nuts = checks.get("sampler") == "nuts"
    parts = [_of_nuts(checks)] if "sampler" in checks else []
    if "wanted_draws" in checks:
        parts.append(_few_draws(checks))
    if not is_nuts:
        parts.append(_of_coverage(checks))
        if not checks.get("mode_distance", 0.0) < FAR_MODE:
            parts.append(_contradicted(checks))
    if checks.get("predictive_p", 1.0) < MIN_P:
        parts.append(_unusual(checks))
    if checks.get("far_population"):
        parts.append(_far_population(checks))
    if checks.get("far_errors"):
        each = ", ".join(f"{k} {away:+.1f}" for k, away in checks["far_errors"].items())
        parts.append(
            "With shared errors, the stars need a zero point or a scatter far from the "
            f"middle of the prior ({each} prior widths): these abundances have other "
            "errors or zero points than the table states, or the model does not "
            "reproduce them."
        )
    return [part for part in parts if part]


def _of_nuts(checks: Mapping) -> str:
    if checks["sampler"] == "network":
        return (
            f"NUTS did not converge{_how_far(checks)}; the interval with shared errors "
            "is that of the network."
        )
    if checks.get("effective_points", np.inf) < ENOUGH_POINTS:
        return (
            "The integral over the most precise stars has only "
            f"{checks['effective_points']:.0f} effective points: the interval with "
            "shared errors by NUTS may be inaccurate. Compare with --sampler network."
        )
    return ""


def _few_draws(checks: Mapping) -> str:
    n = checks["n_effective"]
    return (
        f"The chains of NUTS have {n:.0f} effective draws, fewer than "
        f"{checks['wanted_draws']}: the means of the interval with shared errors have "
        f"errors of {n**-0.5:.2f} widths."
    )


def _how_far(checks: Mapping) -> str:
    """Numbers of chains that did not converge, in brackets; empty without any."""
    parts = [f"r-hat {checks['r_hat']:.2f}"] if "r_hat" in checks else []
    if "runs_apart" in checks:
        parts.append(
            f"means of the runs {checks['runs_apart']:.1f} standard errors apart"
        )
    return f" ({'; '.join(parts)})" if parts else ""


def _of_coverage(checks: Mapping) -> str:
    """Held blocks for which tests of the network found a wrong coverage."""
    if not checks.get("held_blocks"):
        return ""
    if tuple(checks["held_blocks"]) == TOO_NARROW:
        return (
            "With the yields and the population held, the interval with shared errors "
            "is too narrow: in a test its regions of 68 and 95 % contained the truth "
            "of 60 and 91 % of the galaxies. Compare with --sampler nuts."
        )
    return (
        "With all blocks held, the interval with shared errors is too wide: in a test "
        "its 68 % regions contained the truth of 77 % of the galaxies. The first "
        "interval has the same model, and no such error."
    )


def _far_population(checks: Mapping) -> str:
    far = checks["far_population"].items()
    each = ", ".join(f"{name} {away:+.1f}" for name, away in far)
    return (
        "If each local parameter has one normal distribution, the most probable "
        f"population is far from the middle of its prior ({each} prior widths). "
        "Such a distribution may not describe these stars, and the interval with "
        "shared errors may be far off."
    )


def _contradicted(checks: Mapping) -> str:
    is_tried = "sampler" in checks
    advice = (
        "Take the interval as unreliable."
        if is_tried
        else "Compare the interval with that by NUTS (--sampler nuts)."
    )
    return (
        "If each local parameter has one normal distribution, the most probable "
        f"shared parameters are {checks['mode_distance']:.1f} widths from the middle "
        "of the interval with shared errors. That interval is from the network, which "
        "also allows two populations. Possible causes: the distribution is not "
        "normal, the network loses information, or the model does not fit. "
        f"{advice}"
    )


def _unusual(checks: Mapping) -> str:
    return (
        "The stars are unusual for galaxies of the model with shared errors "
        f"(predictive check: p = {checks['predictive_p']:.3f}, distance "
        f"{checks['predictive_distance']:.1f} times that of a typical galaxy). The "
        "interval with shared errors may be too narrow."
    )
