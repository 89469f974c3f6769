"""Same seed, same bits: twice in one process, and in another one."""

import os
import subprocess
import sys

import jax
import numpy as np
import pytest
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import npe as networks
from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.npe import SplineFlow
from chemsbi_jax.storage.files import sha256_of_arrays
from helpers.paths import EXAMPLE, ROOT

SHORT = FitConfig(2, 3)


def draw(seed, method="gaussian"):
    """Draws of single stars and of their galaxy."""
    stars = cs.read_stars(EXAMPLE).take(slice(None, 4))
    npe, key = cs.load_npe(), jax.random.key(seed)
    galaxy = cs.infer_galaxy(key, npe, stars, method, 50)
    return {
        "stars": np.asarray(cs.sample_stars(key, npe, stars, 20)),
        "draws": np.asarray(galaxy.draws),
        "mean": np.asarray(galaxy.mean),
        "covariance": np.asarray(galaxy.covariance),
    }


def draw_by_flow(seed):
    return draw(seed, "flow")


def train(seed):
    """Weights and losses of an emulator after a few steps."""
    theta = priors.sample(jax.random.key(9), priors.paper_prior(), 500)
    abundances = np.tanh(np.asarray(theta) @ np.linspace(-0.2, 0.2, 48).reshape(6, 8))
    box = priors.box(priors.wide_prior())
    small = em.EmulatorConfig(hidden=(8,), batch_size=32, fit=SHORT)
    key = jax.random.key(seed)
    trained = em.train_emulator(key, theta, abundances, box, small, quiet=True)
    return as_arrays(trained)


def train_flow(seed):
    """Weights and losses of a posterior network after a few steps."""
    prior, emulator = priors.paper_prior(), cs.load_emulator()
    fresh = networks.FreshStars(Partial(cs.emulate, emulator=emulator), prior)
    flow = SplineFlow(embedding=(8, 1), hidden=(8,), n_bins=4)
    recipe = networks.NpeConfig(flow, 32, n_held_out=64, fit=SHORT)
    key = jax.random.key(seed)
    npe, result = networks.train_npe(key, fresh, prior, recipe, quiet=True)
    return as_arrays((npe.galaxy_flow, npe.star_flow, result))


def as_arrays(tree):
    leaves = [x for x in jax.tree.leaves(tree) if hasattr(x, "shape")]
    return {str(i): np.asarray(x) for i, x in enumerate(leaves)}


def tell(*names):
    """For the other process: checksums on stdout."""
    print(*(sha256_of_arrays(globals()[name](3)) for name in names))


def elsewhere(*made, compiles):
    """Checksums from a new process with other random hashes."""
    other = {"PYTHONHASHSEED": "5"}
    if compiles:
        other["JAX_ENABLE_COMPILATION_CACHE"] = "0"
    names = ", ".join(repr(make.__name__) for make in made)
    code = f"from inference import test_same_bits as t; t.tell({names})"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests",
        env=os.environ | other,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def assert_same_bits(*made, compiles=False):
    here = []
    for make in made:
        one, two = make(3), make(3)
        for name in one:
            np.testing.assert_array_equal(one[name], two[name], err_msg=name)
        here.append(sha256_of_arrays(one))
        assert here[-1] != sha256_of_arrays(make(4))
    assert here == elsewhere(*made, compiles=compiles)


@pytest.mark.thorough
def test_same_seed_same_bits():
    assert_same_bits(draw, train)


@pytest.mark.slow
def test_same_seed_same_bits_of_a_flow():
    """Compiled anew in the other process."""
    assert_same_bits(draw_by_flow, train_flow, compiles=True)
