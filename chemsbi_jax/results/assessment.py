"""One sentence about a result: can its interval be quoted, and why."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.diagnostics.misfit import LESS_SCATTER
from chemsbi_jax.errors import counted

Level = Literal["green", "amber", "red"]

FAR = 4.3  # prior widths, as in galaxy.amortised.flow
LARGE_NETWORK_ERROR = 2.0  # sigma, as the limit of the warning
METHODS_DIFFER = 2.0  # sigma, as the limit of the warning
MASS_AT_EDGE = 1e-3  # share of the posterior at the edge of its grid
FAR_MODE = 1.5  # widths, as in galaxy.hierarchical.settings
MIN_P = 0.05  # of the predictive check, as in galaxy.hierarchical.settings
FEW_STARS = 10  # with fewer, alarm and halves detect only gross misfits


class Verdict(NamedTuple):
    """Whether the interval of a result can be quoted."""

    level: Level  # green: quote it; amber: read the reason first; red: do not quote it
    text: str  # one sentence
    reason: str  # one sentence or more

    @property
    def word(self) -> str:
        """The level without a colour."""
        return {"green": "Good", "amber": "Caution", "red": "Do not use"}[self.level]

    @property
    def symbol(self) -> str:
        """The level without a colour, in one character."""
        return {"green": "\u2713", "amber": "!", "red": "\u2717"}[self.level]


def verdict(summary: Mapping) -> Verdict:
    """Whether the interval of `summary` (the content of summary.json) can be quoted.

    Red: no star is used, the result is not a number, the exact method did not converge,
    more than 25 % of the stars are explained by no parameters, or the stars do not fit
    the model. Amber: a check failed, the checks or the result lack some of the stars,
    fewer than `FEW_STARS` stars are used, or there is a warning.
    Green: else. If there is an interval with shared errors, its own `model_fit` decides
    about red, and a misfit of the other model is amber. Stars that scatter less than
    their errors allow are amber, as the interval is too wide rather than too narrow.
    """
    stops = _reasons_against(summary)
    if stops:
        both = "Neither interval" if _shared(summary) else "The interval"
        is_not = "is" if _shared(summary) else "is not"
        text = f"{both} {is_not} a measurement of this galaxy."
        return Verdict("red", text, " ".join(stops))
    which = "interval with shared errors" if _shared(summary) else "interval"
    doubts = _doubts(summary)
    if doubts:
        text = f"Use the {which} with caution."
        return Verdict("amber", text, _sentence(doubts))
    text = f"The {which} can be quoted"
    if not _shared(summary):
        text += ", if yields, zero points and population are as in the model"
    return Verdict("green", f"{text}.", _praise(summary))


def _is_misfit(fit: Mapping) -> bool:
    """Whether the model does not explain the stars, apart from too little scatter."""
    return bool(fit.get("flagged")) and not _is_too_wide(fit)


def _is_too_wide(fit: Mapping) -> bool:
    """Whether the only misfit is that errors of the stars are too large."""
    return bool(fit.get("flagged")) and LESS_SCATTER in str(fit.get("text"))


def _shared(summary: Mapping) -> Mapping:
    """The interval with shared errors, if it converged."""
    shared = summary.get("shared_errors") or {}
    return {} if shared.get("converged") is False else shared


def _reasons_against(summary: Mapping) -> list[str]:
    """Sentences; one is enough for red."""
    checks, reasons = summary.get("checks") or {}, []
    if checks.get("is_prior") or summary.get("n_used") == 0:
        reasons.append("No star is used: this is the prior, not a result.")
    if not _has_numbers(summary):
        reasons.append("The mean or the standard deviation is not a number.")
    if checks.get("at_rest") is False:
        reasons.append("The exact method did not converge.")
    share = checks.get("left_out_share")
    if share:
        reasons.append(f"No parameters explain {share:.0%} of the stars.")
    fit = checks.get("model_fit") or {}
    again = _shared(summary).get("model_fit") or {}
    if _is_misfit(again or fit):  # of the interval to quote
        unknown = "The model does not explain the stars."
        if fit.get("flagged"):
            reasons.append(fit.get("text") or unknown)
        if again:
            reasons.append(f"With shared errors: {again.get('text') or unknown}")
    return reasons


def _has_numbers(summary: Mapping) -> bool:
    each = [(summary.get(name) or {}) for name in GLOBAL_PARAMETERS]
    return all(p.get(key) is not None for p in each for key in ("mean", "sd"))


def _doubts(summary: Mapping) -> list[str]:
    """Clauses; one is enough for amber."""
    doubts = _doubts_of_checks(summary.get("checks") or {}, str(summary.get("method")))
    fit = (summary.get("checks") or {}).get("model_fit") or {}
    if _is_too_wide(fit) or _is_too_wide(_shared(summary).get("model_fit") or {}):
        doubts.append(f"the stars {LESS_SCATTER}")
    if _is_misfit(fit):
        doubts.append("the model without shared errors does not explain the stars")
    if fit.get("flagged") is False and fit.get("p_value", 1.0) is None:
        doubts.append("the fit of the model was not tested")
    doubts += _doubts_of_shared(_shared(summary).get("checks") or {})
    n_used = summary.get("n_used")
    if n_used is not None and n_used < FEW_STARS:
        are = "is" if n_used == 1 else "are"
        doubts.append(
            f"{counted(n_used, 'star')} {are} too few for the checks to find a misfit"
        )
    rows = summary.get("catalogue") or {}
    n_dropped = sum((rows.get("dropped") or {}).values())
    n_dropped -= rows.get("dropped_by_survey", 0)  # the survey advises against these
    if n_dropped:
        each = f"of the {rows.get('n_read')} rows of the table"
        doubts.append(f"{n_dropped} {each} {_were(n_dropped)} not used")
    warnings = summary.get("warnings") or []
    n_table = len(set(warnings) & set(rows.get("notes") or []))
    if n_table:
        doubts.append(f"there {_count(n_table, 'warning')} about the table")
    if warnings and not doubts:
        doubts.append(f"there {_count(len(warnings), 'warning')}")
    return doubts


def _doubts_of_checks(checks: Mapping, method: str) -> list[str]:
    doubts = []
    if checks.get("no_exact"):
        doubts.append("the exact method failed")
    if checks.get("not_compared"):
        doubts.append("a comparison with a second posterior failed")
    agree = checks.get("methods_agree") or {}
    if agree.get("agree") is False:
        doubts.append(f"the methods {method} and {agree.get('other')} differ")
    halves = checks.get("halves") or {}
    if halves.get("stable") is False:
        distance = halves.get("distance") or float("nan")
        doubts.append(f"even and odd rows of the table differ by {distance:.1f} sigma")
    left_out = len(checks.get("left_out") or [])
    if left_out:
        stars = counted(left_out, "star")
        doubts.append(f"no parameters explain {stars} (not used in the result)")
    weak = checks.get("weak_stars") or 0
    if weak:
        doubts.append(
            f"{counted(weak, 'star')} with too few measurements did not count"
        )
    subset = checks.get("subset") or {}
    if subset:
        part = f"{subset.get('n_stars')} of {subset.get('of')} stars"
        doubts.append(f"the checks were made with {part}")
    return doubts + _doubts_of_place(checks)


def _doubts_of_shared(checks: Mapping) -> list[str]:
    """About the interval with shared errors."""
    doubts = []
    distance = checks.get("mode_distance", 0.0)
    is_far = distance is None or distance >= FAR_MODE  # None: no number
    if is_far and checks.get("sampler") != "nuts":
        doubts.append("the likelihood contradicts the interval with shared errors")
    if checks.get("held_blocks") and checks.get("sampler") != "nuts":
        is_all = "scatter" in checks["held_blocks"]  # else yields and population
        held = "wide with all blocks" if is_all else "narrow with yields and population"
        doubts.append(f"in tests the interval with shared errors is too {held} held")
    if checks.get("predictive_p", 1.0) < MIN_P:
        doubts.append(
            "the stars are improbable in the model with shared errors (predictive p "
            f"below {MIN_P:g})"
        )
    if checks.get("far_population"):
        doubts.append("the population of the stars is far from its prior")
    if checks.get("far_errors"):
        doubts.append(
            "zero points or the scatter of abundances are far from their prior"
        )
    return doubts


def _doubts_of_place(checks: Mapping) -> list[str]:
    """About results that lie where the networks are less accurate."""
    doubts = []
    widths = checks.get("prior_widths", 0.0)
    if widths is None or widths > FAR:
        distance = "far" if widths is None else f"{widths:.1f} prior widths"
        doubts.append(f"the result lies {distance} from the prior's mean")
    if _largest(checks.get("network_error_sigma")) > LARGE_NETWORK_ERROR:
        doubts.append("the correction of the network's mean error is large")
    if _largest(checks.get("methods_differ_sigma_of_all")) > METHODS_DIFFER:
        doubts.append(
            f"the methods differ by more than {METHODS_DIFFER:g} sigma of the result "
            "for all stars"
        )
    if (checks.get("mass_at_edge") or 0.0) > MASS_AT_EDGE:
        doubts.append("the posterior reaches the edge of its grid")
    if checks.get("model_error_dex"):
        doubts.append("a model error was added to the abundances")
    return doubts


def _praise(summary: Mapping) -> str:
    """What was checked and passed; only of checks that were made."""
    checks = summary.get("checks") or {}
    passed = []
    shared = _shared(summary).get("model_fit")
    fit = shared or checks.get("model_fit") or {}
    which = "the model with shared errors" if shared else "the model"
    if fit.get("flagged") is False:
        p_value = fit.get("p_value")
        p = "" if p_value is None else f" (p = {p_value:.2g})"
        passed.append(f"{which} explains the stars{p}")
    agree = checks.get("methods_agree") or {}
    if agree.get("agree"):
        passed.append(f"the methods {summary.get('method')} and {agree['other']} agree")
    if (checks.get("halves") or {}).get("stable"):
        passed.append("even and odd rows of the table give the same result")
    return _sentence(passed) if passed else "No check was made."


def _sentence(clauses: list[str]) -> str:
    """Clauses as one sentence."""
    *first, last = clauses
    text = f"{', '.join(first)}, and {last}" if len(clauses) > 2 else ""
    text = text or " and ".join(clauses)
    return f"{text[0].upper()}{text[1:]}."


def _largest(values: float | Sequence[float | None] | None) -> float:
    """Largest absolute number of a list or a number; 0 if there is none."""
    each = values if isinstance(values, Sequence) else [values]
    return max((abs(v) for v in each if v is not None), default=0.0)


def _were(n: int) -> str:
    return "was" if n == 1 else "were"


def _count(n: int, noun: str) -> str:
    return f"{'is' if n == 1 else 'are'} {n} {noun}{'s' * (n != 1)}"
