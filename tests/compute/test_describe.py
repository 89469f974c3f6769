"""Texts of arguments: equal for the same program, different for another one."""

import enum
import subprocess
import sys
from functools import partial, wraps

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from jax.flatten_util import ravel_pytree

from chemsbi_jax import paper_prior
from chemsbi_jax.compute import describe as describing
from chemsbi_jax.compute import fingerprint
from chemsbi_jax.compute.describe import (
    NoDescriptionError,
    content,
    describe,
)
from chemsbi_jax.npe.training import NpeConfig, new_npe

X = np.arange(3.0, dtype=np.float32)


def power(n):
    """A function that holds a value."""
    return partial(jnp.power, n)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, 1.0),
        (1, True),
        ("1", 1),
        ("a", b"a"),
        (np.float32(2.0), np.float32([2.0])),
        (None, False),
        ((1, 2), [1, 2]),
        ({"a": 1}, {"b": 1}),
        (X, X[:2]),
        (X, X.astype(np.float16)),
        (X, jnp.asarray(X)),  # the second one is on a device
        (jnp.asarray(X), jax.device_put(X, jax.devices()[0])),  # that is committed
        (jnp.asarray(1.0), jnp.asarray(1.0, jnp.float32)),  # the first one is weak
        (jnp.sin, jnp.cos),
        (jnp.float32, jnp.int32),
        (power(1), power(2)),
        (power(np.float32(2.0)), power(np.float32([2.0]))),
        (power(jnp.asarray(2.0)), power(jnp.asarray(2.0, jnp.float32))),
        (paper_prior(), paper_prior()._replace(alpha_imf=dist.Normal(-2.4, 0.3))),
        (paper_prior()[0], dist.Uniform(-2.3, 0.3)),
        (dist.Uniform(1.0, 2.0), dist.Uniform(2.0, 1.0)),
        (NpeConfig(), NpeConfig(batch_size=7)),
        (jax.tree.structure((1, [2])), jax.tree.structure((1, (2,)))),
        (ravel_pytree((X, X))[1], ravel_pytree((X, X[:2]))[1]),
    ],
)
def test_other_arguments_have_another_text(one, other):
    assert describe(one) == describe(one)
    assert describe(one) != describe(other)


def test_arrays_are_described_without_their_numbers_unless_they_are_static():
    assert describe((X, 1)) == describe((X + 1.0, 1))
    assert content((X, 1)) != content((X + 1.0, 1))


def test_functions_are_described_with_what_they_hold():
    """Spline constructors of flowjax hold arrays."""
    texts = {describe(network(key)) for key in (0, 0, 1)}
    assert len(texts) == 1  # other weights, same splines
    assert describe(network(0)) != describe(network(0, knots=5))


TOGETHER = [lambda x: x + 1.0, lambda x: x + 2.0, lambda y: y + 1.0]


def test_functions_on_one_line_differ_by_their_constants(monkeypatch):
    monkeypatch.setattr(describing, "TRACED", (__name__.split(".")[0],))
    texts = {describe(function) for function in TOGETHER}
    assert len(texts) == len(TOGETHER)


def network(seed, knots=4):
    from chemsbi_jax.npe.joint_flow import new_joint_flow

    return new_joint_flow(jax.random.key(seed), 3, 2, 1, 8, knots)


class Mine:
    """A class of a module without a known version."""

    def __init__(self):
        self.value = 1


class OwnList(list):
    """A list that holds more than its elements."""

    __slots__ = ("more",)


def local_class(n):
    """An object of a class that exists in this call only."""

    class Local(eqx.Module):
        def __call__(self, x):
            return x**n

    return Local()


def by_name(function):
    """A function with the module and the name of one of NumPy's."""
    return wraps(np.sum)(function)


class Colour(enum.Enum):
    """An enumeration of a module without a known version."""

    RED = 1


@pytest.mark.parametrize(
    "thing",
    [
        object(),
        Mine(),
        Colour.RED,
        lambda: 0,
        power,
        by_name(lambda x: x),
        local_class(2),
        OwnList([1]),
        -0.0,  # equal to 0.0 for a jit within the function
        np.ma.masked_array([1.0, 2.0], [True, False]),
        np.matrix([[1.0]]),
        iter([1]),
        partial(Mine),
        dist.Normal(jnp.zeros(2), 1.0),  # its arrays have no fixed order
    ],
)
def test_what_may_differ_in_another_process_has_no_text(thing):
    with pytest.raises(NoDescriptionError):
        describe((X, thing))


def test_an_array_of_objects_is_no_static_argument():
    with pytest.raises(NoDescriptionError, match="array of objects"):
        content(np.array([Mine()], object))


def test_a_random_key_is_no_static_argument():
    with pytest.raises(NoDescriptionError, match="random key"):
        content(jax.random.key(0))
    assert "key<" in describe(jax.random.key(0))


def test_networks_have_a_text():
    npe = new_npe(jax.random.key(0), paper_prior(), NpeConfig())
    other = new_npe(jax.random.key(1), paper_prior(), NpeConfig())
    assert describe(npe) == describe(other)
    prior = other.prior._replace(alpha_imf=dist.Normal(-2.4, 0.3))
    assert describe(npe) != describe(eqx.tree_at(lambda n: n.prior, npe, prior))


PROGRAM = """
import jax
from chemsbi_jax import paper_prior
from chemsbi_jax.compute.describe import describe
from chemsbi_jax.npe.training import NpeConfig, new_npe
print(describe(new_npe(jax.random.key(0), paper_prior(), NpeConfig())))
"""


def test_texts_do_not_depend_on_the_salt_of_hashes(monkeypatch):
    """Numpyro orders the numbers of a distribution by hashes of their names."""
    texts = set()
    for salt in "12345":
        monkeypatch.setenv("PYTHONHASHSEED", salt)
        call = [sys.executable, "-c", PROGRAM]
        run = subprocess.run(call, capture_output=True, text=True, check=True)
        texts.add(run.stdout)
    assert len(texts) == 1


def test_settings_of_jax_are_part_of_the_fingerprint(monkeypatch):
    monkeypatch.setattr(fingerprint, "_sources", lambda: "as it is")
    fingerprint._installation.cache_clear()
    usual = fingerprint.fingerprint()
    assert fingerprint.fingerprint() == usual
    with jax.default_matmul_precision("highest"):
        assert fingerprint.fingerprint() != usual
    with jax.enable_x64(not jax.config.jax_enable_x64):
        assert fingerprint.fingerprint() != usual
    with jax.default_prng_impl("rbg"):
        assert fingerprint.fingerprint() != usual
    fingerprint._installation.cache_clear()


def test_files_that_changed_after_their_import_have_no_hash(monkeypatch):
    newest = max(p.stat().st_ctime for p in fingerprint.PACKAGE.rglob("*.py"))
    found = []
    for imported in (newest + 60.0, newest + 5.0, newest - 60.0):
        monkeypatch.setattr(fingerprint, "IMPORTED", imported)
        fingerprint._sources.cache_clear()
        found.append(fingerprint._sources())
    fingerprint._sources.cache_clear()
    assert len(found[0]) == 64
    assert found[1:] == [None, None]
