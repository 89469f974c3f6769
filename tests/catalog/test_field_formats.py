"""Tables as people have them: text formats, VOTables, pairs of errors, vectors."""

import gzip
import io

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from chemsbi_jax.catalog import read_stars, write_stars
from chemsbi_jax.errors import CatalogWarning
from helpers.field_checks import I, assert_same, refusal, text
from helpers.field_tables import COLUMNS, N, lines, read, renamed, star_table, write


def written(form):
    stream = io.StringIO()
    star_table().write(stream, format=form)
    return stream.getvalue().encode()


def vizier():
    header, *rows = lines(None, "\t")
    n = header.count("\t")
    units = "\t".join([" ", *["[Sun]"] * n])
    return "\n".join(["#RESOURCE", header, units, "\t".join(["---"] * (n + 1)), *rows])


FORMATS = {
    "tabs": ("a.tsv", lambda: text("\t")),
    "spaces": ("a.dat", lambda: text("  ")),
    "pipes": ("a.csv", lambda: text("|")),
    "semicolons and decimal commas": ("a.csv", lambda: text(";", ",")),
    "tabs and decimal commas": ("a.txt", lambda: text("\t", ",")),
    "byte-order mark and sep=": (
        "a.csv",
        lambda: b"\xef\xbb\xbfsep=;\n" + text(";", ","),
    ),
    "UTF-16": ("a.txt", lambda: text("\t", encoding="utf-16")),
    "ends of lines": ("a.csv", lambda: text(newline="\r\n")),
    "trailing delimiter": ("a.csv", lambda: text(end=",")),
    "gzip": ("a.csv.gz", lambda: gzip.compress(text())),
    "savetxt": ("a.csv", lambda: text(start="# ")),
    "remarks and header in a comment": (
        "a.dat",
        lambda: text(" ", start="# made up\n# "),
    ),
    "MRT": ("a.mrt", lambda: written("ascii.mrt")),
    "MRT named txt": ("a.txt", lambda: written("ascii.mrt")),
    "IPAC": ("a.tbl", lambda: written("ascii.ipac")),
    "fixed width": ("a.txt", lambda: written("ascii.fixed_width")),
    "drawn": ("a.txt", lambda: written("ascii.rst")),
    "VizieR": ("a.tsv", lambda: vizier().encode()),
    "pandas with its index": (
        "a.csv",
        lambda: "\n".join(
            f"{i - 1 if i else ''},{x}" for i, x in enumerate(lines())
        ).encode(),
    ),
}


@pytest.mark.parametrize(("name", "content"), FORMATS.values(), ids=FORMATS)
def test_text_formats(tmp_path, name, content):
    stars, report = read(write(tmp_path, content(), name))
    assert_same(stars)
    assert report.warnings == ()


NOT_READ = {
    "decimal commas": (lambda: text(",", ","), "if the numbers have decimal commas"),
    "no header": (lambda: text().split(b"\n", 1)[1], "no line of column names"),
    "Latin-1": (lambda: text().replace(b"S0003", b"S\xe9"), "line 5 has a character"),
    "cut short": (lambda: text()[:-8], "the file is cut short"),
    "workbook": (lambda: b"PK\x03\x04" + bytes(99), "save the sheet as CSV"),
    "HDF5": (lambda: b"\x89HDF\r\n" + bytes(99), "an HDF5 file"),
    "array": (lambda: b"\x93NUMPY" + bytes(99), "numpy.load"),
    "LaTeX": (lambda: b"\\begin{tabular}{ll}\na & b\n", "LaTeX"),
    "HTML": (lambda: written("ascii.html"), "HTML"),
}


@pytest.mark.parametrize(("content", "says"), NOT_READ.values(), ids=NOT_READ)
def test_what_is_not_read_is_called_by_its_name(tmp_path, content, says):
    assert says in refusal(write(tmp_path, content()))


@pytest.mark.parametrize("unit", ["log(Sun)", "[Sun]", "[-]", "---", "dex"])
def test_votable_with_units_of_vizier_and_a_second_table(tmp_path, unit):
    fields = "".join(
        f'<FIELD name="{name}" datatype="float" unit="{unit}"/>'
        for name in star_table().colnames[1:]
    )
    rows = "".join(
        f"<TR>{''.join(f'<TD>{x}</TD>' for x in row)}</TR>" for row in star_table()
    )
    refs = (
        '<TABLE><FIELD name="Ref" datatype="int"/><DATA><TABLEDATA><TR><TD>1</TD></TR>'
    )
    refs += "</TABLEDATA></DATA></TABLE>"
    content = (
        '<?xml version="1.0"?><VOTABLE version="1.4" '
        'xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>'
        f'{refs}<TABLE><FIELD name="Name" datatype="char" arraysize="8"/>{fields}'
        f"<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
    )
    path = write(tmp_path, content, "a.vot")
    stars, report = read(path)
    assert_same(stars)
    assert "Table 2 was read" in report.notes[0]
    assert "there is no table 3" in refusal(path, hdu=3)
    assert "no column holds an abundance" in refusal(path, hdu=1)


