"""Sections of report.html: result, warnings, rows of the table, provenance."""

from collections.abc import Mapping, Sequence

from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.errors import counted
from chemsbi_jax.results.assessment import verdict
from chemsbi_jax.results.markup import Child, Element, prose, section, table, tag
from chemsbi_jax.results.remedies import remedy
from chemsbi_jax.results.report_numbers import (
    SHOWN,
    Parameter,
    interval,
    interval_drawing,
    mean_and_sd,
    number,
)

WITH_SHARED, STATISTICAL = "with shared errors", "statistical error only"
ONE_INTERVAL = (
    "This interval has the statistical error only. It takes the yields, the zero "
    "points and the population of the stars as exactly known. A run without --fast "
    "makes a second interval, which includes their errors."
)
HEAD = ("parameter", "unit", "mean", "standard deviation", "90 % interval", "meaning")


def result(summary: Mapping) -> Element:
    """The interval of both parameters: cards, a table, and a line to copy."""
    shared = summary.get("shared_errors") or {}
    shared = {} if shared.get("converged") is False else shared
    results = {WITH_SHARED: shared, STATISTICAL: summary}
    if not shared:
        results = {f"method {summary.get('method')}": summary}
    cards = tag("div", *(_card(p, results) for p in SHOWN), class_="cards")
    is_red = verdict(summary).level == "red"
    quoted = None if is_red or not shared else WITH_SHARED
    tables = [_interval_table(*pair, quoted, bool(shared)) for pair in results.items()]
    if not shared:
        tables.append(tag("p", summary.get("shared_errors_note") or ONE_INTERVAL))
    elif summary.get("shared_errors_note"):
        tables.append(tag("p", str(summary["shared_errors_note"])))
    if is_red:
        return section("Result", "result", cards, *tables)
    best = shared or summary
    line = "; ".join(f"{n} = {_plain(best.get(n) or {})}" for n in GLOBAL_PARAMETERS)
    line += f"; correlation = {_ascii(number(best.get('correlation'), 2))}"
    copy = tag("pre", tag("code", line), class_="copy")
    label = tag("p", "To copy (mean and standard deviation):", class_="hint")
    return section("Result", "result", cards, *tables, label, copy)


def _card(shown: Parameter, results: Mapping[str, Mapping]) -> Element:
    each = {label: r.get(shown.name) or {} for label, r in results.items()}
    first, *others = each.items()
    lines = [tag("p", f"{mean_and_sd(p)} {key}", class_="other") for key, p in others]
    return tag(
        "article",
        tag("h3", shown.title),
        tag("p", tag("code", shown.name), class_="name"),
        tag("p", mean_and_sd(first[1]), class_="value"),
        tag("p", f"90 % interval {interval(first[1])}", class_="range"),
        *lines,
        interval_drawing(shown.name, each),
    )


def _interval_table(
    label: str, found: Mapping, quoted: str | None, is_one_of_two: bool
) -> Element:
    caption = "Interval of both parameters"
    if is_one_of_two:
        quote = " (the interval to quote)" if label == quoted else ""
        caption = f"{caption}, {label}{quote}"
    lines = []
    for shown in SHOWN:
        p = found.get(shown.name) or {}
        mean, sd = mean_and_sd(p).split(" \u00b1 ")
        name = tag("code", shown.name)
        lines.append([name, shown.unit, mean, sd, interval(p), _meaning(shown, p)])
    correlation = number(found.get("correlation"), 2)
    meaning = "Correlation coefficient of the two parameters, \u22121 to 1."
    lines.append(["correlation", "none", correlation, "", "", meaning])
    if is_one_of_two and label != WITH_SHARED:  # units and meanings stand above
        return table(caption, _brief(HEAD), map(_brief, lines))
    return table(caption, HEAD, lines)


def _brief(line: Sequence[Child]) -> list[Child]:
    return [line[0], *line[2:-1]]


def _meaning(shown: Parameter, p: Mapping) -> str:
    """With the number of SNe Ia itself beside its logarithm."""
    mean = p.get("mean")
    if shown.name != "log10_n_ia" or mean is None or not -30.0 < mean < 30.0:
        return shown.meaning
    return f"{shown.meaning} Here: {1000 * 10**mean:.3g} SNe Ia per 1000 M\u2609."


def _plain(p: Mapping) -> str:
    return _ascii(mean_and_sd(p))


def _ascii(text: str) -> str:
    return text.replace("\u2212", "-").replace("\u00b1", "+-").replace("\u2014", "nan")


def shared_errors(summary: Mapping) -> Element | None:
    """Where the width with shared errors comes from, and the inferred corrections."""
    shared = summary.get("shared_errors")
    if not shared or shared.get("converged") is False:
        return None
    intro = tag(
        "p",
        "All stars of a galaxy share the errors of the yields, of the zero points of "
        "the abundances and of the assumed population. These errors do not become "
        "smaller with more stars. The interval with shared errors contains them.",
    )
    parts = []
    for key, (caption, first) in _SHARED_TABLES.items():
        content = shared.get(key)
        if key == "budget" and isinstance(content, Mapping):
            # its error is 0.005
            content = {block: _rounded(each) for block, each in content.items()}
        if isinstance(content, Mapping) and content:
            parts.append(nested_table(caption, first, content))
    return section("Shared errors", "shared-errors", intro, *parts)


