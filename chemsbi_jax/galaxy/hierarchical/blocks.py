"""Functions of one star over all stars: in blocks of one size, on all devices."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from chemsbi_jax.compute.devices import spread

BLOCK = 64  # stars a call


def in_blocks(
    function: Callable[..., Any], stars: Any, *shared: Any, size: int = BLOCK
) -> Any:
    """Apply a batched function to stars; nothing is compiled for their number.

    Args:
        function: a module-level function of a block of stars (leading axis of every
            leaf) and of what they share.
        stars: arrays of all stars.
        shared: goes to each device whole.
        size: stars of a block; the last one is filled up with repeated stars.

    Returns:
        Results of all stars on the host.
    """
    n_stars = len(jax.tree.leaves(stars)[0])
    size = min(size, 1 << (n_stars - 1).bit_length())
    parts = []
    for i in range(0, n_stars, size):
        rows = np.resize(np.arange(i, min(i + size, n_stars)), size)
        block = jax.tree.map(lambda x, rows=rows: x[rows], stars)
        part = _on_all_devices(function)(block, *shared)
        parts.append(jax.tree.map(np.asarray, part))
    return jax.tree.map(lambda *x: np.concatenate(x)[:n_stars], *parts)


# at the first call, as JAX starts with it
_on_all_devices = cache(partial(spread, quick=True))


def padded_length(n_stars: int) -> int:
    """8, 16, 32, or the next 2^n or 3/2 of it: few sizes to compile for."""
    power = max(8, 1 << (n_stars - 1).bit_length())
    return power * 3 // 4 if n_stars <= power * 3 // 4 and power > 32 else power
