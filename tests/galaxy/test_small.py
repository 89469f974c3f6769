"""Linear algebra of small matrices: right, and without batched calls of LAPACK.

Two batched calls at once wait for each other for ever on two cores (jaxlib 0.10).
"""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.galaxy import small
from chemsbi_jax.galaxy.hierarchical.mock import N_READINGS
from chemsbi_jax.galaxy.hierarchical.moments import find_moments

BATCHED = re.compile(r"custom_call @lapack_\w+\(.*tensor<\d+x\d+x\d+xf32>")


def problem(n: int):
    rng = np.random.default_rng(n)
    half = rng.normal(size=(5, n, 3 * n))
    matrix = half @ np.swapaxes(half, 1, 2)
    return matrix.astype(np.float32), rng.normal(size=(5, n)).astype(np.float32)


@pytest.mark.parametrize(
    ("solve", "n"),
    [
        (small.solve_positive, 4),
        (small.eliminate, 4),
        (small.eliminate, 21),
    ],
)
def test_every_matrix_of_a_batch_is_solved(solve, n):
    matrix, right = problem(n)
    found = jax.jit(jax.vmap(solve))(matrix, right)
    expected = np.linalg.solve(matrix.astype(float), right[..., None])[..., 0]
    # float32 and condition numbers below 100
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)


def test_rows_in_units_of_their_factor():
    matrix, _ = problem(6)
    rows = np.random.default_rng(1).normal(size=(5, 40, 6)).astype(np.float32)
    root, units = jax.jit(jax.vmap(small.in_units))(matrix, rows)
    np.testing.assert_allclose(root @ jnp.swapaxes(root, 1, 2), matrix, rtol=1e-4)
    np.testing.assert_allclose(units @ jnp.swapaxes(root, 1, 2), rows, atol=1e-4)


def test_the_pattern_finds_batched_calls():
    matrix, right = problem(21)

    def solve(matrix, right):
        factor = jax.scipy.linalg.cho_factor(matrix)
        return jax.scipy.linalg.cho_solve(factor, right)

    assert BATCHED.search(text_of(solve, matrix, right))


def test_no_batched_call_for_a_batch_of_stars_or_galaxies():
    matrix, right = problem(21)
    assert not BATCHED.search(text_of(small.eliminate, matrix, right))
    seen = np.ones((5, 30, N_READINGS), np.float32)
    assert not BATCHED.search(text_of(find_moments, seen, seen))


def text_of(function, *arguments) -> str:
    return jax.jit(jax.vmap(function)).lower(*arguments).as_text()
