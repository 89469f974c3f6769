"""Later processes find the program of the mode in the compilation cache."""

import os
import subprocess
import sys

import pytest

# prints a hash of the program of the mode, as JAX passes it to the compiler
CODE = """
import hashlib
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from chemsbi_jax import priors
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical import mode
from chemsbi_jax.galaxy.hierarchical.marginal import make_marginal_density, make_points
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.galaxy.hierarchical.whitening import make_whitening
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes

model = Model(forward_with_slopes(load_yield_emulator()), priors.paper_prior())
layout = make_layout(h.SharedErrors(), SHARED_FACTORS)
n = len(layout.scale)
ones = np.ones((8, 9), np.float32)
stars = Star(0.0 * ones, 0.01 * ones, ones, 0.0 * ones[:, 0], 0.0 * ones)
axes = make_whitening(np.zeros(n), np.eye(n))
points = make_points(jax.random.key(0), 64)
density = make_marginal_density(stars, model, layout, points, axes)
at = jnp.zeros(n)
jit = eqx.filter_jit(mode._value_and_slope.__wrapped__)
text = jit.lower(density, at).as_text()
print(hashlib.sha256(text.encode()).hexdigest())
"""


def program(seed: str) -> str:
    """Hash of the program in a process whose sets have this order."""
    environment = os.environ | {"PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.thorough
def test_a_program_does_not_depend_on_the_order_of_sets_in_a_process():
    """numpyro orders the numbers of a distribution by the hash of their names."""
    first = program("0")
    assert first
    assert program("1") == first
    assert program("2") == first
