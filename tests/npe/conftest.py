"""Points that tests of splines and flows share."""

import jax.numpy as jnp
import pytest


@pytest.fixture
def points():
    """Inside the interval, and a little outside of it."""
    return jnp.broadcast_to(jnp.linspace(-5.0, 5.0, 201)[:, None], (201, 100))
