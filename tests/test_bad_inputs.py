"""Bad tables, flags, weights and yields: the sentence that each gets, and exit code 2.

Each case runs a script's own entry point, and fails before anything is compiled.
"""

import copy
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from scripts_of_tests import EXAMPLE, load_script
from test_tables_user import BROKEN, TOY, UNREADABLE

from chemsbi_jax.cli.run import run_script
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.storage.weights import weights_folder

NAMES = ("infer", "nuts", "make_mock", "simulate", "train_npe", "train_emulator",
         "calibrate", "reproduce")  # fmt: skip


@pytest.fixture(scope="module")
def modules():
    return {name: load_script(name) for name in NAMES}


@pytest.fixture
def refused(modules, monkeypatch, capsys, tmp_path):
    """Run a script; the sentence on stderr, after checks that hold for each refusal."""

    def run(script, *flags):
        module = modules[script]
        monkeypatch.setattr("sys.argv", [f"{script}.py", *map(str, flags)])
        monkeypatch.chdir(tmp_path)
        before = contents(tmp_path)
        try:
            code = run_script(module.main, module.Config)
        except SystemExit as error:  # tyro's
            code = error.code
        message = capsys.readouterr().err
        assert code == 2
        assert "Traceback" not in message
        assert contents(tmp_path) == before  # earlier results, and nothing new
        return " ".join(re.sub("[^ -~]", " ", message).split())  # tyro draws boxes

    return run


def contents(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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
    "no error": ("infer", [EXAMPLE, *OUT, "--default-error", 0], "default error betwe"),
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


def edit_json(kind, /, **changes):
    def edit(folder):
        path = folder / f"{kind}.json"
        content = json.loads(path.read_text()) | changes
        content = {k: v for k, v in content.items() if v is not None}
        path.write_text(json.dumps(content))

    return edit


def edit_prior(**changes):
    def edit(folder):
        path = folder / "npe.json"
        content = json.loads(path.read_text())
        content["prior"] |= changes
        path.write_text(json.dumps(content))

    return edit


def edit_arrays(kind, change):
    def edit(folder):
        path = folder / f"{kind}.safetensors"
        arrays = load_file(path)
        name = next(iter(arrays))
        arrays[name] = change(arrays[name])
        save_file(arrays, path)

    return edit


def write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def cut(name, share):
    def edit(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: int(share * len(content))])

    return edit


def remove(name):
    return lambda folder: (folder / name).unlink()


def take_legacy(name):
    def edit(folder):
        shutil.copy(weights_folder("tng-legacy") / name, folder / name)

    return edit


def all_legacy(kind):
    def edit(folder):
        for suffix in ("json", "safetensors"):
            take_legacy(f"{kind}.{suffix}")(folder)

    return edit


def nan(array):
    return np.full_like(array, np.nan)


