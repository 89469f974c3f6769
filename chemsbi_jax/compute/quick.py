"""Fast compilation of programs that are called a few times only."""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any

import equinox as eqx
import jax
from jax.core import Tracer

try:
    from jax._src.core import trace_state_clean
except ImportError:  # JAX keeps it private; then the arguments tell it

    def trace_state_clean() -> bool:
        """Whether no transformation is going on."""
        return True


OPTIONS: Mapping[str, Any] = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
}
"""Options of XLA's compiler on the CPU.

The programs of `infer` compile in half of the time. Most of them then run as fast, the
others up to two thirds slower.
"""


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`eqx.filter_jit` with `OPTIONS`, for a step that compiles longer than it runs.

    Options that this version of JAX does not have are left out, and all of them on
    other devices than the CPU. JAX takes options for a whole program only: the jit has
    none within another transformation.

    Args:
        function: its arrays (NumPy's, too) are traced and the other arguments static: a
            size must be a Python int.
    """
    plain = eqx.filter_jit(function)

    @cache
    def quick() -> Callable[..., Any]:  # at the first call, as JAX starts with it
        jit: Any = eqx.filter_jit  # its type leaves out what goes to `jax.jit`
        return jit(function, compiler_options=accepted_options())

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        is_inside = not trace_state_clean() or _has_tracer((args, kwargs))
        return (plain if is_inside else quick())(*args, **kwargs)

    return run


def _has_tracer(arguments: Any) -> bool:
    return any(isinstance(x, Tracer) for x in jax.tree.leaves(arguments))


@cache
def accepted_options() -> dict[str, Any]:
    """Those of `OPTIONS` that the compiler of this machine takes."""
    if jax.default_backend() != "cpu":
        return {}
    return {name: value for name, value in OPTIONS.items() if _is_option(name, value)}


def _is_option(name: str, value: Any) -> bool:
    nothing = jax.jit(lambda: 0, compiler_options={name: value})
    try:
        nothing.lower().compile()
    except jax.errors.JaxRuntimeError:  # "No such compile option"
        return False
    return True
