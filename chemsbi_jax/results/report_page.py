"""report.html: one self-contained page about a result, without script or network."""

import base64
import os
import struct
from collections.abc import Mapping, Sequence
from importlib import resources

from chemsbi_jax.errors import counted
from chemsbi_jax.results import report_checks
from chemsbi_jax.results import report_sections as sections
from chemsbi_jax.results.assessment import Verdict, verdict
from chemsbi_jax.results.markup import Element, prose, section, tag, to_html
from chemsbi_jax.results.report_figures import ReportFigure as ReportFigure
from chemsbi_jax.results.report_figures import read_figures as read_figures
from chemsbi_jax.storage.files import whole_file

MAX_FIGURES = 1_900_000  # bytes of all figures as text, so that the page is below 2 MB
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
WIDE = 1.5  # times the narrowest figure: takes a row of its own
# the browser itself refuses scripts and everything that is not in the file
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def write_report(
    path: str | os.PathLike,
    summary: Mapping,
    figures: Sequence[ReportFigure],
    table: Mapping | None,
    command: str,
) -> None:
    """Write the page, atomically.

    Args:
        path: of report.html.
        summary: content of summary.json.
        figures: shown in this order. Figures beyond 1.9 MB of text are named only.
        table: what became of the rows of the star table: n_read, n_used, dropped
            (reason -> number) and notes; None for stars without a table.
        command: repeats the run.

    Raises:
        OutputError: the folder can't be made or written to, or is full.
        ValueError: a figure is no PNG.
    """
    content = to_html(report_page(summary, figures, table, command))
    with whole_file(path) as temporary:
        temporary.write_bytes(content)


def report_page(
    summary: Mapping,
    figures: Sequence[ReportFigure],
    table: Mapping | None,
    command: str,
) -> Element:
    """The page as a tree of elements; arguments as those of `write_report`."""
    judged = verdict(summary)
    parts = [
        sections.result(summary),
        sections.shared_errors(summary),
        sections.warnings(summary),
        _figures(figures),
        report_checks.residuals(summary),
        report_checks.checks(summary),
        sections.rows(table),
        sections.provenance(summary, command),
    ]
    parts = [part for part in parts if part is not None]
    body = tag(
        "body",
        tag("a", "Skip to the result", href="#result", class_="skip"),
        _header(summary, parts),
        tag("main", _verdict(judged), *parts, id="main"),
        _footer(summary),
        class_=judged.level,
    )
    return tag("html", _head(judged), body, lang="en")


def _head(judged: Verdict) -> Element:
    style = resources.files("chemsbi_jax.results").joinpath("report.css")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", f"{judged.word}: IMF slope and SN Ia number of a galaxy"),
        tag("link", rel="icon", href="data:,"),
        tag("style", style.read_text(encoding="utf-8")),
    )


def _header(summary: Mapping, parts: Sequence[Element]) -> Element:
    stars = _count_stars(summary)
    links = [
        tag("li", tag("a", part[0].text, href=f"#{part.get('id')}")) for part in parts
    ]
    return tag(
        "header",
        tag(
            "div",
            tag("p", "chemsbi_jax", class_="brand"),
            tag("h1", "IMF slope and SN Ia number of a galaxy"),
            tag("p", f"{stars}, method {summary.get('method')}", class_="subtitle"),
            tag("nav", tag("ul", *links), aria_label="Sections of this page"),
            class_="inner",
        ),
    )


def _count_stars(summary: Mapping) -> str:
    """Used stars, and the rows of the table (or the given stars) if these are more."""
    n_used, n_given = summary.get("n_used"), summary.get("n_stars")
    if n_used is None or n_given in (n_used, None):
        return counted(n_used or 0, "star")
    if summary.get("catalogue"):
        return f"{counted(n_used, 'star')} of {counted(n_given, 'row')}"
    return f"{n_used} of {counted(n_given, 'star')}"


def _verdict(judged: Verdict) -> Element:
    symbol = tag("span", judged.symbol, class_="symbol", aria_hidden="true")
    word = tag("span", judged.word, class_="word")
    return tag(
        "section",
        tag(
            "h2",
            tag("span", symbol, class_=f"badge {judged.level}"),
            tag("span", word, ". ", judged.text, class_="sentence"),
            id="verdict-title",
        ),
        tag("p", prose(judged.reason)),
        id="verdict",
        class_=f"verdict {judged.level}",
        aria_labelledby="verdict-title",
    )


def _figures(figures: Sequence[ReportFigure]) -> Element | None:
    if not figures:
        return None
    sizes = [png_size(figure) for figure in figures]
    least = min(width for width, _ in sizes)
    room, cards = MAX_FIGURES, []
    for figure, size in zip(figures, sizes, strict=True):
        text = base64.b64encode(figure.png).decode()
        fits = len(text) <= room
        room -= len(text) * fits
        source = f"data:image/png;base64,{text}" if fits else None
        cards.append(_figure(figure, source, size, size[0] >= WIDE * least))
    return section("Figures", "figures", tag("div", *cards, class_="figures"))


def _figure(
    figure: ReportFigure, source: str | None, size: tuple[int, int], is_wide: bool
) -> Element:
    width, height = size
    if source is None:
        content = tag("p", f"Too large for this page: see {figure.name}.png.")
    else:
        alt = figure.alt
        content = tag("img", src=source, alt=alt, width=width, height=height)
    caption = tag("figcaption", figure.title)
    class_ = "wide" if is_wide else None
    return tag("figure", content, caption, class_=class_, id=f"figure-{figure.name}")


def png_size(figure: ReportFigure) -> tuple[int, int]:
    """Width and height [pixels] of a figure, from the header of its PNG.

    Raises:
        ValueError: it is no PNG.
    """
    if not figure.png.startswith(PNG_SIGNATURE) or len(figure.png) < 24:
        raise ValueError(f"Expected the content of a PNG file for {figure.name}.")
    return struct.unpack(">II", figure.png[16:24])


def _footer(summary: Mapping) -> Element:
    version = (summary.get("provenance") or {}).get("version", "unknown")
    text = (
        f"Written by chemsbi_jax {version}. All numbers of this page are in "
        "summary.json, the draws in posterior.nc and posterior.ecsv"
    )
    second = summary.get("shared_errors") or {}
    if second and second.get("converged") is not False:
        text += ", those with shared errors in posterior_shared.ecsv"
    return tag("footer", tag("p", f"{text}."))
