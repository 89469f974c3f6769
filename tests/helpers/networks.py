"""Untrained networks, for tests of what is independent of a training."""

import jax

from chemsbi_jax.npe.flow import SplineFlow
from chemsbi_jax.npe.training import NpeConfig, new_npe

# its size only costs compilation; networks of one size share their programs
SMALL_FLOW = SplineFlow(embedding=(8, 1), hidden=(8,), n_bins=3)


def untrained(prior, **options):
    """A small posterior network whose posterior is the prior."""
    config = NpeConfig(flow=SMALL_FLOW, **options)
    return new_npe(jax.random.key(0), prior, config)
