"""Random tables and flags: stars that can be used, or one sentence and exit code 2."""

import bz2
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chemsbi_jax.catalog.columns import IDS
from chemsbi_jax.cli import mock, nuts, simulate, train_emulator, train_npe
from chemsbi_jax.cli.infer import read
from chemsbi_jax.cli.run import run_script
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.npe.reading import require_complete
from helpers.paths import load_script

QUICK = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,  # the same examples in each run
    database=None,
    suppress_health_check=list(HealthCheck),
)
FORMATS = {"csv": "ascii.csv", "ecsv": "ascii.ecsv", "fits": "fits", "vot": "votable"}
UNITS = [None, "dex", "", "Gyr", "Myr", "yr", "mag", "K", "m / s"]
NAMES = [*ABUNDANCES, *(f"e_{a}" for a in ABUNDANCES), "birth_time", "e_birth_time",
         "age", "e_age", "FE_H", "E_Fe_H", "true_fe_h", "ra", "dec", "Fe_H ",
         *IDS[:3], "source_id", "tmass_id", "A(Fe)", "MG1", "mg_h", "e_mg_h",
         "fe_h_nlte", "[Fe I/H]", "m_h", "l_mg_fe", "UL_O_FE", "MG_FE_FLAG",
         "fe_h_upper", "snr", "fe_h_lower", "logAge", "species", "N(Fe)", "X_H",
         "sobject_id", "apogee_id", "o_h", "O_H", "OH", "FeH", "[O/Mg]", "t_lookback",
         "gaia_dr2_id", "OBJECT", "RAJ2000", "DEJ2000", "l", "b", "use", "Z", "what",
         "mg_fe_type", "\N{GREEK SMALL LETTER SIGMA}[Mg/Fe]"]  # fmt: skip
ASKED = [None, None, None, "fe_h=A(Fe)-7.50", "age=10**logAge", "mg_fe=mg_h",
         "fe_h=m_h", "e_fe_h=sqrt(e_fe_h)", "fe_h=fe_h_nlte", "fe_h=2*(fe_h",
         "id=ra"]  # fmt: skip
MARKS = [-9999.0, 99.0, 999.0, 1e20, np.inf, -np.inf, np.nan, 0.0, -0.05]
KINDS = ("good", "good", "float", "int", "text", "bool", "2-d")
WORDS = [
    "",
    "nan",
    "--",
    "n/a",
    "low",
    "0.1",
    " 0.2 ",
    "1e400",
    "0x10",
    "1_0",
    "é",
    ",",
]


def numbers():
    usual = st.floats(-2.0, 2.0)
    return st.one_of(usual, usual, usual, st.sampled_from(MARKS), st.floats())


@st.composite
def columns(draw, n):
    """A column of `n` cells of any kind, often a plain one."""
    kind = draw(st.sampled_from(KINDS))
    some = {
        "good": st.just(draw(st.sampled_from([0.05, 0.1, 3.0]))),
        "float": numbers(),
        "int": st.integers(-(10**4), 10**4),
        "text": st.sampled_from(WORDS),
        "bool": st.booleans(),
        "2-d": st.just([0.05, 0.1]),
    }[kind]
    cells = draw(st.lists(some, min_size=n, max_size=n))
    dtype = {"text": str, "bool": bool, "int": int}.get(kind, float)
    data = np.array(cells, dtype).reshape(n, -1 if n and kind == "2-d" else n and 1)
    data = data if kind == "2-d" and n else data.reshape(n)
    if kind == "float":
        kinds = draw(st.sampled_from(["f4", "f8", ">f8"]))
        with np.errstate(over="ignore"):
            data = data.astype(kinds)
    column = MaskedColumn(data)
    if kind in ("good", "float", "int"):
        column.unit = draw(st.sampled_from(UNITS[:3] if kind == "good" else UNITS))
    if draw(st.booleans()) and n and data.ndim == 1 and kind != "good":
        column.mask = draw(st.lists(st.booleans(), min_size=n, max_size=n))
    return column


@st.composite
def tables(draw):
    """Complete stars with a few random columns, or only random columns."""
    n = draw(st.integers(0, 30))
    table = Table()
    if draw(st.integers(0, 2)):
        n = max(n, 1)
        for name in ABUNDANCES:
            table[name], table[f"e_{name}"] = np.full(n, 0.1), np.full(n, 0.05)
    for name in draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=4)):
        table[name] = draw(columns(n))
    return table


def with_commas(content):
    """As a spreadsheet writes it where the comma is the decimal point."""
    return content.replace(b",", b";").replace(b".", b",")


LAYOUTS = [
    lambda content: content,
    with_commas,
    lambda content: b"\xef\xbb\xbf" + with_commas(content),
    lambda content: content.replace(b",", b"\t"),
    lambda content: content.replace(b",", b"|"),
    lambda content: content.replace(b",", b" "),
    lambda content: b"# " + content,
    lambda content: content.replace(b"\n", b",\n"),
    lambda content: content.replace(b"\n", b"\n#"),
    lambda content: content.decode().encode("utf-16"),
    lambda content: b"Table 1: stars, of a galaxy\n" + content,
    bz2.compress,
]


