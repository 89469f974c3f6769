"""Files that are not read, by their first bytes or text, and the remedy."""

OTHERS = {
    b"PK\x03\x04": "a workbook of Excel or a zip file; save the sheet as CSV (UTF-8)",
    b"\xd0\xcf\x11\xe0": "a workbook of Excel; save the sheet as CSV (UTF-8)",
    b"\x89HDF": "an HDF5 file; astropy converts it: "
    "Table.read(FILE, path=NAME).write('stars.fits')",
    b"\x93NUMPY": "a NumPy array; astropy converts it: "
    "Table(numpy.load(FILE)).write('stars.fits')",
    b"SQLite": "a database; export the table as CSV",
    **dict.fromkeys((b"{", b"[{", b"[\n", b"[\r\n"), "JSON; convert it to CSV"),
    b"\xff\xfe\x00\x00": "text in UTF-32; save it as CSV with UTF-8",
}
ZEROS = "it has zero bytes, as binary files and UTF-16; save it as CSV with UTF-8"
OTHER_TEXTS = {
    "\\begin{": "LaTeX; convert it to CSV",
    "<table": "HTML; convert it to CSV, with pandas.read_html",
}
