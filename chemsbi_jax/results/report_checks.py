"""Sections of report.html about the checks and the residuals of the abundances."""

from collections.abc import Mapping

from chemsbi_jax.constants import ALL_ABUNDANCES, GLOBAL_PARAMETERS
from chemsbi_jax.errors import counted
from chemsbi_jax.results.assessment import FAR, FAR_MODE, MIN_P
from chemsbi_jax.results.markup import Element, section, table, tag
from chemsbi_jax.results.report_numbers import mean_and_sd, number


def residuals(summary: Mapping) -> Element | None:
    """Abundance by abundance: mean residual, influence on the result, model error."""
    every = summary.get("checks") or {}
    mean = (every.get("model_fit") or {}).get("mean_residual_dex") or {}
    robust = every.get("robust") or every
    names = [name for name in ALL_ABUNDANCES if name in mean]
    if not names:
        return None
    further = _of_leave_out(every.get("leave_out") or {})
    errors = robust.get("model_error_dex") or {}
    if errors:
        column = {n: number(e, 3) for n, e in errors.items()}
        further["model error [dex]"] = column
    columns, text = _mean_residuals(mean, summary.get("shared_errors") or {})
    columns |= further
    lines = [
        (tag("code", n), *(c.get(n, "\u2014") for c in columns.values())) for n in names
    ]
    content = [table("Each abundance", ("abundance", *columns), lines)]
    if further:
        text += (
            " Large residuals, shifts and model errors mark the abundances that the "
            "model can't fit together with the others."
        )
    if "alpha_imf" in robust:
        rows = [(tag("code", n), mean_and_sd(robust[n])) for n in GLOBAL_PARAMETERS]
        caption = f"Interval with model errors, {robust.get('n_stars')} stars"
        content.append(table(caption, ("parameter", "mean and sd"), rows))
    name = "Residuals of the abundances"
    return section(name, "residuals", tag("p", text), *content)


def _mean_residuals(
    mean: Mapping[str, float], shared: Mapping
) -> tuple[dict[str, dict[str, str]], str]:
    """Columns of the mean residuals of one or both intervals, and what they are."""
    text = "The mean residual is the observed minus the predicted abundance."
    own = (shared.get("model_fit") or {}).get("mean_residual_dex")
    if not own:
        return {"mean residual [dex]": _signed(mean)}, text
    n_stars = (shared.get("checks") or {}).get("n_alarm")
    if n_stars:
        stars = counted(n_stars, "star")
        text += f" The column with shared errors is the mean of {stars}."
    columns = {
        "mean residual without shared errors [dex]": _signed(mean),
        "mean residual with shared errors [dex]": _signed(own),
    }
    return columns, text


def _of_leave_out(found: Mapping) -> dict[str, dict[str, str]]:
    """A column of shifts for each parameter of the galaxy."""
    columns, shifts = {}, found.get("shift_sigma") or {}
    stars = counted(found.get("n_stars") or 0, "star")
    for i, parameter in enumerate(GLOBAL_PARAMETERS if shifts else ()):
        column = {n: number(s[i], 1, sign=True) for n, s in shifts.items()}
        columns[f"shift of {parameter} without it [sigma, {stars}]"] = column
    return columns


def _signed(dex: Mapping[str, float]) -> dict[str, str]:
    return {name: number(value, 3, sign=True) for name, value in dex.items()}


def checks(summary: Mapping) -> Element | None:
    """Each check with its result and its meaning; only checks that were made."""
    every = summary.get("checks") or {}
    second = summary.get("shared_errors") or {}
    lines = [line for line in map(lambda f: f(every), _CHECKS) if line]
    lines += [line for line in map(lambda f: f(second), _OF_SECOND) if line]
    if not lines:
        return None
    head = ("check", "passed", "result", "meaning")
    return section("Checks", "checks", table("Passed or not", head, lines))


