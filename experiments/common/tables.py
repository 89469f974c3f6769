"""Files of a script: its numbers as JSON, and its table as Markdown."""

from collections.abc import Mapping
from pathlib import Path

from chemsbi_jax import results
from chemsbi_jax.storage.files import whole_file


def write_table(stem: Path, content: Mapping, text: str, *, quiet: bool) -> None:
    """Write `stem`.json and `stem`.md, each whole, and print the table.

    Args:
        stem: path of both files without suffix.
        content: of the JSON file.
        text: the Markdown.
        quiet: print nothing.
    """
    results.write_summary(stem.with_suffix(".json"), content)
    with whole_file(stem.with_suffix(".md")) as path:
        path.write_text(text, encoding="utf-8")
    if not quiet:
        print(text)
