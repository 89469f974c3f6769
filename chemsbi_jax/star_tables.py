"""Any table file as an astropy table, or an error that says what is wrong with it."""

import gzip
import warnings
from pathlib import Path
from typing import BinaryIO

from astropy.table import Table

SUFFIXES = {
    ".fits": "fits",
    ".fit": "fits",
    ".ecsv": "ascii.ecsv",
    ".csv": "csv",
    ".vot": "votable",
    ".votable": "votable",
    ".xml": "votable",
}
SUPPORTED = "FITS (.fits), ECSV (.ecsv), CSV (.csv) or VOTable (.vot, .xml)"
PEEK = 2048  # bytes that tell the format


class CatalogError(ValueError):
    """A star table that can't be used; names file, row, column and remedy."""


def read_table(path: Path) -> Table:
    """Read a table whose format shows in its content, else in its suffix.

    Raises:
        CatalogError: no such file, a folder, another format, damaged or cut short.
    """
    try:
        _refuse_no_file(path)
        form = _format(path)
        with warnings.catch_warnings():  # units and names are checked later
            warnings.simplefilter("ignore")
            warnings.filterwarnings("error", message=".*truncated.*")
            return _parse(path, form)
    except CatalogError:
        raise
    except Exception as error:  # each parser fails in its own way, down to IndexError
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CatalogError(
            f"{path}: cannot be read as a table ({reason}). The file may be damaged or "
            f"cut short; give a whole {SUPPORTED}."
        ) from error


def _refuse_no_file(path: Path) -> None:
    if path.is_dir():
        raise CatalogError(f"{path}: this is a folder; give a table: {SUPPORTED}.")
    if not path.exists():
        raise CatalogError(f"{path}: there is no such file; check the path.")


def _parse(path: Path, form: str) -> Table:
    if form == "votable":
        return Table.read(path, format="votable")
    if form == "fits":
        return Table.read(path, format="fits", memmap=False)
    with _opened(path) as file:
        text = file.read().decode("utf-8-sig") + "\n"  # a newline: text, not a path
    if form == "csv":
        # unlike astropy's "csv", this refuses rows with too few cells: a cut-off file
        return Table.read(text, format="ascii.basic", delimiter=",", guess=False)
    return Table.read(text, format=form)


def _format(path: Path) -> str:
    head = _head(path)
    if not head:
        raise CatalogError(f"{path}: the file is empty; give a table: {SUPPORTED}.")
    if head.startswith(b"SIMPLE  ="):
        return "fits"
    if head.startswith(b"# %ECSV"):
        return "ascii.ecsv"
    if b"<VOTABLE" in head.upper():
        return "votable"
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    form = SUFFIXES.get(suffixes[-1] if suffixes else "", "")
    first_line = head.splitlines()[0]
    is_text = b"\x00" not in head
    if is_text and (form == "csv" or (not form and b"," in first_line)):
        return "csv"
    reason = f"its content is not {form.split('.')[-1]}" if form else "unknown format"
    raise CatalogError(f"{path}: not a table ({reason}); give a table: {SUPPORTED}.")


def _head(path: Path) -> bytes:
    """First bytes of a file, unzipped, without byte-order mark and blank lines."""
    with _opened(path) as file:
        return file.read(PEEK).lstrip(b"\xef\xbb\xbf \t\r\n")


def _opened(path: Path) -> BinaryIO:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path, "rb") if zipped else open(path, "rb")
