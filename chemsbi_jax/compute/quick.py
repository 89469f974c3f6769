"""Fast compilation of programs that are called a few times only."""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import jax
from jaxtyping import Array, Key

from chemsbi_jax.compute.exported import stored_jit

OPTIONS: Mapping[str, Any] = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
}
"""Options of XLA's compiler on the CPU.

The programs of `infer` compile in half of the time. Most of them then run as fast, the
others up to two thirds slower.
"""


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`stored_jit` with `OPTIONS`, for a step that compiles longer than it runs.

    Options that this version of JAX does not have are left out, and all of them on
    other devices than the CPU. JAX takes options for a whole program only: the jit has
    none within another transformation.

    Args:
        function: its arrays (NumPy's, too) are traced and the other arguments static: a
            size must be a Python int.
    """
    return stored_jit(function, options=accepted_options)


@cache
def accepted_options() -> dict[str, Any]:
    """Those of `OPTIONS` that the compiler of this machine takes."""
    if jax.default_backend() != "cpu":
        return {}
    if _are_options(OPTIONS):  # one program in place of one for each
        return dict(OPTIONS)
    return {
        name: value for name, value in OPTIONS.items() if _are_options({name: value})
    }


def _are_options(options: Mapping[str, Any]) -> bool:
    nothing = jax.jit(lambda: 0, compiler_options=dict(options))
    try:
        nothing.lower().compile()
    except jax.errors.JaxRuntimeError:  # "No such compile option"
        return False
    return True


@quick_jit
def split_keys(key: Key[Array, ""], n: int) -> tuple[Key[Array, ""], ...]:
    """`jax.random.split` as a tuple, by one program.

    Outside of a jit, JAX's own result needs a second program that takes it apart.
    """
    return tuple(jax.random.split(key, n))