BOX = ["Uniform", {"low": 0.5, "high": 13.7}]
WEIGHTS = {
    "no NPE": (remove("npe.json"), "npe.json: expected the description"),
    "no emulator": (remove("emulator.json"), "emulator.json: expected the descriptio"),
    "no NPE arrays": (remove("npe.safetensors"), "missing or cut off"),
    "no emulator arrays": (remove("emulator.safetensors"), "missing or cut off"),
    "cut NPE": (cut("npe.safetensors", 0.9), "npe.safetensors: expected npe weights"),
    "cut emulator": (cut("emulator.safetensors", 0.5), "missing or cut off"),
    "empty arrays": (write("npe.safetensors", b""), "missing or cut off"),
    "text for arrays": (write("npe.safetensors", b"weights" * 9), "missing or cut off"),
    "cut description": (cut("npe.json", 0.5), "npe.json: expected the description"),
    "empty description": (write("emulator.json", b""), "emulator.json: expected"),
    "binary description": (write("npe.json", b"\xff\xfe\x00"), "npe.json: expected"),
    "deep description": (write("npe.json", b"[" * 10**5), "npe.json: expected"),
    "a list": (write("npe.json", b"[1]"), "kind is None, expected 'npe'"),
    "other format": (edit_json("npe", format=2), "format is 2, expected 1"),
    "no format": (edit_json("emulator", format=None), "format is None, expected 1"),
    "other kind": (edit_json("npe", kind="emulator"), "kind is 'emulator'"),
    "fewer abundances": (edit_json("npe", abundances=["fe_h"]), "abundances is ['fe_h"),
    "other parameters": (
        edit_json("emulator", parameters=["a"]),
        "parameters is ['a']",
    ),
    "no flow": (edit_json("npe", flow=None), "KeyError: 'flow'"),
    "unknown flow": (edit_json("npe", flow={"type": "glow"}), "KeyError: 'glow'"),
    "flow of words": (
        edit_json("npe", flow={"type": "spline", "n_bins": "8"}),
        "expected a flow, a prior and measurements",
    ),
    "no prior": (edit_json("npe", prior=None), "KeyError: 'prior'"),
    "a prior without name": (edit_prior(birth_time=[]), "IndexError"),
    "unknown prior": (edit_prior(birth_time=["Cauchy", {}]), "birth_time': ['Cauchy'"),
    "prior too many": (edit_prior(age=BOX), "with distributions"),
    "prior without width": (
        edit_prior(alpha_imf=["Normal", {"loc": -2.3, "scale": 0.0}]),
        "a positive scale and low < high of alpha_imf",
    ),
    "prior upside down": (
        edit_prior(birth_time=["Uniform", {"low": 9.0, "high": 2.0}]),
        "low < high of birth_time",
    ),
    "NaN prior": (
        edit_prior(alpha_imf=["Normal", {"loc": float("nan"), "scale": 0.3}]),
        "finite numbers",
    ),
    "prior beyond the emulator": (
        edit_prior(birth_time=BOX),
        "the prior of birth_time goes from 0.5 to 13.7, the emulator from 1",
    ),
    "no measure": (edit_json("npe", measure=None), "KeyError: 'measure'"),
    "other measure": (
        edit_json("npe", measure={"type": "any errors"}),
        "do not fit the description",
    ),
    "no widths": (edit_json("emulator", hidden=None), "under the key hidden; got None"),
    "widths of words": (edit_json("emulator", hidden="128"), "key hidden; got '128'"),
    "other widths": (edit_json("emulator", hidden=[128, 64]), "do not fit the descrip"),
    "one layer more": (edit_json("emulator", hidden=[128] * 4), "do not fit"),
    "other bins": (
        edit_json("npe", flow={"type": "spline", "embedding": [128, 3], "n_bins": 4}),
        "do not fit the description",
    ),
    "NaN in NPE": (edit_arrays("npe", nan), "expected finite weights; got NaN"),
    "NaN in emulator": (edit_arrays("emulator", nan), "expected finite weights"),
    "other weights": (edit_arrays("npe", lambda x: 2 * x), "another training"),
    "other shape": (edit_arrays("emulator", lambda x: x[..., None]), "do not fit"),
    "one more array": (
        lambda folder: save_file(
            load_file(folder / "npe.safetensors") | {"more": np.zeros(2)},
            folder / "npe.safetensors",
        ),
        "more is not expected",
    ),
    "old and new NPE": (take_legacy("npe.safetensors"), "another training"),
    "old and new emulator": (take_legacy("emulator.json"), "another training"),
    "other yields": (edit_json("npe", yields="alternative"), "yields is 'alternative'"),
    "emulator of others": (
        all_legacy("emulator"),
        "physics is 'clean' for npe and 'le",
    ),
    "NPE of others": (all_legacy("npe"), "is 'legacy' for npe and 'clean'"),
}


@pytest.mark.parametrize(("damage", "says"), WEIGHTS.values(), ids=WEIGHTS)
def test_bad_weights(damage, says, refused, tmp_path):
    folder = tmp_path / "weights"
    shutil.copytree(weights_folder("tng"), folder)
    damage(folder)
    flags = ["--weights", folder, "--out", tmp_path / "out", "--quiet"]
    message = refused("infer", EXAMPLE, *flags)
    assert message.startswith("error: ")
    assert says in message


def test_the_weights_are_good_without_damage(tmp_path):
    """Else the cases above would be refused for another reason."""
    folder = tmp_path / "weights"
    shutil.copytree(weights_folder("tng"), folder)
    load_networks(folder)
    load_networks("tng-legacy")


HUGE = {
    "huge number": (lambda t: t["sn_ia"].update(mass=10**400), "sn_ia.mass: expected"),
}


@pytest.mark.parametrize(
    ("edit", "says"), (BROKEN | HUGE).values(), ids=[*BROKEN, *HUGE]
)
def test_bad_yields(edit, says, refused, tmp_path):
    table = copy.deepcopy(json.loads(TOY.read_text()))
    edit(table)
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(table))
    message = refused("make_mock", "--yields", path, "--quiet", *OUT)
    assert re.search(f"mine.json: .*{says}", message)


UNREADABLE_TOO = UNREADABLE | {"deep": (b"[" * 10**5, "expected a JSON file")}


@pytest.mark.parametrize(
    ("content", "says"), UNREADABLE_TOO.values(), ids=UNREADABLE_TOO
)
@pytest.mark.parametrize("script", ["simulate", "train_emulator"])
def test_unreadable_yields(script, content, says, refused, tmp_path):
    path = tmp_path / "mine.json"
    path.write_bytes(content)
    assert f"mine.json: {says}" in refused(script, "--yields", path, *OUT)


def test_the_list_is_long():
    lists = (TABLES, FLAGS, WEIGHTS, BROKEN, HUGE, UNREADABLE_TOO)
    assert sum(map(len, lists)) >= 60


def test_the_folder_of_a_script_is_a_file(refused, tmp_path):
    """Refused before a training begins."""
    Path(tmp_path / "out").write_text("mine")
    assert "is a file" in refused("train_emulator", "--yields", TOY, *OUT)
    assert "is a file" in refused("train_npe", *OUT)
