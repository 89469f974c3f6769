"""Warnings of a result, as sentences for its reader."""

from collections.abc import Mapping, Sequence

import numpy as np

from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.errors import counted
from chemsbi_jax.galaxy.agreement import AGREE_SIGMA
from chemsbi_jax.galaxy.amortised.flow import is_far
from chemsbi_jax.results.report_numbers import digits

LARGE_CORRECTION = 2.0  # sigma of the network's mean error; a tenth of it may remain
MAX_EDGE_MASS = 1e-3  # share of the posterior at the edge of its grid
N_NAMED = 5  # stars named in a sentence


def list_warnings(checks: Mapping) -> list[str]:
    """All warnings of a result.

    Args:
        checks: the block "checks" of summary.json.
    """
    return [
        *_of_stars(checks),
        *_of_model(checks),
        *_of_agreement(checks),
        *_of_convergence(checks),
        *of_place(checks),
        *_of_edge(checks),
        *of_subset(checks),
    ]


def _of_stars(checks: Mapping) -> list[str]:
    warnings = []
    warnings += [checks[k] for k in ("no_exact", "not_compared") if checks.get(k)]
    left_out = checks.get("left_out", [])
    if left_out:
        warnings.append(of_left_out(left_out))
    share = checks.get("left_out_share")
    if share:
        text = (
            f"These are {share:.0%} of the stars, so the interval from the other stars "
            "must not be used. Likely causes: errors that are much too small or not in "
            "dex (percent, variances), abundances in another unit or on another scale, "
            "or a code for missing values. Correct the columns with --columns. The "
            "intervals with model errors (--robust) and without each abundance were "
            "not computed."
        )
        warnings.append(text)
    return warnings


def _of_model(checks: Mapping) -> list[str]:
    warnings = []
    if checks["model_fit"]["flagged"]:
        warnings.append(checks["model_fit"]["text"])
    robust = checks.get("robust")
    if robust:
        text = (
            f"With a model error for each abundance ({robust['n_stars']} stars; "
            f"--robust for all): {_interval(robust)}. It does not include errors that "
            "all stars share."
        )
        warnings.append(text)
    return warnings


def of_left_out(ids: Sequence[str]) -> str:
    """The warning of stars that no parameters explain."""
    some = ", ".join(ids[:N_NAMED]) + (", ..." if len(ids) > N_NAMED else "")
    if len(ids) == 1:
        return f"No parameters explain 1 star, which is not used: id {some}."
    return f"No parameters explain {len(ids)} stars, which are not used: ids {some}."


def _of_agreement(checks: Mapping) -> list[str]:
    warnings, agree = [], checks.get("methods_agree")
    if agree and not agree["agree"]:
        shift, ratio = agree["shift_sigma"], agree["width_ratio"]
        text = (
            f"The methods differ: {agree['other']} shifts alpha_imf by {shift[0]:+.1f} "
            f"and log10_n_ia by {shift[1]:+.1f} sigma; its widths are {ratio[0]:.2f} "
            f"and {ratio[1]:.2f} times those of the result"
        )
        n, n_widened = agree["weak_stars"], agree.get("widened_stars", 0)
        if n:
            have = "has" if n == 1 else "have"
            text += (
                f", without {counted(n, 'star')} that {have} too little information "
                "for a network"
            )
        if n_widened:
            text += (
                f". Errors below 0.01 dex, of {counted(n_widened, 'star')}, count as "
                "0.01 dex in the network"
            )
        warnings.append(f"{text}.")
    errors = checks.get("model_error_dex")
    if errors:
        worst = sorted(errors, key=errors.get, reverse=True)[:3]
        sizes = ", ".join(f"{k} {errors[k]:.3f}" for k in worst if errors[k] > 5e-4)
        text = f"Model errors were added [dex], the largest: {sizes}."
        text = text if sizes else "Model errors were added; all are below 0.001 dex."
        warnings.append(text)
    halves = checks.get("halves")
    if halves and not halves["stable"]:
        text = (
            f"Even and odd rows of the table differ by {halves['distance']:.1f} sigma: "
            "they are not a sample of one galaxy, or the model does not fit them."
        )
        warnings.append(text)
    return warnings


def _of_convergence(checks: Mapping) -> list[str]:
    if checks.get("at_rest", True):
        return []
    return ["The exact method did not converge; do not use this interval."]


def of_place(checks: Mapping) -> list[str]:
    """Stars with too little information, and parameters far outside the training."""
    warnings, n_weak = [], checks.get("weak_stars", 0)
    can_exact = not checks.get("no_exact")
    if n_weak:
        are, their = ("is", "its") if n_weak == 1 else ("are", "their")
        text = (
            f"{counted(n_weak, 'star')} {are} excluded: {their} measurements have too "
            "little information for a network."
        )
        text += " --method exact can use them." if can_exact else ""
        warnings.append(text)
    if checks.get("is_prior"):
        text = "No star is used: this is the prior, not a result."
        warnings.append(text)
    moved = np.abs(checks.get("network_error_sigma", 0.0)).max()
    if moved > LARGE_CORRECTION:
        text = (
            f"The correction for the network's mean error is {moved:.1f} times the "
            "width; the error that remains after it may matter."
        )
        text += " Compare with --method exact." if can_exact else ""
        warnings.append(text)
    widths = checks["prior_widths"]
    if is_far(widths):
        text = (
            f"The result lies {widths:.1f} prior widths from the prior's mean, where "
            "networks and emulator have hardly any training stars: do not rely on it."
        )
        warnings.append(text)
    return warnings


def _of_edge(checks: Mapping) -> list[str]:
    if checks.get("mass_at_edge", 0.0) <= MAX_EDGE_MASS:
        return []
    text = (
        "The posterior reaches the edge of its grid: the stars favour parameters "
        "outside this grid."
    )
    return [text]


def of_subset(checks: Mapping) -> list[str]:
    """Differences of methods for a large table, and the exact interval of a part."""
    warnings = []
    shift = checks.get("methods_differ_sigma_of_all") or [0.0, 0.0]
    if np.abs(shift).max() > AGREE_SIGMA:
        text = (
            f"For {checks['subset']['n_stars']} of the stars the methods differ by "
            f"{shift[0]:+.1f} sigma in alpha_imf and {shift[1]:+.1f} sigma in "
            "log10_n_ia (sigma of the result for all stars): the interval for all "
            "stars is narrower than the error of the method."
        )
        warnings.append(text)
    exact = checks.get("exact_subset")
    if exact:
        text = (
            f"The exact method for {exact['n_stars']} of the stars, drawn at random, "
            f"gives {_interval(exact)}. For all stars: --method exact, in one process."
        )
        warnings.append(text)
    return warnings


def _interval(block: Mapping) -> str:
    each = [(name, block[name]) for name in GLOBAL_PARAMETERS]
    return ", ".join(
        f"{name} = {p['mean']:.{n}f} +- {p['sd']:.{n}f}"
        for name, p in each
        for n in (max(3, digits(p["sd"])),)
    )
