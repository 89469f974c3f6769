"""A decorator of public functions: it refuses a forked process, and runs in float32."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp

from chemsbi_jax.compute.devices import refuse_forked_process


def in_float32(function: Callable[..., Any]) -> Callable[..., Any]:
    """Run a public function in float32, for either value of `jax_enable_x64`.

    Networks and emulators have float32 weights, and where float64 matters the sums are
    numpy's. So float64 JAX arrays among the arguments (in PyTrees too) are rounded, and
    JAX makes float32 arrays inside. The results are the same to the bit with and
    without `jax_enable_x64`.

    Raises:
        ForkedProcessError: the process was forked after JAX had started.
    """

    @wraps(function)
    def run(*args: Any, **options: Any) -> Any:
        refuse_forked_process()
        if jnp.result_type(float) != jnp.float64:
            return function(*args, **options)
        args, options = jax.tree.map(_to_float32, (args, options))
        with jax.enable_x64(False):
            return function(*args, **options)

    return run


def _to_float32(leaf: Any) -> Any:
    if isinstance(leaf, jax.Array) and leaf.dtype == jnp.float64:
        return leaf.astype(jnp.float32)
    return leaf
