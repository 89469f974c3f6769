"""Weights on disk: whole files, and refusals that say what differs."""

import json
import re

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file

from chemsbi_jax.constants import ABUNDANCES, PARAMETERS
from chemsbi_jax.errors import OutputError, WeightsError
from chemsbi_jax.storage.files import sha256_of_arrays
from chemsbi_jax.storage.weights import (
    PRETRAINED,
    load_arrays,
    load_spec,
    save_weights,
    weights_folder,
)

TREE = {
    "layers": [jnp.arange(6.0).reshape(2, 3), jnp.ones(3)],
    "count": jnp.asarray(7),
    "flipped": np.arange(6.0, dtype=np.float32).reshape(2, 3).T,
}
SPEC = {"hidden": [2, 3], "note": "made by a test"}


@pytest.fixture
def folder(tmp_path):
    save_weights(tmp_path / "new" / "weights", "emulator", TREE, SPEC)
    return tmp_path / "new" / "weights"


def edit(folder, **changes):
    path = folder / "emulator.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_trees_equal(one, two):
    assert set(one) == set(two)
    for a, b in zip(one["layers"], two["layers"], strict=True):
        np.testing.assert_array_equal(a, b)
    for name in ("count", "flipped"):
        np.testing.assert_array_equal(one[name], two[name])


def test_round_trip(folder):
    loaded = load_arrays(folder, "emulator", TREE)
    assert_trees_equal(loaded, TREE)
    assert loaded["count"].dtype == TREE["count"].dtype
    spec = load_spec(folder, "emulator")
    assert spec["parameters"] == list(PARAMETERS)
    assert spec["abundances"] == list(ABUNDANCES)
    assert {k: spec[k] for k in SPEC} == SPEC
    assert names(folder) == ["emulator.json", "emulator.safetensors"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"kind": "npe"}, "kind is 'npe', expected 'emulator'"),
        ({"format": 99}, "format is 99, expected 1"),
        ({"format": None}, "format is None, expected 1"),
        ({"parameters": list(PARAMETERS[::-1])}, "parameters is ['birth_time'"),
        ({"parameters": list(PARAMETERS[:5])}, "parameters is ['alpha_imf'"),
        ({"abundances": [*ABUNDANCES, "ba_fe"]}, "'ba_fe'], expected ['c_fe'"),
    ],
)
def test_weights_for_something_else(change, told, folder):
    edit(folder, **change)
    with pytest.raises(WeightsError) as error:
        load_spec(folder, "emulator")
    for text in (str(folder / "emulator.json"), told, "chemsbi train emulator"):
        assert text in str(error.value)


@pytest.mark.parametrize("content", ["[1, 2]", "3", "null"])
def test_a_description_that_is_no_object(content, folder):
    (folder / "emulator.json").write_text(content)
    with pytest.raises(WeightsError, match="kind is None"):
        load_spec(folder, "emulator")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe\x00", None])
def test_a_broken_description(content, folder):
    path = folder / "emulator.json"
    path.write_bytes(content) if content is not None else path.unlink()
    with pytest.raises(WeightsError, match="chemsbi train emulator") as error:
        load_spec(folder, "emulator")
    assert str(path) in str(error.value)


@pytest.mark.parametrize("size", [0, 5, 40, -1, None])
def test_truncated_arrays(size, folder):
    path = folder / "emulator.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[:size]) if size is not None else path.unlink()
    with pytest.raises(WeightsError, match="missing or cut off") as error:
        load_arrays(folder, "emulator", TREE)
    for text in (str(path), "chemsbi train emulator"):
        assert text in str(error.value)


@pytest.mark.parametrize(
    ("like", "told"),
    [
        (TREE | {"layers": [jnp.ones((2, 4)), jnp.ones(3)]}, "is (2, 3), expected (2"),
        (TREE | {"layers": [jnp.ones((2, 3))]}, "['layers'][1] is not expected"),
        (TREE | {"more": jnp.ones(2)}, "['more'] is (), expected (2,)"),
        (TREE | {"more": jnp.ones(())}, "['more']"),
    ],
)
def test_arrays_of_another_network(like, told, folder):
    with pytest.raises(WeightsError) as error:
        load_arrays(folder, "emulator", like)
    assert str(folder / "emulator.safetensors") in str(error.value)
    assert told in str(error.value)


def test_unknown_names():
    with pytest.raises(WeightsError, match="'tgn'") as error:
        weights_folder("tgn")
    for name in PRETRAINED:
        assert name in str(error.value)
        assert weights_folder(name).name == name


def test_a_folder_of_the_user(tmp_path):
    assert weights_folder(tmp_path) == tmp_path
    assert weights_folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize("name", PRETRAINED)
@pytest.mark.parametrize("kind", ["emulator", "npe"])
def test_shipped_descriptions_fit(kind, name):
    spec = load_spec(weights_folder(name), kind)
    arrays = load_file(weights_folder(name) / f"{kind}.safetensors")
    assert spec["sha256"] == sha256_of_arrays(arrays)
    assert {"yields", "physics"} <= set(spec)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", spec["version"])


def test_nothing_is_half_written(tmp_path, full_disk):
    with full_disk(100), pytest.raises(OutputError, match="choose another folder"):
        save_weights(tmp_path, "emulator", TREE, SPEC)
    assert names(tmp_path) == []


def test_old_weights_survive_a_failure(folder, full_disk):
    before = {name: (folder / name).read_bytes() for name in names(folder)}
    tree, spec = TREE | {"count": jnp.asarray(8)}, {"note": "x" * 600}
    with full_disk(600), pytest.raises(OutputError):  # only the arrays fit
        save_weights(folder, "emulator", tree, spec)
    assert {name: (folder / name).read_bytes() for name in names(folder)} == before


def test_a_description_that_json_cannot_hold(tmp_path):
    """Refused before the first file is written: no arrays without description."""
    with pytest.raises(TypeError):
        save_weights(tmp_path, "emulator", TREE, {"prior": object()})
    assert names(tmp_path) == []
