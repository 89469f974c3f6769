"""Random rows of a star table."""

import jax
import numpy as np
from jaxtyping import Array, Int, Key


def random_rows(key: Key[Array, ""], n_stars: int, n: int) -> Int[np.ndarray, " row"]:
    """At most `n` random rows, in the order of the table."""
    if n_stars <= n:
        return np.arange(n_stars)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return np.sort(generator.choice(n_stars, n, replace=False))
