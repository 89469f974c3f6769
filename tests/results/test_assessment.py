"""The verdict of a result: level and reason."""

import numpy as np
import pytest

from chemsbi_jax.diagnostics.misfit import misfit_test
from chemsbi_jax.galaxy.agreement import AGREE_SIGMA
from chemsbi_jax.galaxy.amortised import flow
from chemsbi_jax.galaxy.hierarchical import settings
from chemsbi_jax.galaxy.hierarchical.doubt import TOO_NARROW
from chemsbi_jax.results import (
    assessment,
    verdict,
)
from chemsbi_jax.results.warnings import LARGE_CORRECTION
from helpers.report_pages import MISFIT, SHARED, made

# Verdict


def test_a_result_without_fault_is_green():
    level, text, reason = verdict(made())
    assert level == "green"
    assert text.startswith("The interval can be quoted, if yields, zero points and")
    assert reason == (
        "The model explains the stars (p = 0.33), the methods exact and flow agree, "
        "and even and odd rows of the table give the same result."
    )


@pytest.mark.parametrize(
    ("checks", "reason"),
    [
        ({"model_fit": MISFIT}, "The model does not fit."),
        ({"at_rest": False}, "The exact method did not converge."),
        ({"is_prior": True}, "No star is used: this is the prior, not a result."),
    ],
)
def test_red(checks, reason):
    assert verdict(made(**checks)).level == "red"
    assert verdict(made(**checks)).reason == reason


@pytest.mark.parametrize(
    ("checks", "reason"),
    [
        (
            {"methods_agree": {"agree": False, "other": "flow"}},
            "The methods exact and flow differ.",
        ),
        (
            {"halves": {"stable": False, "distance": 3.42}},
            "Even and odd rows of the table differ by 3.4 sigma.",
        ),
        ({"left_out": ["7"]}, "No parameters explain 1 star (not used in the result)."),
        ({"weak_stars": 4}, "4 stars with too few measurements did not count."),
        (
            {"subset": {"n_stars": 8192, "of": 10**5, "text": ""}},
            "The checks were made with 8192 of 100000 stars.",
        ),
        (
            {"prior_widths": 4.5},
            "The result lies 4.5 prior widths from the prior's mean.",
        ),
        ({"prior_widths": None}, "The result lies far from the prior's mean."),
        ({"no_exact": "..."}, "The exact method failed."),
        (
            {"network_error_sigma": [0.1, -2.1]},
            "The correction of the network's mean error is large.",
        ),
        (
            {"methods_differ_sigma_of_all": [2.1, 0.0]},
            "The methods differ by more than 2 sigma of the result for all stars.",
        ),
        ({"mass_at_edge": 0.01}, "The posterior reaches the edge of its grid."),
        (
            {"model_error_dex": {"c_fe": 0.1}},
            "A model error was added to the abundances.",
        ),
    ],
)
def test_amber(checks, reason):
    found = verdict(made(**checks))
    assert (found.level, found.reason) == ("amber", reason)


@pytest.mark.parametrize(
    ("n_used", "level"), [(1, "amber"), (9, "amber"), (10, "green")]
)
def test_few_stars_are_amber(n_used, level):
    found = verdict(made() | {"n_stars": n_used, "n_used": n_used})
    assert found.level == level
    assert ("too few" in found.reason) == (level == "amber")


def test_several_doubts_make_one_sentence():
    found = verdict(made(left_out=["a", "b"], weak_stars=1, mass_at_edge=1.0))
    assert found.reason == (
        "No parameters explain 2 stars (not used in the result), 1 star with too few "
        "measurements did not count, and the posterior reaches the edge of its grid."
    )


def test_dropped_rows_and_warnings_are_amber():
    dropped = made()
    dropped["catalogue"]["dropped"] = {"bad flag": 11, "no abundance": 1}
    assert verdict(dropped).level == "amber"
    assert verdict(dropped).reason == "12 of the 1000 rows of the table were not used."
    dropped["catalogue"]["dropped_by_survey"] = 11
    assert verdict(dropped).reason == "1 of the 1000 rows of the table was not used."
    dropped["catalogue"]["dropped"] = {"bad flag": 11}
    assert verdict(dropped).level == "green"
    about_table = made() | {"warnings": ["C in giants"]}
    about_table["catalogue"]["notes"] = ["C in giants"]
    assert verdict(about_table).reason == "There is 1 warning about the table."
    others = made() | {"warnings": ["one", "two"]}
    assert verdict(others).reason == "There are 2 warnings."


def test_results_that_are_no_numbers_are_red():
    summary = made()
    summary["log10_n_ia"]["sd"] = None
    assert verdict(summary).level == "red"
    assert verdict({}).level == "red"


