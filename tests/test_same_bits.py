"""Same seed, same bits: twice in one process, and in another one."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import npe as networks
from chemsbi_jax import priors
from chemsbi_jax.files import sha256_of_arrays
from chemsbi_jax.npe import SplineFlow
from chemsbi_jax.train import FitConfig

EXAMPLE = Path(cs.__file__).parent / "pretrained" / "stars" / "example_galaxy.ecsv"
SHORT = FitConfig(2, 3)


def draw(seed):
    """Draws of single stars and of their galaxy, by flow and by Gaussians."""
    stars = cs.Stars(*(np.asarray(x)[:4] for x in cs.read_stars(EXAMPLE)))
    npe, key = cs.load_npe(), jax.random.key(seed)
    galaxies = [cs.infer_galaxy(key, npe, stars, m, 50) for m in ("flow", "gaussian")]
    return {
        "stars": np.asarray(cs.sample_stars(key, npe, stars, 20)),
        **{f"{g.method} draws": np.asarray(g.draws) for g in galaxies},
        **{f"{g.method} mean": np.asarray(g.mean) for g in galaxies},
        **{f"{g.method} covariance": np.asarray(g.covariance) for g in galaxies},
    }


def train(seed):
    """Weights of both networks after a few steps."""
    key, prior = jax.random.key(seed), priors.paper_prior()
    theta = priors.sample(jax.random.key(9), prior, 500)
    abundances = np.tanh(np.asarray(theta) @ np.linspace(-0.2, 0.2, 48).reshape(6, 8))
    box = priors.box(priors.wide_prior())
    small = em.EmulatorConfig(hidden=(8,), batch_size=32, fit=SHORT)
    emulator, _ = em.train_emulator(key, theta, abundances, box, small, quiet=True)
    noisy = networks.StoredStars(priors.to_normal(prior, theta), abundances)
    flow = SplineFlow(embedding=(8, 1), hidden=(8,), n_bins=4)
    recipe = networks.NpeConfig(flow, 32, n_held_out=64, fit=SHORT)
    npe, _ = networks.train_npe(key, noisy, prior, recipe, quiet=True)
    networks_ = (emulator, npe.galaxy_flow, npe.star_flow)
    arrays = [x for x in jax.tree.leaves(networks_) if hasattr(x, "shape")]
    return {str(i): np.asarray(x) for i, x in enumerate(arrays)}


@pytest.fixture(scope="module")
def elsewhere():
    """Checksums of `draw` and `train` from a new process."""
    code = "import test_same_bits as t; t.tell()"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | {"PYTHONHASHSEED": "5"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.split()


def tell():
    """For the other process."""
    print(*(sha256_of_arrays(make(3)) for make in (draw, train)))


@pytest.mark.parametrize("make", [draw, train])
def test_same_seed_same_bits(make, elsewhere):
    one, two = make(3), make(3)
    for name in one:
        np.testing.assert_array_equal(one[name], two[name], err_msg=name)
    assert sha256_of_arrays(one) == elsewhere[[draw, train].index(make)]


@pytest.mark.parametrize("make", [draw, train])
def test_another_seed_other_bits(make):
    assert sha256_of_arrays(make(3)) != sha256_of_arrays(make(4))
