"""Griffe extension: the comment behind a field is its description in the API page.

Fields of NamedTuples have no docstrings here, but a comment with the unit.
"""

import io
import tokenize

import griffe


class FieldComments(griffe.Extension):
    """Take the trailing comment of an attribute as its docstring."""

    def on_attribute_instance(self, *, attr: griffe.Attribute, **_: object) -> None:
        """Called by griffe for every attribute that it reads."""
        if attr.docstring is None and (text := comment("\n".join(attr.lines))):
            attr.docstring = griffe.Docstring(text, lineno=attr.lineno, parent=attr)


def comment(source: str) -> str:
    """The last comment of a statement, without its sign; "" if there is none."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source.strip()).readline))
    except (tokenize.TokenError, SyntaxError):
        return ""
    found = [t.string.lstrip("# ") for t in tokens if t.type == tokenize.COMMENT]
    return found[-1] if found and not found[-1].startswith("fmt:") else ""
