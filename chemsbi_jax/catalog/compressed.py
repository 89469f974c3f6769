"""Files that may be compressed."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

OPENERS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\x00": lzma.open,
}
"""How a file begins -> how it is opened."""
SUFFIXES = (".gz", ".bz2", ".xz")


def opened(path: Path) -> Any:
    """The file for reading bytes, decompressed if it is of gzip, bzip2 or xz."""
    with open(path, "rb") as file:
        head = file.read(max(map(len, OPENERS)))
    opener = next((o for start, o in OPENERS.items() if head.startswith(start)), open)
    return opener(path, "rb")