def test_ids_that_begin_with_a_hash(tmp_path):
    content = text().decode().replace("S000", "#")  # ten stars of forty
    stars, report = read(write(tmp_path, content))
    assert_same(stars)
    assert stars.ids[3] == "#3"
    assert "10 rows begin with '#'" in report.text()
    content = text().decode().replace("S000", "#S000")  # rows that somebody took out
    stars, report = read(write(tmp_path, content, "b.csv"))
    assert len(stars.ids) == N - 10
    assert "10 lines that begin with '#'" in report.warnings[0]


PAIRS = {
    "VizieR": ("E_fe_h", "e_fe_h", False),
    "words": ("fe_h_err_up", "fe_h_err_low", False),
    "percentiles": ("fe_h_upper", "fe_h_lower", True),
    "numbers": ("fe_h_84", "fe_h_16", True),
}


@pytest.mark.parametrize(("up", "low", "is_value"), PAIRS.values(), ids=PAIRS)
def test_pairs_of_errors(tmp_path, up, low, is_value):
    table = star_table()
    e, value = table["e_fe_h"].copy(), table["fe_h"] if is_value else 0.0
    del table["e_fe_h"]
    table[up] = value + 1.2 * e
    table[low] = value - 0.8 * e if is_value else 0.8 * e
    stars, report = read(write(tmp_path, table))
    assert_same(stars)  # the mean is e
    assert up in report.text()
    assert low in report.text()


# ---- vectors and long tables


def test_apogee_vectors_are_split_by_their_symbols(tmp_path):
    table = star_table()
    symbols = ["C", "CI", "O", "MG", "SI", "FE"]
    values = np.full((N, 6), np.nan, np.float32)
    for i, x in enumerate(symbols[2:], 2):
        name = "fe_h" if x == "FE" else f"{x.lower()}_fe"
        values[:, i] = table[name] + (0.0 if x == "FE" else table["fe_h"])
    flags = np.zeros((N, 6), np.int32)
    flags[:4, 3] = 1
    first = Table({"APOGEE_ID": table["star"], "ASPCAPFLAG": np.zeros(N, int)})
    first["X_H"], first["X_H_ERR"] = values, np.full((N, 6), 0.05, np.float32)
    first["ELEMFLAG"] = flags
    parts = [fits.PrimaryHDU(), fits.table_to_hdu(first)]
    second = fits.table_to_hdu(Table({"ELEM_SYMBOL": [symbols]}))
    path = tmp_path / "allStar.fits"
    fits.HDUList([*parts, second]).writeto(path)
    stars, report = read(path)
    for name in COLUMNS:
        seen = stars.observed[:, I[name]]
        assert seen.sum() == (N - 4 if name == "mg_fe" else N)
        np.testing.assert_allclose(
            stars.values[seen, I[name]], table[name][seen], atol=1e-6
        )
    np.testing.assert_allclose(stars.fe_covariance, 0.05**2, rtol=1e-6)
    assert "X_H was split" in report.text()
    fits.HDUList(parts).writeto(tmp_path / "alone.fits")
    message = refusal(tmp_path / "alone.fits")
    assert "X_H holds 6 numbers in each row" in message
    assert "t['X_H'][:, i]" in message


def test_a_long_table_is_told_how_to_pivot(tmp_path):
    table = star_table()
    table["species"] = np.tile(["Fe I", "Mg I", "O I", "Si I"], N // 4)
    message = refusal(write(tmp_path, table))
    for part in ("'species' names elements", "Mg I", "pivot"):
        assert part in message
    table["species"] = np.tile([26.0, 26.1, 12.0, 8.0], N // 4)
    assert "'species' names elements" in refusal(write(tmp_path, table, "b.csv"))


# ---- errors that [X/Fe] share


def over_h():
    table = star_table()
    for name in COLUMNS[1:]:
        table[name] = np.round(table[name] + table["fe_h"], 6)
    names = {x: x.replace("_fe", "_h") for x in COLUMNS[1:]}
    return renamed(table, **names, **{f"e_{x}": f"e_{y}" for x, y in names.items()})


def test_errors_of_ratios_share_that_of_iron(tmp_path):
    table = over_h()
    stars, report = read(write(tmp_path, table))
    np.testing.assert_allclose(stars.fe_covariance, table["e_fe_h"] ** 2)
    expected = np.hypot(table["e_mg_h"], table["e_fe_h"])
    np.testing.assert_allclose(stars.errors[:, I["mg_fe"]], expected)
    assert "all contain the error of [Fe/H]" in report.text()
    write_stars(tmp_path / "again.ecsv", stars)
    again = read_stars(tmp_path / "again.ecsv")
    np.testing.assert_allclose(again.fe_covariance, stars.fe_covariance)
    part = again.take([2, 0])
    np.testing.assert_allclose(part.fe_covariance, stars.fe_covariance[[2, 0]])
    assert read(tmp_path / "stars.csv", without="fe_h").stars.fe_covariance is None


def test_read_stars_warns_of_doubtful_columns(tmp_path):
    table = star_table()
    table["e_fe_h"] = table["e_fe_h"] ** 2
    with pytest.warns(CatalogWarning, match="very small for an error"):
        read_stars(write(tmp_path, table))