def _mark(passed: bool | None) -> Element:
    symbol, word, class_ = {
        True: ("\u2713 ", "yes", "pass"),
        False: ("\u2717 ", "no", "fail"),
        None: ("", "\u2014", "none"),
    }[passed]
    mark = tag("span", symbol, aria_hidden="true")
    return tag("span", mark, word, class_=class_)


def _fit(every: Mapping) -> tuple | None:
    fit = every.get("model_fit")
    if not fit:
        return None
    p_value = fit.get("p_value")
    passed = None if p_value is None else not fit.get("flagged")
    text = "not tested" if p_value is None else f"p = {number(p_value)}"
    meaning = (
        "Chance of a difference this large if the model is right; alarm below 0.01. "
        "It is three times the smallest p of three tests, at most 1."
    )
    return "Model fits the stars", _mark(passed), text, meaning


def _agree(every: Mapping) -> tuple | None:
    agree = every.get("methods_agree")
    if not agree:
        return None
    shift = " and ".join(
        number(s, 2, sign=True) for s in agree.get("shift_sigma") or []
    )
    width = " and ".join(number(s, 2) for s in agree.get("width_ratio") or [])
    text = f"{agree.get('other')}: shift {shift} sigma, width {width} times"
    meaning = "A second method gives the same interval, to 2 sigma and 20 % in width."
    return "Methods agree", _mark(bool(agree.get("agree"))), text, meaning


def _halves(every: Mapping) -> tuple | None:
    halves = every.get("halves")
    if not halves:
        return None
    text = f"distance {number(halves.get('distance'), 2)} sigma"
    meaning = "Even and odd rows of the table give the same result, to 3 sigma."
    return "Halves agree", _mark(bool(halves.get("stable"))), text, meaning


def _rest(every: Mapping) -> tuple | None:
    if "at_rest" not in every:
        return None
    rounds = every.get("rounds")
    text = "1 round" if rounds == 1 else f"{number(rounds)} rounds"
    meaning = "The iterations of the exact method ended with a stable result."
    return "Exact method converged", _mark(bool(every["at_rest"])), text, meaning


def _draws(every: Mapping) -> tuple | None:
    if every.get("effective_draws_median") is None:
        return None
    least = every.get("effective_draws_p01")
    median = number(every["effective_draws_median"], 0)
    text = f"median {median}, worst 1 % {number(least, 0)}"
    meaning = "Effective draws of each star; below 10, repeat with another --seed."
    return (
        "Effective draws",
        _mark(None if least is None else least >= 10),
        text,
        meaning,
    )


def _place(every: Mapping) -> tuple | None:
    if every.get("prior_widths") is None:
        return None
    widths = every["prior_widths"]
    meaning = f"Beyond {FAR} prior widths the networks were hardly trained."
    text = f"{number(widths, 1)} prior widths"
    return "Distance from the prior's mean", _mark(widths <= FAR), text, meaning


def _second_fit(second: Mapping) -> tuple | None:
    line = _fit(second)
    return line and ("With shared errors: model fits the stars", *line[1:])


def _predictive(second: Mapping) -> tuple | None:
    p = (second.get("checks") or {}).get("predictive_p")
    if p is None:
        return None
    meaning = (
        "With shared errors: chance of stars as unusual as these in galaxies of the "
        f"posterior; warning below {MIN_P:g}."
    )
    return "Predictive check", _mark(p >= MIN_P), f"p = {number(p)}", meaning


def _mode(second: Mapping) -> tuple | None:
    checks = second.get("checks") or {}
    away = checks.get("mode_distance")
    if away is None:
        return None
    passed = None if checks.get("sampler") == "nuts" else away < FAR_MODE
    meaning = (
        "Widths of the network's interval, from its middle to the mode of the "
        f"likelihood with shared errors; warning from {FAR_MODE:g}."
    )
    return "Distance of the mode", _mark(passed), f"{number(away, 1)} widths", meaning


_CHECKS = (_fit, _agree, _halves, _rest, _draws, _place)
_OF_SECOND = (_second_fit, _predictive, _mode)
