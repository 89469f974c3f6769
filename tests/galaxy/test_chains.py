"""Chains whose density changes from block to block of steps."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.galaxy.hierarchical.chains import BLOCK, ChainSizes, run_chains
from chemsbi_jax.types import AnyArray

APART = 4.0  # of the centres of the blocks, in widths


class Shifted(NamedTuple):
    """A standard normal around a centre."""

    centre: AnyArray
    level: AnyArray  # constant of the log density [nat]

    def value(self, at: AnyArray) -> AnyArray:
        return self.level - 0.5 * jnp.sum((at - self.centre) ** 2)


@pytest.mark.thorough
def test_each_block_of_steps_has_its_own_density(key):
    """With the energy of the block before, each first step would be divergent."""
    sizes = ChainSizes(n_chains=2, n_warmup=2 * BLOCK, n_draws=40 * BLOCK)

    def own(first_step: int) -> dict:
        block = first_step // BLOCK
        chains = np.array([0.0, 1.0], np.float32)
        return {
            "centre": APART * ((block + chains[:, None]) % 2),
            "level": -1e4 * (block + chains),
        }

    density = Shifted(np.zeros(1, np.float32), np.float32(0.0))
    start = np.zeros((2, 3), np.float32)
    at, n_divergent = run_chains(key, density, start, sizes, True, own)
    assert n_divergent == 0
    blocks = at.reshape(2, 40, BLOCK, 3)[:, :, BLOCK // 5 :].mean(axis=(2, 3))
    first, second = blocks[:, ::2].mean(axis=1), blocks[:, 1::2].mean(axis=1)
    # 20 blocks of 20 steps and 3 coordinates
    np.testing.assert_allclose(first, [0.0, APART], atol=0.2)
    np.testing.assert_allclose(second, [APART, 0.0], atol=0.2)
