"""Fast compilation of programs that are called a few times only."""

from collections.abc import Callable, Mapping
from functools import cache, wraps
from typing import Any

import equinox as eqx
import jax
from jax.core import Tracer

OPTIONS: Mapping[str, Any] = {
    "xla_backend_optimization_level": 1,
    "xla_cpu_use_fusion_emitters": False,
}
"""Options of XLA's compiler on the CPU.

The programs of `infer` compile in half of the time, and run up to a third slower.
"""


def quick_jit(function: Callable[..., Any]) -> Callable[..., Any]:
    """`eqx.filter_jit` with `OPTIONS`, for a step that compiles longer than it runs.

    Options that this version of JAX does not have are left out, and all of them on
    other devices than the CPU. JAX takes options for a whole program only: within
    another transformation (a call with tracers) the jit has none.
    """
    plain = eqx.filter_jit(function)

    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        inside = any(isinstance(x, Tracer) for x in jax.tree.leaves((args, kwargs)))
        return (plain if inside else _with_options(function))(*args, **kwargs)

    return run


@cache
def _with_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """At the first call, as JAX starts with it."""
    jit: Any = eqx.filter_jit  # its type leaves out the arguments that go to `jax.jit`
    return jit(function, compiler_options=accepted_options())


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
