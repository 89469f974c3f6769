"""HTML elements from strings; every string is escaped when the page is written."""

import re
from collections.abc import Iterable
from typing import TypeAlias
from xml.etree import ElementTree

Element: TypeAlias = ElementTree.Element
Child: TypeAlias = Element | str | None

NOT_BROKEN = 24  # characters: a cell as short as this stays on one line
FLAG = re.compile(r"(--[a-z][a-z0-9-]*)")


def tag(name: str, /, *children: Child, **attributes: object) -> Element:
    """An element with children; None is left out.

    Attributes are named as in Python: `class_` is class, `aria_label` is aria-label.
    """
    names = {key: key.rstrip("_").replace("_", "-") for key in attributes}
    strings = {names[k]: str(v) for k, v in attributes.items() if v is not None}
    element = ElementTree.Element(name, strings)
    for child in children:
        _append(element, child)
    return element


def _append(element: Element, child: Child) -> None:
    if child is None:
        return
    if not isinstance(child, str):
        element.append(child)
    elif len(element):
        element[-1].tail = (element[-1].tail or "") + child
    else:
        element.text = (element.text or "") + child


def prose(text: str) -> Element:
    """A sentence of the package: flags as code, +- as a sign."""
    parts = FLAG.split(text.replace(" +- ", " \u00b1 "))
    return tag("span", *(tag("code", p) if FLAG.fullmatch(p) else p for p in parts))


def table(
    caption: str, head: Iterable[Child], rows: Iterable[Iterable[Child]]
) -> Element:
    """A table that scrolls sideways where it is too wide; the first column names rows.

    Args:
        caption: what the table holds.
        head: names of the columns.
        rows: cells of each row.
    """
    names = tag("tr", *(tag("th", cell, scope="col") for cell in head))
    lines = [
        tag("tr", tag("th", first, scope="row"), *map(_cell, cells))
        for first, *cells in rows
    ]
    has_words = any(cell.get("class") == "words" for line in lines for cell in line)
    content = tag(
        "table",
        tag("caption", caption),
        tag("thead", names),
        tag("tbody", *lines),
        class_=None if has_words else "small",
    )
    # a region that scrolls can be reached by keyboard only with a tabindex
    region = {"role": "region", "aria_label": caption, "tabindex": 0}
    return tag("div", content, class_="scroll", **region)


def _cell(content: Child) -> Element:
    if not isinstance(content, str):
        return tag("td", content)
    is_short = len(content) <= NOT_BROKEN
    return tag("td", prose(content), class_="number" if is_short else "words")


def section(title: str, name: str, *children: Child, class_: str | None = None):
    """A section with its heading of level 2, for links to `#name`."""
    heading = tag("h2", title, id=f"{name}-title")
    labels = {"id": name, "aria_labelledby": f"{name}-title", "class_": class_}
    return tag("section", heading, *children, **labels)


def to_html(root: Element) -> bytes:
    """The page as UTF-8."""
    text = ElementTree.tostring(root, encoding="unicode", method="html")
    # lone surrogates (file names that are not UTF-8) become question marks
    return f"<!DOCTYPE html>\n{text}\n".encode("utf-8", "replace")
