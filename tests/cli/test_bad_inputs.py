"""Bad tables and flags: the sentence that each gets, and exit code 2.

Each case runs a script's own entry point, and fails before anything is compiled.
"""

import pytest

from chemsbi_jax.constants import ABUNDANCES
from helpers.paths import EXAMPLE


def lines_of(n=3, **changes):
    """A CSV table of complete stars; a change is a column, or None to drop it."""
    columns = {"star_id": [f"HIP{i}" for i in range(n)]}
    for name in ABUNDANCES:
        columns |= {name: [0.1] * n, f"e_{name}": [0.05] * n}
    columns |= changes
    columns = {k: v for k, v in columns.items() if v is not None}
    rows = zip(*columns.values(), strict=True)
    return "\n".join(",".join(map(str, row)) for row in [columns, *rows]) + "\n"


def csv(n=3, **changes):
    return lambda: lines_of(n, **changes).encode()


def part_of_example(share):
    return lambda: EXAMPLE.read_bytes()[: int(share * EXAMPLE.stat().st_size)]


TABLES = {
    "no file": ("no.csv", None, "there is no such file"),
    "empty file": ("a.csv", lambda: b"", "the file is empty"),
    "blank lines": ("a.csv", lambda: b"\n\n\n", "the file is empty"),
    "binary": ("a.csv", lambda: bytes(range(256)), "not a table"),
    "prose": ("a.txt", lambda: b"the stars of a galaxy", "unknown format"),
    "python pickle": ("a.pkl", lambda: b"\x80\x04\x95\x00.", "unknown format"),
    "png for fits": ("a.fits", lambda: b"\x89PNG\r\n\x1a\n\x00", "content is not fits"),
    "csv named fits": ("a.fits", csv(), "content is not fits"),
    "half a FITS card": ("a.fits", lambda: b"SIMPLE  = ", "cannot be read"),
    "broken gzip": ("a.csv.gz", lambda: b"\x1f\x8b\x08\x00broken", "cannot be read"),
    "broken VOTable": ("a.vot", lambda: b"<?xml?><VOTABLE><RES", "cannot be read"),
    "cut-off ECSV": ("a.ecsv", part_of_example(0.01), "cannot be read"),
    "cut-off row": ("a.ecsv", part_of_example(0.501), "cannot be read"),
    "Latin-1 bytes": ("a.csv", lambda: csv()() + b"\xe9,0.1", "cannot be read"),
    "header only": ("a.csv", csv(0), "columns but no row"),
    "other columns": ("a.csv", lambda: b"ra,dec\n1,2\n", "no column holds an abund"),
    "noise-free columns": ("a.csv", lambda: b"true_fe_h\n0.1\n", "only noise-free"),
    "no errors": ("a.csv", csv(e_fe_h=None), "column 'e_fe_h'"),
    "zero error": ("a.csv", csv(e_fe_h=[0.05, 0, 0.05]), "row 2 (id 'HIP1')"),
    "negative error": ("a.csv", csv(e_mg_fe=[-1, -1, -1]), "error must be positive"),
    "a word": ("a.csv", csv(si_fe=[0.1, "low", 0.1]), "'low' is not a number"),
    "decimal commas": ("a.csv", csv(si_fe=["0,1"] * 3), "cannot be read"),
    "all missing": ("a.csv", csv(1, **dict.fromkeys(ABUNDANCES, [-9999])), "missing"),
    "two cases": ("a.csv", csv(FE_H=[0.1] * 3), "differ only in case"),
    "a late birth": ("a.csv", csv(birth_time=[1, 99.0, 15.0]), "no birth time between"),
    "age below zero": ("a.csv", csv(age=[1, -3, 2]), "is no age between"),
    "ages in Myr": ("a.csv", csv(age=[5e3, 1e4, 2e3]), "--age-unit Myr"),
    "a value of 7.3": ("a.csv", csv(mg_fe=[0.1, 7.3, 0.1]), "7.3 dex is no [Mg/Fe]"),
    "absolute": ("a.csv", csv(fe_h=[7.5, 7.6, 7.7]), "--columns fe_h=fe_h-7.50"),
    "percent": ("a.csv", csv(6, e_fe_h=[12.0] * 6), "looks like percent"),
    "counts": ("a.csv", csv(6, n_fe=range(6)), "numbers of lines"),
    "NLTE beside": ("a.csv", csv(fe_h_nlte=[0.1] * 3), "--columns fe_h=fe_h"),
    "joined": ("a.csv", csv(fe_h=None, fe_h_1=[0] * 3, fe_h_2=[0] * 3), "'fe_h_2'"),
    "variances": ("a.csv", csv(e_fe_h=None, var_fe_h=[0.01] * 3), "sqrt(var_fe_h)"),
    "long table": ("a.csv", csv(species=["Fe I", "Mg I", "O I"]), "pivot"),
    "no header": ("a.csv", lambda: csv()().split(b"\n", 1)[1], "no line of column"),
    "workbook": ("a.csv", lambda: b"PK\x03\x04" + bytes(9), "save the sheet as CSV"),
    "HTML": ("a.html", lambda: b"<table><tr><td>fe_h</td></tr></table>", "HTML"),
}