def test_checks_that_were_not_made_are_not_praised():
    summary = made(halves=None, methods_agree=None)
    assert verdict(summary).reason == "The model explains the stars (p = 0.33)."
    assert verdict(made() | {"checks": {}}).reason == "No check was made."


def test_shared_errors_are_the_interval_to_quote():
    summary = made() | {"shared_errors": SHARED}
    assert verdict(summary).text == "The interval with shared errors can be quoted."
    misfit = made(model_fit=MISFIT) | {"shared_errors": SHARED}
    assert verdict(misfit).level == "red"
    fits = SHARED | {"model_fit": {"flagged": False}}
    assert verdict(misfit | {"shared_errors": fits}).level == "amber"


random = np.random.default_rng(0)
# stars with 0.6 times the scatter that their errors imply
QUIET = misfit_test(0.6 * random.normal(size=(200, 8)), random.normal(size=(2000, 8)))
TOO_WIDE = {"flagged": QUIET.is_flagged, "text": QUIET.text}
FITS = {"flagged": False, "text": "The model explains the stars (p = 0.4)."}
RED = [(MISFIT, None), *((fit, MISFIT) for fit in (FITS, MISFIT, TOO_WIDE))]


@pytest.mark.parametrize("shared", [None, FITS, MISFIT, TOO_WIDE])
@pytest.mark.parametrize("fit", [FITS, MISFIT, TOO_WIDE])
def test_the_fit_of_the_interval_to_quote_decides(fit, shared):
    summary = made(model_fit=fit)
    if shared is not None:
        summary |= {"shared_errors": SHARED | {"model_fit": shared}}
    found, fits = verdict(summary), fit is FITS and shared in (None, FITS)
    is_red = (fit, shared) in RED
    assert found.level == ("red" if is_red else "green" if fits else "amber")
    is_wide = not is_red and TOO_WIDE in (fit, shared)
    if is_wide:
        assert "the stars scatter less than their errors allow" in found.reason.lower()
    if is_red and shared is MISFIT:
        assert "With shared errors: The model does not fit." in found.reason


@pytest.mark.parametrize(
    ("checks", "reason"),
    [
        ({"mode_distance": 1.6}, "contradicts the interval with shared errors"),
        ({"mode_distance": None}, "contradicts the interval with shared errors"),
        ({"mode_distance": 1.6, "sampler": "network"}, "contradicts the interval"),
        ({"mode_distance": 1.6, "sampler": "nuts"}, ""),
        ({"mode_distance": 1.4}, ""),
        ({"predictive_p": 0.04}, "model with shared errors (predictive p below 0.05)"),
        ({"predictive_p": 0.06}, ""),
        ({"far_population": {"mean_birth_time": 3.2}}, "far from its prior"),
        ({"far_population": {}}, ""),
        ({"far_errors": {"scatter_mg_fe": 5.7}}, "scatter of abundances are far"),
        ({"held_blocks": list(settings.BLOCKS), "sampler": "nuts"}, ""),
        ({"held_blocks": list(settings.BLOCKS)}, "too wide with all blocks held."),
        (
            {"held_blocks": list(TOO_NARROW)},
            "too narrow with yields and population held.",
        ),
    ],
)
def test_doubts_of_the_interval_with_shared_errors(checks, reason):
    level, _, why = verdict(made() | {"shared_errors": SHARED | {"checks": checks}})
    assert level == ("amber" if reason else "green")
    assert reason in why


def test_the_reason_has_the_p_value_of_the_interval_to_quote():
    fit = FITS | {"p_value": 0.7}
    level, _, why = verdict(made() | {"shared_errors": SHARED | {"model_fit": fit}})
    assert level == "green"
    assert "The model with shared errors explains the stars (p = 0.7), " in why


def test_limits_are_those_of_the_checks():
    assert assessment.FAR_MODE == settings.FAR_MODE
    assert assessment.MIN_P == settings.MIN_P
    assert assessment.FAR == flow.FAR
    assert assessment.LARGE_NETWORK_ERROR == LARGE_CORRECTION
    assert assessment.METHODS_DIFFER == AGREE_SIGMA


def test_level_has_word_and_symbol():
    found = [verdict(made()), verdict(made(weak_stars=1)), verdict(made(is_prior=True))]
    assert len({v.word for v in found}) == len({v.symbol for v in found}) == 3


def test_a_fit_that_was_not_tested_is_no_praise():
    summary = made()
    summary["checks"]["model_fit"] |= {"flagged": False, "p_value": None}
    level, _, reason = verdict(summary)
    assert level == "amber"
    assert "the fit of the model was not tested" in reason.lower()
    assert "explains" not in reason
