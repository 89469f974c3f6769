"""Damaged weights: the sentence that each gets, and exit code 2."""

import json
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.storage.weights import weights_folder
from helpers.paths import EXAMPLE


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