# for the network with one error only
FIXED = {
    "one abundance": (lambda: b"fe_h,e_fe_h\n0.1,0.05\n", "is missing"),
    "large error": (csv(e_c_fe=[0.05, 0.05, 0.2]), "the error is 0.2 dex"),
    "a gap": (csv(o_fe=[0.1, "", 0.1]), "the abundance is missing"),
}


@pytest.mark.parametrize("script", ["infer", "nuts"])
@pytest.mark.parametrize(("content", "says"), FIXED.values(), ids=FIXED)
def test_bad_table_for_one_error(script, content, says, refused, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(content())
    flags = ["--out", tmp_path / "out", "--weights", "tng", "--quiet"]
    message = refused(script, path, *flags)
    assert message.startswith("error: ")
    assert "a.csv" in message
    assert says in message


@pytest.mark.parametrize("script", ["infer", "nuts"])
@pytest.mark.parametrize(("name", "content", "says"), TABLES.values(), ids=TABLES)
def test_bad_table(script, name, content, says, refused, tmp_path):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content())
    message = refused(script, path, "--out", tmp_path / "out", "--quiet")
    assert message.startswith("error: ")
    assert name in message
    assert says in message


OUT = ["--out", "out"]
FLAGS = {
    "no table": ("infer", OUT, "Missing from infer.py: PATH Star"),
    "no table for NUTS": ("nuts", OUT, "Expected a star table, or --compare"),
    "no folder": ("infer", [EXAMPLE], "--out"),
    "unknown flag": ("infer", [EXAMPLE, *OUT, "--sigma", 1], "--sigma"),
    "unknown method": ("infer", [EXAMPLE, *OUT, "--method", "best"], "best"),
    "half a truth": ("infer", [EXAMPLE, *OUT, "--truth", "-2.3"], "--truth"),
    "NaN truth": ("infer", [EXAMPLE, *OUT, "--truth", "nan", 1], "--truth to be finit"),
    "seed in words": ("infer", [EXAMPLE, *OUT, "--seed", "one"], "--seed"),
    "negative seed": ("infer", [EXAMPLE, *OUT, "--seed", -1], "--seed from 0"),
    "long seed": ("nuts", [EXAMPLE, "--seed", 2**70], "--seed from 0 to 4294967295"),
    "a folder": ("infer", [EXAMPLE.parent, *OUT], "this is a folder"),
    "no error": ("infer", [EXAMPLE, *OUT, "--default-error", 0], "default error above"),
    "NaN error": ("infer", [EXAMPLE, *OUT, "--default-error", "nan"], "default-error"),
    "unknown weights": ("infer", [EXAMPLE, *OUT, "--weights", "tgn"], "'tng-legacy'"),
    "no stars": ("nuts", [EXAMPLE, "--n-stars", 0], "--n-stars between 1 and 1000"),
    "too many stars": ("nuts", [EXAMPLE, "--n-stars", 1001], "got 1001"),
    "no chains": ("nuts", [EXAMPLE, "--n-chains", 0], "--n-chains from 1"),
    "no draws": ("nuts", [EXAMPLE, "--n-draws", 0], "--n-draws from 4"),
    "mock of none": ("make_mock", ["--n", 0], "--n from 1 to"),
    "mock of too many": ("make_mock", ["--n", 10**12], "to 1000000000; got 1000000"),
    "mock of 1.5": ("make_mock", ["--n", 1.5], "--n"),
    "mock without noise": ("make_mock", ["--sigma", 0], "--sigma above 0"),
    "infinite noise": ("make_mock", ["--sigma", "inf"], "--sigma to be finite"),
    "mock as CSV": ("make_mock", ["--out", "a.csv"], "suffix .ecsv or .fits"),
    "recipe of others": (
        "train_npe",
        ["--recipe", "reference", "--stars", "any", *OUT],
        "Expected --stars fixed with --recipe reference",
    ),
    "mock of two yields": (
        "make_mock",
        ["--emulator", "tng", "--yields", "alternative"],
        "not both",
    ),
    "mock survey with noise": (
        "make_mock",
        ["--survey", "galah", "--sigma", 0.1, "--emulator", "tng", "--out", "a.csv"],
        "Remove --sigma and --emulator, or --survey",
    ),
    "mock survey as FITS": (
        "make_mock",
        ["--survey", "galah", "--out", "a.fits"],
        "suffix .csv with --survey",
    ),
    "mock survey of few": (
        "make_mock",
        ["--survey", "galah", "--n", 9, "--out", "a.csv"],
        "at least 10 with --survey",
    ),
    "mock survey of nothing": (
        "make_mock",
        ["--survey", "galah", "--n", 20, "--truth", -2.3, 9.0, "--out", "a.csv"],
        "Expected --truth of a galaxy that has stars",
    ),
    "unknown yields": ("make_mock", ["--yields", "tgn"], "Unknown yields 'tgn'"),
    "no yield file": ("make_mock", ["--yields", "no.json"], "cannot read the yield"),
    "yields of nobody": ("make_mock", ["--yields", "~nobody-here/a.json"], "cannot re"),
    "no simulations": ("simulate", ["--n", 0], "--n from 1"),
    "unknown prior": ("simulate", ["--prior", "flat"], "flat"),
    "unknown physics": ("train_emulator", ["--physics", "new"], "new"),
    "unknown recipe": ("train_npe", ["--recipe", "new"], "new"),
    "no epochs": ("train_npe", ["--n-epochs", 0], "--n-epochs from 1"),
    "no steps": ("train_emulator", ["--steps-per-epoch", -3], "--steps-per-epoch fro"),
    "no batch": ("train_npe", ["--batch-size", 0], "--batch-size from 1"),
    "unknown emulator": ("train_npe", ["--emulator", "x"], "weights by name"),
    "no test stars": ("train_emulator", ["--n-test", 0], "--n-test from 1"),
    "no galaxies": ("calibrate", ["--n-galaxies", -1], "--n-galaxies from 0"),
    "galaxy of none": ("calibrate", ["--n-stars", 0, 10], "--n-stars from 1"),
    "no numbers": ("reproduce", ["--n-stars", 0], "--n-stars from 1"),
    "scratch of none": ("reproduce", ["--scratch.npe-steps", 0], "--npe-steps from 1"),
}


@pytest.mark.parametrize(("script", "flags", "says"), FLAGS.values(), ids=FLAGS)
def test_bad_flag(script, flags, says, refused):
    assert says in refused(script, *flags)


def test_the_list_is_long():
    assert len(TABLES | FLAGS) >= 60
