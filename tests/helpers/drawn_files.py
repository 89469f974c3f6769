"""A table as a file of any format, with missing values as people write them."""

import gzip
import io
import re

import numpy as np
from astropy.io import fits
from astropy.table import MaskedColumn

SEPARATORS = {"tab": "\t", "space": " ", "vizier": "\t", "semicolon": ";", "pipe": "|"}


def as_file(table, columns, kind, null, id_column):
    """Name and bytes of a file."""
    if kind in ("fits", "vectors"):
        return "a.fits", fits_bytes(table, columns if kind == "vectors" else None)
    if kind in ("votable", "ecsv", "mrt", "ipac", "fixed width"):
        return written(table, kind)
    if kind == "long":
        rows = ["star,element,abundance,error"]
        rows += [f"{r},{x},{table[c][r]},0.05" for r in range(len(table))
                 for x, c in zip(("Fe", "Mg", "O", "Si"), columns.values(),
                                 strict=True)]  # fmt: skip
        return "a.csv", "\n".join(rows).encode()
    if kind == "transposed":
        names = [f"S{i}" for i in range(len(table))]
        rows = [["quantity", *names]]
        rows += [[c, *map(str, table[c])] for c in table.colnames if c != id_column]
        return "a.csv", "\n".join(",".join(row) for row in rows).encode()
    separators = {
        "tab": "\t",
        "space": " ",
        "vizier": "\t",
        "semicolon": ";",
        "pipe": "|",
    }
    separator = separators.get(kind, ",")
    decimal = "," if kind == "semicolon" else "."
    null = "nan" if kind == "space" and null == "" else null
    rows = [[cell(x, null, decimal) for x in row] for row in table]
    blank = '""' if separator == " " else ""
    rows = [[x or blank for x in row] for row in rows]
    header = [f'"{c}"' if separator in c or kind == "quoted" else c
              for c in table.colnames]  # fmt: skip
    if kind == "vizier":
        units = [unit_of(table, c) for c in header]
        rows = [units, ["-" * max(3, len(u)) for u in units], *rows]
    end = separator if kind == "trailing" else ""
    lines = [separator.join(header), *(separator.join(row) + end for row in rows)]
    return dressed(kind, lines)


def unit_of(table, column):
    """The line of units of VizieR."""
    known = str(table[column].unit or "")
    return known or ("[Sun]" if column.startswith(("[", "__")) else " ")


def dressed(kind, lines):
    """Name and bytes of a text file."""
    lines[0] = f"# {lines[0]}" if kind == "savetxt" else lines[0]
    if kind == "title":
        lines.insert(0, "Table A1: the stars of a dwarf galaxy")
    text = ("\r\n" if kind == "crlf" else "\n").join(lines) + "\n"
    if kind == "utf-16":
        return "a.csv", text.encode("utf-16")
    if kind == "bom":
        return "a.csv", b"\xef\xbb\xbf" + text.encode()
    if kind == "gz":
        return "a.csv.gz", gzip.compress(text.encode(), mtime=0)
    return {"tab": "a.tsv", "vizier": "a.tsv", "space": "a.dat"}.get(
        kind, "a.csv"
    ), text.encode()


def cell(x, null, decimal):
    """A number or a word as a text file has it."""
    if isinstance(x, float | np.floating):
        return null if not np.isfinite(x) else f"{x:.10g}".replace(".", decimal)
    return str(x)


def masked(table):
    """Missing numbers as masked cells, as astropy's writers have them."""
    table = table.copy()
    for name in table.colnames:
        data = np.asarray(table[name])
        if data.dtype.kind == "f":
            unit = table[name].unit
            table[name] = MaskedColumn(data, mask=~np.isfinite(data), unit=unit)
    return table


def written(table, kind):
    """By astropy."""
    form, name = {
        "votable": ("votable", "a.vot"),
        "ecsv": ("ascii.ecsv", "a.ecsv"),
        "mrt": ("ascii.mrt", "a.mrt"),
        "ipac": ("ascii.ipac", "a.tbl"),
        "fixed width": ("ascii.fixed_width", "a.txt"),
    }[kind]
    stream = io.BytesIO() if kind == "votable" else io.StringIO()
    if kind == "ipac":  # names of letters, digits and underscores
        table = table.copy()
        for column in table.colnames:
            table.rename_column(column, re.sub(r"\W+", "_", column))
    table = table if kind == "ipac" else masked(table)
    table.write(stream, format=form)
    content = stream.getvalue()
    return name, content if isinstance(content, bytes) else content.encode()


def fits_bytes(table, vectors):
    """A FITS file; with `vectors`, our columns of values in one X_H without symbols."""
    table = table.copy()
    if vectors:
        table["X_H"] = np.stack([table[c] for c in vectors.values()], axis=1)
        table.remove_columns(list(vectors.values()))
    stream = io.BytesIO()
    fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(table)]).writeto(stream)
    return stream.getvalue()
