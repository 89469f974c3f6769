"""Linear algebra of small matrices (4 x 4, 9 x 9), written out.

A library call for each star and each psi takes longer than its work.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from chemsbi_jax.types import AnyArray


def cholesky(matrix: Float[AnyArray, "n n"]) -> Float[AnyArray, "n n"]:
    """Lower Cholesky factor of a small positive matrix."""
    n = matrix.shape[0]
    rows: list[list[Array]] = []
    for i in range(n):
        row: list[Array] = []
        for j in range(i + 1):
            other = row if i == j else rows[j]
            rest = matrix[i, j] - sum(row[k] * other[k] for k in range(j))
            row.append(jnp.sqrt(rest) if i == j else rest / rows[j][j])
        rows.append(row)
    zero = jnp.zeros_like(matrix[0, 0])
    return jnp.stack([jnp.stack(r + [zero] * (n - len(r))) for r in rows])


def solve_lower(
    root: Float[AnyArray, "n n"], right: Float[AnyArray, "*b n"]
) -> Float[AnyArray, "*b n"]:
    """Solution x of root x = right, for vectors along the last axis."""
    x: list[AnyArray] = []
    for i in range(root.shape[0]):
        rest = right[..., i] - sum(root[i, k] * x[k] for k in range(i))
        x.append(rest / root[i, i])
    return jnp.stack(x, axis=-1)


def solve_upper(
    root: Float[AnyArray, "n n"], right: Float[AnyArray, "*b n"]
) -> Float[AnyArray, "*b n"]:
    """Solution x of root^T x = right, for vectors along the last axis."""
    n = root.shape[0]
    x: dict[int, AnyArray] = {}
    for i in reversed(range(n)):
        rest = right[..., i] - sum(root[k, i] * x[k] for k in range(i + 1, n))
        x[i] = rest / root[i, i]
    return jnp.stack([x[i] for i in range(n)], axis=-1)
