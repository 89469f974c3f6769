"""Linear algebra of small matrices without batched calls of LAPACK.

Such a call waits for other threads of XLA's pool (jaxlib 0.10). Two of them at once, in
one program or two, wait for each other for ever on a machine with two cores.
"""

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import sequential_vmap
from jaxtyping import Array, Float

from chemsbi_jax.types import AnyArray


def cholesky(matrix: Float[AnyArray, "n n"]) -> Float[AnyArray, "n n"]:
    """Lower Cholesky factor of a matrix of few rows, written out."""
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


def solve_positive(
    matrix: Float[AnyArray, "n n"], right: Float[AnyArray, "*b n"]
) -> Float[AnyArray, "*b n"]:
    """Solution x of matrix x = right for a positive matrix of few rows, written out."""
    root = cholesky(matrix)
    return solve_upper(root, solve_lower(root, right))


def eliminate(
    matrix: Float[AnyArray, "n n"], right: Float[AnyArray, " n"]
) -> Float[Array, " n"]:
    """Solution x of matrix x = right for a positive matrix of up to some tens of rows.

    Gauss-Jordan elimination in a loop over the rows, which compiles faster than
    `solve_positive`.
    A positive matrix needs no pivoting (Golub & Van Loan 2013, section 4.2).
    """
    both = jnp.concatenate([matrix, right[:, None]], axis=1)

    def step(i: Array, both: Array) -> Array:
        row = both[i] / both[i, i]
        return (both - both[:, i, None] * row).at[i].set(row)

    return lax.fori_loop(0, len(matrix), step, both)[:, -1]


@sequential_vmap
def in_units(
    covariance: Float[AnyArray, "n n"], rows: Float[AnyArray, "row n"]
) -> tuple[Float[Array, "n n"], Float[Array, "row n"]]:
    """Lower Cholesky factor, and the rows in its units, by LAPACK.

    `vmap` makes one call after another.
    """
    root = jnp.linalg.cholesky(covariance)
    return root, jax.scipy.linalg.solve_triangular(root, rows.T, lower=True).T
