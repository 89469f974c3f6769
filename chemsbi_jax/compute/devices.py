"""All cores for one batch, and several processes: JAX itself runs on one core."""

import os
from collections.abc import Callable
from functools import partial, wraps
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jaxtyping import Float

from chemsbi_jax.compute import quick as quick_module
from chemsbi_jax.compute.exported import stored_jit
from chemsbi_jax.errors import ForkedProcessError, InputError

try:
    from jax._src.xla_bridge import backends_are_initialized
except ImportError:  # JAX keeps it private; without it no fork is detected

    def backends_are_initialized() -> bool:
        """Whether JAX has started."""
        return False


AXIS = "batch"
# ids of forked processes whose parent had started JAX
_FORKED_AFTER_START: set[int] = set()


def _mark_forked_child() -> None:
    if backends_are_initialized():  # the parent's threads do not exist in the child
        _FORKED_AFTER_START.add(os.getpid())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mark_forked_child)


def refuse_forked_process() -> None:
    """Raise in a process that was forked after JAX had started.

    JAX computes in threads, which a fork does not copy, so every operation would wait
    for ever.

    Raises:
        ForkedProcessError: this is such a process.
    """
    if os.getpid() in _FORKED_AFTER_START:
        raise ForkedProcessError(
            "This process was forked after JAX had started, and JAX would hang in it. "
            'Use multiprocessing.get_context("spawn"), or fork before the first use of '
            "JAX."
        )


def use_all_cores() -> None:
    """Make every core of the CPU a JAX device of its own.

    For scripts, before the first JAX operation; later calls change nothing. GPUs are
    devices anyway.
    """
    try:
        jax.config.update("jax_num_cpu_devices", n_cores())
    except RuntimeError:  # JAX has started, with the devices that it has
        pass


def join_processes(coordinator: str, n_processes: int, process_id: int) -> None:
    """Make this process one of several, by JAX's own runtime; before its first use.

    Args:
        coordinator: HOST:PORT of process 0, the same for all of them.
        n_processes: how many there are; all have to call this.
        process_id: which of them this is, from 0.

    Raises:
        InputError: there is no such process, or the address is no HOST:PORT.
    """
    if not 0 <= process_id < n_processes:
        raise InputError(
            f"Expected a process id from 0 to {n_processes - 1}; got {process_id}."
        )
    host, _, port = coordinator.rpartition(":")
    if not host or not port.isdecimal():
        raise InputError(
            f"Expected a coordinator as HOST:PORT; got {coordinator!r}. Give the "
            "address of process 0, such as localhost:12345."
        )
    jax.distributed.initialize(coordinator, n_processes, process_id)


def leave_processes() -> None:
    """Wait for the other processes and go on alone; nothing if there are no others."""
    if jax.process_count() > 1:
        jax.distributed.shutdown()


def of_all_processes(row: Float[np.ndarray, " n"]) -> Float[np.ndarray, "process n"]:
    """The float64 row that each process has, in the order of the processes."""
    if jax.process_count() == 1:
        return row[None]
    # as bytes: JAX would round float64 to float32
    rows = multihost_utils.process_allgather(np.asarray(row, np.float64).view(np.uint8))
    return np.ascontiguousarray(rows).view(np.float64)


def spread(function: Callable[..., Any], *, quick: bool = False) -> Callable[..., Any]:
    """Jit a batched function and split its batch over all local devices.

    Args:
        function: its first argument is split along the leading axis (of every leaf),
            the other ones go to each device whole (what is no array is a static
            argument of the jit). All results must have that leading axis too, and a
            row must depend on the same row of the input only.
        quick: compile by `quick_jit`, for a few calls only.

    Returns:
        A function of the same signature, with its results on the first device. Batches
        are padded to a multiple of the number of devices with copies of the last row.
        With a single device it is `stored_jit(function)`, or `quick_jit(function)`.
    """
    options = quick_module.accepted_options if quick else dict
    devices = jax.local_devices()
    if len(devices) == 1:
        return stored_jit(function, options=options)
    mesh = Mesh(np.array(devices), (AXIS,))
    split, whole = NamedSharding(mesh, P(AXIS)), NamedSharding(mesh, P())

    @partial(stored_jit, about=("spread", function), options=options)
    @partial(_named_as, function)
    def on_all(batch: Any, rest: tuple) -> Any:
        arrays, static = eqx.partition(rest, eqx.is_array)
        # a scan's carry starts as a constant: no part of the batch, to that check
        run = jax.shard_map(
            lambda batch, arrays: function(batch, *eqx.combine(arrays, static)),
            mesh=mesh,
            in_specs=(P(AXIS), P()),
            out_specs=P(AXIS),
            check_vma=False,
        )
        return run(batch, arrays)

    @wraps(function)
    def run(batch: Any, *rest: Any) -> Any:
        n = len(jax.tree.leaves(batch)[0])
        n_padded = max(n + -n % len(devices), len(devices))
        if devices[0].platform == "cpu":  # numpy cuts the batch without compiling
            batch = jax.tree.map(_to_host, batch)
        padded = jax.tree.map(lambda x: _pad(x, n_padded), batch)
        # numpy arrays are no static arguments
        rest = jax.tree.map(_from_numpy, rest)
        arrays, static = eqx.partition(rest, eqx.is_array)
        rest = eqx.combine(jax.device_put(arrays, whole), static)
        results = on_all(jax.device_put(padded, split), rest)
        on_first = jax.device_put(results, devices[0])
        if n == n_padded:  # a slice would compile a program of its own
            return on_first
        return jax.tree.map(lambda x: x[:n], on_first)

    return run


def _named_as(function: Callable, other: Callable) -> Callable:
    """Profiles and logs of compilations show the name of what is run."""
    other.__name__ = other.__qualname__ = getattr(function, "__name__", "on_all")
    return other


def _to_host(x: Any) -> Any:
    is_key = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return x if is_key or isinstance(x, Tracer) else np.asarray(x)


def _from_numpy(x: Any) -> Any:
    return jnp.asarray(x) if isinstance(x, np.ndarray) else x


def _pad(x: Any, n: int) -> Any:
    """Repeat the last row until there are `n`; zeros if there is none."""
    if len(x) == n:
        return x
    x = jnp.asarray(x)
    if len(x) == 0:
        return jnp.zeros((n, *x.shape[1:]), x.dtype)
    return jnp.concatenate([x, jnp.repeat(x[-1:], n - len(x), axis=0)])


def n_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
