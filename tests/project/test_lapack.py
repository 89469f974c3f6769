"""Where compiled programs of many stars call LAPACK."""

import re
from pathlib import Path

import pytest

GALAXY = Path(__file__).parents[2] / "chemsbi_jax" / "galaxy"
CALL = re.compile(r"\b(?:jnp|jax\.numpy|jax\.scipy)\.linalg\.(?!norm)")


@pytest.mark.parametrize("folder", ["exact", "hierarchical"])
def test_no_batched_calls_for_matrices_of_many_rows(folder):
    """Two of them can wait for each other for ever on two cores: galaxy/small.py."""
    paths = list((GALAXY / folder).glob("*.py"))
    found = [p.name for p in paths if CALL.search(p.read_text(encoding="utf-8"))]
    assert len(paths) > 5
    assert found == []


def test_the_pattern_finds_a_call():
    assert CALL.search("root = jnp.linalg.cholesky(matrix)")
    assert not CALL.search("np.linalg.cholesky(matrix)")
