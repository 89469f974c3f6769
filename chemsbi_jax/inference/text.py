"""A result as text and as HTML, for the screen and for notebooks."""

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING

from chemsbi_jax.errors import counted
from chemsbi_jax.inference.shared import say_which
from chemsbi_jax.results.report_numbers import digits
from chemsbi_jax.types import GalaxyPosterior

if TYPE_CHECKING:
    from chemsbi_jax.inference.result import Inference

SHARED = "With errors that all stars share"
COLOURS = {"green": "#1a7f37", "amber": "#9a6700", "red": "#cf222e"}


def as_text(inference: "Inference") -> str:
    """Interval, model fit, warnings and verdict, one a line."""
    posterior, warnings = inference.posterior, inference.warnings
    lines = [f"{counted(inference.n_used, 'star')}, method {posterior.method}:"]
    lines += _interval(posterior)
    lines.append(f"  correlation = {posterior.correlation:.2f}")
    if inference.shared_errors is not None and inference.shared_errors.is_converged:
        shared = inference.shared_errors.posterior
        quote = "" if inference.verdict.level == "red" else " (the interval to quote)"
        lines += [f"{SHARED}{quote}:", *_interval(shared)]
        lines.append(f"  correlation = {shared.correlation:.2f}")
    if inference.shared_note and inference.shared_note not in warnings:
        lines.append(inference.shared_note)
    fit = _fit(inference)
    lines += [] if fit in warnings else [fit]
    lines += [f"Warning: {text}" for text in warnings]
    verdict = inference.verdict
    lines.append(f"{verdict.word} ({verdict.level}): {verdict.text} {verdict.reason}")
    return "\n".join(lines)


def as_html(inference: "Inference") -> str:
    """The same as an HTML fragment; the colour of the verdict is also a word."""
    posterior, verdict = inference.posterior, inference.verdict
    head = f"{counted(inference.n_used, 'star')}, method {posterior.method}"
    tables = [_table(head, posterior)]
    if inference.shared_errors is not None and inference.shared_errors.is_converged:
        tables.append(_table(SHARED, inference.shared_errors.posterior))
    colour = COLOURS[verdict.level]
    warnings = "".join(f"<li>{escape(text)}</li>" for text in inference.warnings)
    return (
        f"{''.join(tables)}<p><strong style='color:{colour}'>{verdict.symbol} "
        f"{verdict.word} ({verdict.level})</strong>: "
        f"{escape(f'{verdict.text} {verdict.reason}')}</p>"
        f"<p>{escape(_fit(inference))}</p>"
        + (f"<ul>{warnings}</ul>" if warnings else "")
    )


def _fit(inference: "Inference") -> str:
    """Whether the model fits; beside a second interval, the sentence names its own."""
    text, shared = inference.checks.model_fit.text, inference.shared_errors
    return text if shared is None or not shared.is_converged else say_which(text)


def _interval(posterior: GalaxyPosterior) -> list[str]:
    each = posterior.interval().items()
    return [f"  {name:10s} = {' +- '.join(_numbers(p))}" for name, p in each]


def _numbers(p: Mapping[str, float]) -> list[str]:
    """Mean and standard deviation with four digits, or two digits of a smaller one."""
    n = max(4, digits(p["sd"]))
    return [f"{p['mean']:.{n}f}", f"{p['sd']:.{n}f}"]


def _table(head: str, posterior: GalaxyPosterior) -> str:
    rows = "".join(
        f"<tr><th scope='row'>{name}</th><td>{'</td><td>'.join(_numbers(p))}</td></tr>"
        for name, p in posterior.interval().items()
    )
    return (
        f"<table><caption>{escape(head)}</caption><thead><tr><th scope='col'>parameter"
        "</th><th scope='col'>mean</th><th scope='col'>standard deviation</th></tr>"
        f"</thead><tbody>{rows}</tbody></table>"
    )
