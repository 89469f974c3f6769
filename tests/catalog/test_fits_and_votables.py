"""FITS tables with marks of "missing" and arrays, and the status of VOTables."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import from_table
from astropy.table import Table

from chemsbi_jax.catalog.fits_tables import parse_fits
from helpers.field_checks import I, assert_same, refusal
from helpers.field_tables import N, read, star_table

GAPS = [2, 5]


def with_cards(content, cards):
    """The bytes of a FITS file with a table, with more cards in its header."""
    end = content.index(b"END" + b" " * 77, 2880)
    lines = "".join(card.ljust(80) for card in [*cards, "END"]).encode()
    return content[:end] + lines + content[end + len(lines) :]


def write_scaled(path, scale, zero, null, form="I"):
    """The stars, with [Mg/Fe] as integers that TSCAL and TZERO convert."""
    table = star_table()
    stored = np.round((table["mg_fe"] - zero) / scale).astype(np.int64)
    stored[GAPS] = null
    table["mg_fe"] = stored.astype({"I": ">i2", "J": ">i4"}[form])
    fits.table_to_hdu(table).writeto(path)
    number = table.colnames.index("mg_fe") + 1
    cards = [f"TSCAL{number}  = {scale}", f"TZERO{number}  = {zero}"]
    path.write_bytes(
        with_cards(path.read_bytes(), [*cards, f"TNULL{number}  = {null}"])
    )


@pytest.mark.parametrize(
    ("scale", "zero", "null", "form"),
    [
        (0.001, 0.0, -999, "I"),
        (0.0001, 0.0, -32768, "I"),
        (0.001, 5.0, -32768, "I"),
        (0.5e-3, 0.0, -9, "J"),
    ],
)
def test_tnull_of_scaled_integers_is_a_gap(tmp_path, scale, zero, null, form):
    path = tmp_path / "a.fits"
    write_scaled(path, scale, zero, null, form)
    stars = read(path).stars
    seen = np.setdiff1d(np.arange(N), GAPS)
    assert np.flatnonzero(~stars.observed[:, I["mg_fe"]]).tolist() == GAPS
    expected = star_table()["mg_fe"][seen]
    np.testing.assert_allclose(
        stars.values[seen, I["mg_fe"]], expected, atol=scale / 2 + 1e-9
    )


def test_tnull_of_unsigned_integers_is_a_gap(tmp_path):
    column = fits.Column(
        "a", "I", bzero=32768, null=-32768, array=np.array([0, 1, 40000], np.uint16)
    )
    path = tmp_path / "a.fits"
    fits.BinTableHDU.from_columns([column]).writeto(path)
    table = parse_fits(path, None, None)
    assert table["a"].mask.tolist() == [True, False, False]
    assert table["a"].tolist()[1:] == [1, 40000]


@pytest.mark.parametrize("cell", ["  -9.999", "        "])
def test_tnull_and_blanks_of_ascii_tables_are_gaps(tmp_path, cell):
    table = star_table()
    columns = [fits.Column("star", "A10", array=np.array(table["star"]))]
    for name in table.colnames[1:]:
        null = "-9.999" if name == "mg_fe" else None
        values = np.array(table[name])
        columns.append(fits.Column(name, "F8.3", array=values, null=null))
    path = tmp_path / "a.fits"
    fits.TableHDU.from_columns(columns).writeto(path)
    assert_same(read(path).stars)
    content, value = path.read_bytes(), f"{table['mg_fe'][3]:8.3f}".encode()
    place = content.index(value, content.index(b"S0003"))
    path.write_bytes(content[:place] + cell.encode() + content[place + 8 :])
    stars = read(path).stars
    assert np.flatnonzero(~stars.observed[:, I["mg_fe"]]).tolist() == [3]


def test_a_repeated_name_in_fits_is_named(tmp_path):
    path = tmp_path / "a.fits"
    star_table().write(path)
    content = path.read_bytes().replace(b"'o_fe    '", b"'mg_fe   '")
    path.write_bytes(content)
    assert "two columns have the name 'mg_fe'" in refusal(path)


def test_arrays_of_one_number_and_one_row_of_arrays(tmp_path):
    table = star_table()
    one = Table({name: np.array(table[name])[:, None] for name in table.colnames})
    one.write(tmp_path / "a.fits")
    assert_same(read(tmp_path / "a.fits").stars)
    row = Table({name: np.array(table[name])[None] for name in table.colnames})
    row.write(tmp_path / "b.fits")
    message = refusal(tmp_path / "b.fits")
    assert f"one row, whose cells are arrays of {N} values" in message
    assert "t[c][0]" in message


def test_a_vector_of_errors_is_no_error_of_one_abundance(tmp_path):
    table = star_table()["star", "fe_h", "mg_fe"]
    table["abund_err"] = np.full((N, 2), 0.05)
    table.write(tmp_path / "a.fits")
    message = refusal(tmp_path / "a.fits")
    assert "abund_err holds 2 numbers in each row" in message
    assert "--columns e_fe_h=..." not in message


def votable(names=None, after="", prefix=""):
    table = star_table()
    fields = "".join(
        f'<FIELD name="{name}" datatype="{kind}"/>'
        for name, kind in zip(
            names or table.colnames,
            ['char" arraysize="*', *["float"] * 8],
            strict=True,
        )
    )
    rows = "".join(f"<TR>{''.join(f'<TD>{x}</TD>' for x in row)}</TR>" for row in table)
    text = (
        '<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE>'
        f"<TABLE>{fields}<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE>"
        f"{after}</RESOURCE></VOTABLE>"
    )
    if prefix:
        text = text.replace("</", "\x00").replace("<", f"<{prefix}:")
        text = text.replace("\x00", f"</{prefix}:").replace("xmlns", f"xmlns:{prefix}")
    return text


def test_a_votable_whose_tags_have_a_prefix(tmp_path):
    path = tmp_path / "a.vot"
    path.write_text(votable(prefix="vot"))
    assert_same(read(path).stars)


@pytest.mark.parametrize(
    "info",
    [
        '<INFO name="QUERY_STATUS" value="OVERFLOW"/>',
        '<INFO name="Warning" value="truncated result (maxtup=50)"/>',
    ],
)
def test_a_votable_that_is_cut_off_has_a_warning(tmp_path, info):
    path = tmp_path / "a.vot"
    path.write_text(votable(after='<INFO name="QUERY_STATUS" value="OK"/>'))
    assert read(path).report.warnings == ()
    path.write_text(votable(after=info))
    stars, report = read(path)
    assert_same(stars)
    (warning,) = report.warnings
    assert "cut the result off" in warning
    assert "MAXREC" in warning


def test_a_votable_with_an_error_of_the_service_is_refused(tmp_path):
    path = tmp_path / "a.vot"
    info = '<INFO name="QUERY_STATUS" value="ERROR">timeout after 60 s</INFO>'
    path.write_text(votable(after=info))
    assert "timeout after 60 s" in refusal(path)


def test_two_fields_of_one_name_are_refused(tmp_path):
    names = star_table().colnames
    path = tmp_path / "a.vot"
    path.write_text(votable(["mg_fe" if x == "o_fe" else x for x in names]))
    assert "several columns may be [Mg/Fe]" in refusal(path)


@pytest.mark.parametrize("form", ["binary", "binary2", "tabledata"])
def test_descriptions_of_votables_are_no_cells(tmp_path, form):
    content = from_table(star_table())
    content.resources[0].description = "Release of 2018_03_01 by us"
    content.to_xml(str(tmp_path / "stars.vot"), tabledata_format=form)
    assert_same(read(tmp_path / "stars.vot")[0])


def test_arrays_of_several_lengths_are_not_read(tmp_path):
    arrays = np.array([np.arange(1.0 + i % 3) for i in range(N)], dtype=object)
    spectra = fits.Column("spectrum", "PD()", array=arrays)
    columns = fits.table_to_hdu(star_table()).columns + spectra
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "stars.fits")
    stars, report = read(tmp_path / "stars.fits")
    assert_same(stars)
    assert "not read: spectrum" in report.text()


def test_errors_of_9_99_in_single_precision_are_none(tmp_path):
    table = star_table()
    errors = np.asarray(table["e_mg_fe"]).astype(np.float32)
    errors[GAPS] = 9.99
    table["e_mg_fe"] = errors
    table.write(tmp_path / "stars.fits")
    stars, report = read(tmp_path / "stars.fits", default_error=0.05)
    np.testing.assert_allclose(stars.errors[GAPS, I["mg_fe"]], 0.05)
    assert "error was set to 0.05 dex: mg_fe (2)" in report.text()