def _rounded(shares: float | Mapping[str, float]) -> float | dict[str, float]:
    if not isinstance(shares, Mapping):
        return round(shares, 2)
    return {name: round(share, 2) for name, share in shares.items()}


_SHARED_TABLES = {
    "budget": (
        "Relative decrease of the width if a block of shared parameters is held at its "
        "default values (the rest is the error of the stars and of the network)",
        "block",
    ),
    "yields": (
        "Inferred yield factors [dex], and their slopes with [Fe/H] [dex per dex]",
        "element and channel",
    ),
    "zero_points": ("Inferred zero points of the abundances [dex]", "abundance"),
    "population": (
        "Inferred population of the stars: means [prior widths from the mean of the "
        "prior] and ln(width / prior width)",
        "local parameter",
    ),
}


def nested_table(caption: str, first: str, content: Mapping) -> Element:
    """A table of name -> numbers; {"mean", "sd"} becomes one cell.

    Args:
        caption: of the table.
        first: head of the column with the names.
        content: name -> a number, {"mean", "sd"}, or a mapping of names to either.
    """
    rows = {name: _as_columns(part) for name, part in content.items()}
    columns = list(dict.fromkeys(key for row in rows.values() for key in row))
    lines = [
        (tag("code", name), *(row.get(column, "") for column in columns))
        for name, row in rows.items()
    ]
    return table(caption, (first, *columns), lines)


def _as_columns(part: object) -> dict[str, str]:
    if not isinstance(part, Mapping):
        return {"value": _cell(part)}
    if {"mean", "sd"} <= set(part):
        others = [k for k in part if k not in ("mean", "sd") and not _is_quantile(k)]
        rest = {k: _cell(part[k]) for k in others}
        return {"mean and sd": mean_and_sd(part)} | rest
    return {str(key): _cell(value) for key, value in part.items()}


def _is_quantile(key: str) -> bool:
    return key.startswith("q") and key[1:].isdigit()


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        if {"mean", "sd"} <= set(value):
            return mean_and_sd(value)
        return ", ".join(f"{key} {_cell(part)}" for key, part in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_cell, value))
    return number(value)


def warnings(summary: Mapping) -> Element:
    """Each warning with what to do about it."""
    found = summary.get("warnings") or []
    of_table = (summary.get("catalogue") or {}).get("notes") or []
    if not found:
        text = tag("p", "There are no warnings.")
        return section("Warnings", "warnings", text)
    items = []
    for text in found:
        what_to_do = prose(remedy(text, is_of_table=text in of_table))
        start = tag("strong", "What to do: ")
        warning = tag("p", prose(text), class_="warning")
        items.append(tag("li", warning, tag("p", start, what_to_do, class_="remedy")))
    return section("Warnings", "warnings", tag("ol", *items, class_="warnings"))


def rows(content: Mapping | None) -> Element | None:
    """What became of the rows of the star table."""
    if content is None:
        return None
    n_read, n_used = (content.get(key) or 0 for key in ("n_read", "n_used"))
    read, used = counted(n_read, "row"), counted(n_used, "star")
    parts = [tag("p", f"{read} read, {used} used.")]
    dropped = content.get("dropped") or {}
    if dropped:
        lines = [(reason, number(n)) for reason, n in dropped.items()]
        parts.append(table("Rows that were not used", ("reason", "rows"), lines))
        parts.append(tag("p", "Each of these rows is listed in dropped_rows.csv."))
    notes = [tag("li", prose(note)) for note in content.get("notes") or []]
    if notes:
        parts += [tag("h3", "Notes"), tag("ul", *notes, class_="notes")]
    return section("Rows of the star table", "rows", *parts)


_TIMES = "Wall-clock time of the stages, of which some run side by side"


def provenance(summary: Mapping, command: str) -> Element:
    """Version, seed, weights, checksum of the stars, seconds, command."""
    origin = summary.get("provenance") or {}
    names = {
        "stars": "star table",
        "emulator": "emulator weights",
        "npe": "NPE weights",
    }
    entries = [
        part
        for key, value in origin.items()
        for part in (tag("dt", names.get(key, key)), tag("dd", number(value)))
    ]
    seconds = summary.get("seconds") or {}
    lines = [(stage, number(value, 1)) for stage, value in seconds.items()]
    return section(
        "Provenance",
        "provenance",
        tag("dl", *entries),
        tag("h3", "Command to repeat the run"),
        tag("pre", tag("code", command), class_="copy"),
        table(_TIMES, ("stage", "seconds"), lines) if lines else None,
    )
