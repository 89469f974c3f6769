"""Random rows of a star table, drawn on the host: no program is compiled."""

import jax
import numpy as np
from jaxtyping import Array, Int, Key


def host_generator(key: Key[Array, ""]) -> np.random.Generator:
    """NumPy's generator with the random key as its seed."""
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def random_rows(key: Key[Array, ""], n_stars: int, n: int) -> Int[np.ndarray, " row"]:
    """At most `n` random rows, in the order of the table."""
    if n_stars <= n:
        return np.arange(n_stars)
    return np.sort(host_generator(key).choice(n_stars, n, replace=False))
