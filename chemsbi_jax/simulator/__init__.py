"""One-zone chemical evolution in JAX: physics only, no network."""

from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float

from chemsbi_jax.constants import PARAMETERS
from chemsbi_jax.simulator.onezone import Track, evolve
from chemsbi_jax.simulator.physics import CLEAN as CLEAN
from chemsbi_jax.simulator.physics import LEGACY as LEGACY
from chemsbi_jax.simulator.physics import Physics as Physics
from chemsbi_jax.simulator.tables import load_yields as load_yields
from chemsbi_jax.simulator.yields import Yields
