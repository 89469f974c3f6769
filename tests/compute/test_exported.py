"""Programs of earlier runs: the same numbers, and never those of another program."""

import json
import os
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax import paper_prior, priors
from chemsbi_jax.compute import exported, fingerprint
from chemsbi_jax.compute.devices import spread
from chemsbi_jax.compute.exported import keep_programs, stored_jit
from chemsbi_jax.galaxy.grid import GridPosterior

X = np.linspace(-2.0, 2.0, 64, dtype=np.float32)
PRIOR = tuple(paper_prior())[:2]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Programs are kept in a folder, also just after a change of the package."""
    monkeypatch.setattr(fingerprint, "SETTLED", -1e9)
    forget()
    keep_programs(tmp_path / "programs")
    yield tmp_path / "programs"
    keep_programs(None)
    forget()


def forget():
    """The package is read again."""
    fingerprint._installation.cache_clear()
    fingerprint._sources.cache_clear()


@pytest.fixture
def traces(monkeypatch):
    """Names of the functions that are traced."""
    found, trace = [], exported._trace

    def counted(function, arguments):
        found.append(function.__name__)
        return trace(function, arguments)

    monkeypatch.setattr(exported, "_trace", counted)
    return found


def test_a_stored_program_gives_the_numbers_of_a_traced_one(folder, traces):
    latent = np.stack([X, X[::-1]], axis=-1)
    usual = eqx.filter_jit(priors.from_normal)(PRIOR, latent)
    for _ in range(2):  # the second one reads the file
        found = stored_jit(priors.from_normal)(PRIOR, latent)
        np.testing.assert_array_equal(found, usual)
    assert traces == ["from_normal"]
    assert len(list(folder.iterdir())) == 1


def test_each_kind_of_argument_has_its_program(folder, traces):
    run = stored_jit(priors.from_normal)
    latent = np.stack([X, X], axis=-1)
    others = [PRIOR, tuple(paper_prior())[2:4], tuple(priors.wide_prior())[:2]]
    found = [np.asarray(run(prior, latent)) for prior in others]
    assert len(traces) == 3
    for prior, one in zip(others, found, strict=True):
        expected = eqx.filter_jit(priors.from_normal)(prior, latent)
        np.testing.assert_array_equal(one, expected)
    assert run(PRIOR, latent[:3]).shape == (3, 2)
    assert run(PRIOR, jnp.asarray(latent)).shape == (64, 2)
    assert len(list(folder.iterdir())) == 5


def test_an_argument_may_be_a_flag_or_a_number(folder):
    run = stored_jit(jnp.sum)
    with_axis = [run(X[None], axis=axis).shape for axis in (0, 1, None)]
    assert with_axis == [(64,), (1,), ()]
    assert run(X[None], keepdims=True).shape == (1, 1)
    assert run(X[None], keepdims=False).shape == ()


def test_settings_of_jax_have_programs_of_their_own(folder, traces):
    run = stored_jit(jnp.square)
    assert run(X).dtype == jnp.float32
    with jax.enable_x64(True):
        assert run(X.astype(float)).dtype == jnp.float64
    with jax.enable_x64(False):
        assert run(X.astype(float)).dtype == jnp.float32
    assert len(traces) == 3


@pytest.mark.parametrize("damage", ["cut", "other", "empty"])
def test_a_damaged_file_is_replaced(folder, traces, damage):
    stored_jit(jnp.square)(X)
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    if damage == "other":
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("outline.json", json.dumps([path.name, "array"]))
            file.writestr("program", b"no program")
    else:
        path.write_bytes(whole[: len(whole) // 2] if damage == "cut" else b"")
    np.testing.assert_array_equal(stored_jit(jnp.square)(X), X**2)
    assert len(traces) == 2
    np.testing.assert_array_equal(stored_jit(jnp.square)(X), X**2)
    assert len(traces) == 2


def test_a_program_under_the_name_of_another_one_is_replaced(folder):
    for function in (jnp.square, jnp.negative):
        stored_jit(function)(X)
    one, other = sorted(folder.iterdir())
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    np.testing.assert_array_equal(stored_jit(jnp.square)(X), X**2)
    np.testing.assert_array_equal(stored_jit(jnp.negative)(X), -X)


def test_functions_of_unknown_modules_run_without_a_file(folder):
    run = stored_jit(lambda x, n: jnp.tile(x, n))
    assert run(X, 3).shape == (192,)
    assert not list(folder.iterdir())


def test_nothing_is_stored_just_after_a_change_of_the_package(folder, monkeypatch):
    monkeypatch.setattr(fingerprint, "SETTLED", 1e12)
    forget()
    np.testing.assert_array_equal(stored_jit(jnp.square)(X), X**2)
    assert not list(folder.iterdir())


def test_the_library_alone_stores_nothing(traces):
    np.testing.assert_array_equal(stored_jit(jnp.square)(X), X**2)
    assert not traces


@pytest.mark.parametrize("outer", [jax.jit, jax.vmap, jax.grad])
def test_inside_another_program_it_is_traced(folder, outer):
    run = stored_jit(jnp.square)
    x = 3.0 if outer is jax.grad else X
    expected = 6.0 if outer is jax.grad else X**2
    np.testing.assert_array_equal(outer(run)(x), expected)
    assert not list(folder.iterdir())


def test_batches_over_all_devices_are_stored(folder, traces):
    for _ in range(2):
        np.testing.assert_array_equal(spread(jnp.square)(X[:7]), X[:7] ** 2)
    assert traces == ["square"]


def test_a_weak_type_of_a_result_is_kept(folder):
    """A file would lose it, and float16 would become float32 in later runs."""
    run = stored_jit(jnp.square)
    half = jnp.ones(1, jnp.float16)
    for _ in range(2):
        assert (half + run(2.0)).dtype == jnp.float16
    assert not list(folder.iterdir())


def test_errors_of_the_function_reach_the_user(folder):
    with pytest.raises(TypeError, match="incompatible shapes"):
        stored_jit(jnp.add)(X, X[:3])
    with pytest.raises(ValueError, match="[Nn]on-hashable|unhashable"):
        stored_jit(jnp.sum)(X, axis={0})


def test_two_threads_may_store_a_program(folder):
    run = stored_jit(priors.from_normal)
    latents = [np.stack([X[:n], X[:n]], axis=-1) for n in (3, 4, 3, 4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda latent: run(PRIOR, latent), latents))
    for one, latent in zip(found, latents, strict=True):
        expected = eqx.filter_jit(priors.from_normal)(PRIOR, latent)
        np.testing.assert_array_equal(one, expected)
    assert len(list(folder.iterdir())) == 2


class Pair(NamedTuple):
    """A named tuple of a module that is not of this package."""

    one: jax.Array
    two: jax.Array


def test_results_have_their_structure_again():
    zero, one = jnp.zeros(2), jnp.ones((2, 2))
    grid = GridPosterior(zero, one, zero, one, one)
    results = (grid, None, [zero, {"b": one, "a": zero}])
    outline = exported._outline(results)
    again = exported._filled(outline, iter(jax.tree.leaves(results)))
    assert jax.tree.structure(again) == jax.tree.structure(results)
    jax.tree.map(np.testing.assert_array_equal, again, results)
    for other in (Pair(zero, one), 3.0, {"a": "text"}, {1: zero}, {(1, 2): zero}):
        with pytest.raises(TypeError):
            exported._outline(other)


def test_the_oldest_programs_are_deleted(folder, monkeypatch):
    monkeypatch.setattr(exported, "MAX_SIZE", 400)
    for i in range(6):
        path = folder / f"program-{i}.zip"
        path.write_bytes(b"x" * 100)
        os.utime(path, (i, i))
    keep_programs(folder)
    assert sorted(p.name for p in folder.iterdir()) == [
        "program-4.zip",
        "program-5.zip",
    ]


def test_a_folder_that_cannot_be_written_to_changes_nothing(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    keep_programs(tmp_path / "file" / "programs")
    np.testing.assert_array_equal(stored_jit(jnp.square)(X), X**2)
    keep_programs(None)