@st.composite
def files(draw):
    """Name and content of a table file, sometimes with a fault in its bytes."""
    form = draw(st.sampled_from(list(FORMATS)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"stars.{form}"
        table = draw(tables())  # a fault of this line is one of the test
        try:
            with np.errstate(all="ignore"):
                table.write(path, format=FORMATS[form])
        except Exception:  # what a format can't hold, no user has
            path.write_text("fe_h,e_fe_h\n0.1,0.05\n")
        content = path.read_bytes()
    if form == "csv":
        content = draw(st.sampled_from(LAYOUTS))(content)
    fault = draw(st.sampled_from(["none"] * 4 + ["cut", "noise"]))
    at = draw(st.integers(0, len(content)))
    if fault == "cut":
        content = content[:at]
    if fault == "noise":
        content = content[:at] + draw(st.binary(max_size=8)) + content[at + 4 :]
    name = draw(st.sampled_from([path.name, path.name, "stars.dat"]))
    return name, content


def run(module, flags, main, patch, capsys):
    """Exit code and what was said on stderr."""
    patch.setattr("sys.argv", ["script.py", *flags])
    try:
        code = run_script(main, module.Config)
    except SystemExit as error:  # tyro's
        code = error.code
    return code, capsys.readouterr().err


def assert_usable(stars):
    n, n_abundances = len(stars.ids), len(ABUNDANCES)
    assert n >= 1
    for array in (stars.values, stars.errors, stars.observed):
        assert array.shape == (n, n_abundances)
    for array in (stars.birth_time, stars.e_birth_time):
        assert array.shape == (n,)
    assert stars.observed.dtype == bool
    assert stars.observed.any()
    assert np.isfinite(stars.values[stars.observed]).all()
    assert np.isfinite(stars.errors[stars.observed]).all()
    assert (stars.errors[stars.observed] > 0.0).all()
    assert np.isnan(stars.values[~stars.observed]).all()
    assert not (stars.e_birth_time <= 0.0).any()
    assert len(set(stars.ids)) == n


@pytest.fixture(scope="module")
def infer():
    return load_script("infer")


seen = {"stars": 0, "refused": 0}


@QUICK
@given(
    file=files(),
    default=st.sampled_from([None, "0.05", "0", "nan"]),
    columns=st.sampled_from(ASKED),
)
def test_any_table(file, default, columns, infer, capsys):
    """Reading and checking, as infer.py begins."""
    found = []

    def main(config):
        stars = read(config.stars, config, config.out, True).stars
        found.append(stars)
        require_complete(stars, name=str(config.stars))
        assert stars.observed.all()
        np.testing.assert_allclose(stars.errors, 0.05, atol=1e-3)

    name, content = file
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / name
        path.write_bytes(content)
        flags = [str(path), "--out", folder]
        flags += ["--default-error", default] if default else []
        flags += ["--columns", columns] if columns else []
        code, said = run(infer, flags, main, patch, capsys)
    for stars in found:
        assert_usable(stars)
    seen["stars" if code == 0 else "refused"] += 1
    if code == 0:
        assert said == ""
    else:
        assert_one_sentence(code, said)
        assert name in said or "default" in said or "--columns" in said


def assert_one_sentence(code, said):
    assert code == 2
    assert said.startswith("error: ")
    assert said.count("error: ") == 1
    assert "Traceback" not in said
    assert said.rstrip().endswith(".")
    assert len(said) < 1500


def test_both_answers_were_seen():
    assert min(seen.values()) > 0


VALUES = st.one_of(
    st.integers(-3, 3).map(str),
    st.integers().map(str),
    st.floats().map(str),
    st.sampled_from(["", "tng", "none", "None", "/", "~", "~x/y", ".", "-", "1e3"]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5),
)


class Stop(Exception):
    """Where the work would begin."""


BEGIN = {
    "make_mock": (mock, "simulate_blocks"),
    "simulate": (simulate, "run_blocks"),
    "train_emulator": (train_emulator, "simulate_blocks"),
    "train_npe": (train_npe, "with_length"),
    "nuts": (nuts, "load_networks"),  # and `compare_shared` of the script
    "calibrate": (None, "star_maker"),  # its code is in the script
}


# each number of simulations is compiled anew
SLOW = ("train_emulator",)


@pytest.mark.parametrize(
    "script",
    [pytest.param(x, marks=[pytest.mark.slow] * (x in SLOW)) for x in BEGIN],
)
def test_any_flags(script, capsys, tmp_path, monkeypatch):
    """Flags that come through are worth a start; others are told in a sentence."""
    module = load_script(script)
    names = [f.name for f in fields(module.Config) if f.name not in ("out", "plots")]
    one = st.tuples(st.sampled_from(names), st.lists(VALUES, max_size=2))

    def stop(*_, **__):
        raise Stop

    home, name = BEGIN[script]
    monkeypatch.setattr(home or module, name, stop)
    if script == "nuts":
        monkeypatch.setattr(module, "compare_shared", stop)
    monkeypatch.chdir(tmp_path)

    @settings(QUICK, max_examples=60)
    @given(flags=st.lists(one, max_size=2))
    def check(flags):
        words = [w for name, values in flags for w in (dashed(name), *values)]
        with pytest.MonkeyPatch.context() as patch:
            try:
                code, said = run(module, words, module.main, patch, capsys)
            except Stop:
                return
        assert code in (0, 2)  # 0: --help
        assert "Traceback" not in said

    check()


def dashed(name):
    return f"--{name.replace('_', '-')}"
