"""Numbers of the report: rounding, signs, and intervals as small drawings."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from chemsbi_jax.results.markup import Element, tag

NOTHING = "\u2014"  # a dash, where there is no number
MINUS = "\u2212"
MAX_DIGITS = 8  # behind the point
ROW_HEIGHT, AXIS_HEIGHT = 34, 30  # pixels
N_TICKS = 4  # at most, on the axis of a drawing
MARGIN = 0.12  # of the widest interval, on each side


class Parameter(NamedTuple):
    """How a parameter is shown to the reader."""

    name: str  # as in summary.json
    title: str
    unit: str
    meaning: str  # one line


SHOWN = (
    Parameter(
        "alpha_imf",
        "Slope of the initial mass function",
        "none",
        "Exponent of the initial mass function above 1 M\u2609: "
        "dn/dm \u221d m^alpha_imf.",
    ),
    Parameter(
        "log10_n_ia",
        "Number of SNe Ia",
        "dex (1/M\u2609)",
        "log10 of the number of SNe Ia within 13.8 Gyr per solar mass of stars formed.",
    ),
)


def digits(sd: float | None) -> int:
    """Digits behind the point that show two digits of `sd`."""
    if sd is None or not 0.0 < sd < math.inf:
        return 4
    return min(MAX_DIGITS, max(0, 1 - math.floor(math.log10(sd))))


def number(value: object, n_digits: int | None = None, *, sign: bool = False) -> str:
    """A number for the reader; a dash for None, other values as text."""
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return str(value)
    plus = "+" if sign else ""
    if n_digits is not None:
        text = f"{value:{plus}.{n_digits}f}"
    else:
        text = f"{value:{plus}}" if isinstance(value, int) else f"{value:{plus}.3g}"
    return text.replace("-", MINUS)


def mean_and_sd(p: Mapping) -> str:
    """Mean and standard deviation with two digits of the latter."""
    n = digits(p.get("sd"))
    return f"{number(p.get('mean'), n)} \u00b1 {number(p.get('sd'), n)}"


def interval(p: Mapping, low: str = "q05", high: str = "q95") -> str:
    """Both ends of an interval, with the digits of `mean_and_sd`."""
    n = digits(p.get("sd"))
    if p.get(low) is None or p.get(high) is None:
        return NOTHING
    return f"{number(p[low], n)} to {number(p[high], n)}"


def interval_drawing(parameter: str, results: Mapping[str, Mapping]) -> Element | None:
    """Intervals above an axis: 90 % thin, 68 % thick, the median as a line.

    Args:
        parameter: name, for the alternative text.
        results: label -> mean, sd and quantiles; None is returned without quantiles.
    """
    keys = ("q05", "q16", "q50", "q84", "q95")
    if any(p.get(key) is None for p in results.values() for key in keys):
        return None
    low = min(p["q05"] for p in results.values())
    high = max(p["q95"] for p in results.values())
    if not high > low:
        return None
    margin = MARGIN * (high - low)
    ends = low - margin, high + margin
    rows = [_row(i, results[label], label, ends) for i, label in enumerate(results)]
    height = ROW_HEIGHT * len(results)
    texts = [f"{label}: {interval(p)}" for label, p in results.items()]
    return tag(
        "svg",
        *(part for row in rows for part in row),
        *_axis(height, ends),
        class_="interval",
        role="img",
        aria_label=f"90 % interval of {parameter}; {'; '.join(texts)}",
        width="100%",
        height=height + AXIS_HEIGHT,
    )


def _row(i: int, p: Mapping, label: str, ends: tuple[float, float]) -> list[Element]:
    y = ROW_HEIGHT * i + 22
    q05, q16, q50, q84, q95 = (
        _percent(p[key], ends) for key in ("q05", "q16", "q50", "q84", "q95")
    )
    outer = {"x": f"{q05}%", "width": f"{q95 - q05:.3f}%", "y": y - 3, "height": 6}
    inner = {"x": f"{q16}%", "width": f"{q84 - q16:.3f}%", "y": y - 6, "height": 12}
    line = {"x1": f"{q50}%", "x2": f"{q50}%", "y1": y - 9, "y2": y + 9}
    kind = f"set{i}"
    return [
        tag("text", label, x="0", y=y - 11, class_="label"),
        tag("rect", class_=f"outer {kind}", rx=3, **outer),
        tag("rect", class_=f"inner {kind}", rx=3, **inner),
        tag("line", class_="median", **line),
    ]


def _axis(top: int, ends: tuple[float, float]) -> list[Element]:
    parts = [tag("line", class_="axis", x1="0", x2="100%", y1=top + 8, y2=top + 8)]
    ticks, n = ticks_between(*ends)
    for value in ticks:
        x = f"{_percent(value, ends)}%"
        line = {"x1": x, "x2": x, "y1": top + 4, "y2": top + 8}
        text = number(value, n)
        parts.append(tag("line", class_="axis", **line))
        parts.append(tag("text", text, x=x, y=top + 23, text_anchor="middle"))
    return parts


def ticks_between(low: float, high: float) -> tuple[Sequence[float], int]:
    """At most `N_TICKS` round numbers away from the ends, and their digits."""
    margin = 0.08 * (high - low)  # room for half a label
    low, high = low + margin, high - margin
    least = (high - low) / N_TICKS
    power = math.floor(math.log10(least))
    step = min(s * 10.0**power for s in (1, 2, 5, 10) if s * 10.0**power >= least)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [step * i for i in range(first, last + 1)], max(
        0, -math.floor(math.log10(step) + 1e-9)
    )


def _percent(value: float, ends: tuple[float, float]) -> float:
    return round(100.0 * (value - ends[0]) / (ends[1] - ends[0]), 3)
