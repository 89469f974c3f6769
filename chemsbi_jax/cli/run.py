"""What every command shares: reading flags, exit codes, records."""

import atexit
import gc
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import tyro

from chemsbi_jax.errors import InputError

INTERRUPTED = 130  # exit code of shells after Ctrl-C
UNUSABLE = 2  # exit code: the input can't be used; the message has the reason
MAX_SEED = 2**32 - 1  # JAX cuts off what is larger
MAX_COUNT = 10**9
OBJECTS = 10**6  # new ones, after which garbage is collected
LARGEST = 1e30  # float32 ends at 3.4e38


def run_script(
    main: Callable[[Any], Any],
    config: type,
    exit_code: Callable[[Any, Any], int] = lambda result, config: 0,
) -> int:
    """Read the flags, run `main`, and print bad input as a sentence.

    Every error of this package about a user's input is an InputError or an OSError (of
    a file) with a full sentence; anything else is a fault of the program and shows its
    traceback.
    """
    flags = tyro.cli(config, description=sys.modules["__main__"].__doc__)
    return run(main, flags, exit_code)


def run(
    main: Callable[[Any], Any],
    flags: Any,
    exit_code: Callable[[Any, Any], int] = lambda result, config: 0,
) -> int:
    """Run `main` with flags that are read; returns the exit code."""
    from chemsbi_jax.cli.cache import use_compilation_cache  # JAX, after the flags
    from chemsbi_jax.compute.devices import use_all_cores

    # frozen objects are left out of Python's last collection, which takes a second
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)
    use_all_cores()
    if getattr(flags, "compilation_cache", True):
        use_compilation_cache()
    try:
        with seldom_collected(), ends_at_interrupt():
            result = main(flags)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return UNUSABLE
    return exit_code(result, flags)


@contextmanager
def ends_at_interrupt() -> Iterator[None]:
    """Inside, Ctrl-C ends the process with one sentence.

    Python would wait for the threads first, for several seconds.
    """
    try:
        yield
    except KeyboardInterrupt:
        print(
            "Interrupted: files of this run may be missing. The same command begins "
            "again, or goes on where a long run has saved its state.",
            file=sys.stderr,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(INTERRUPTED)


@contextmanager
def seldom_collected() -> Iterator[None]:
    """Inside, garbage is collected after a million new objects, not after 700.

    Imports, JAX's traces and the figures make objects that stay, and each collection
    runs through many of them: a tenth of the processor's time of a short run.
    """
    before = gc.get_threshold()
    gc.set_threshold(OBJECTS)
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:  # frozen objects of the caller stay frozen
            # this moves all objects to the oldest generation, so that the next
            # collection does not run through them, which takes half a second
            gc.freeze()
            gc.unfreeze()
        gc.set_threshold(*before)


def check_flags(config: Any, **lowest: float) -> None:
    """Refuse numbers that no run can use; None, the default of a recipe, passes.

    Args:
        config: flags; `seed` must be one of JAX's, and all numbers must be finite.
        lowest: flag -> smallest value of its numbers.

    Raises:
        InputError: names the flag, the expected range and the value.
    """
    for name, value in asdict(config).items():
        low, high = (0, MAX_SEED) if name == "seed" else (lowest.get(name), MAX_COUNT)
        each = value if isinstance(value, tuple) else (value,)
        numbers = [x for x in each if type(x) in (int, float)]
        flag = f"--{name.replace('_', '-')}"
        known = value is None or numbers
        if low is not None and not (known and all(low <= x <= high for x in numbers)):
            raise InputError(f"Expected {flag} from {low} to {high}; got {value}.")
        if not all(abs(x) < LARGEST for x in numbers):
            raise InputError(f"Expected {flag} to be finite; got {value}.")


def command_line(program: str, config: Any, positional: Sequence[str] = ()) -> str:
    """The command that gives these flags, for a POSIX shell.

    Args:
        program: command without flags, as "python experiments/infer.py".
        config: dataclass of flags; those at their default are left out.
        positional: names of the fields that are given without a flag.
    """
    first, flags = [], []
    for field in fields(config):
        value, flag = getattr(config, field.name), field.name.replace("_", "-")
        if field.name in positional:
            first.append(str(value))
        elif value == field.default or value is None:
            continue
        elif isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, tuple):
            flags += [f"--{flag}", *map(str, value)]
        else:  # a value that begins with a minus is no flag of its own
            text = str(value)
            flags += [f"--{flag}={text}"] if text[:1] == "-" else [f"--{flag}", text]
    return f"{program} {shlex.join([*first, *flags])}"


def training_flags(config: Any) -> dict:
    """Flags that decide a training, for `checkpoints.require_same_settings`."""
    others = ("out", "quiet", "n_test", "compilation_cache")
    return {k: v for k, v in asdict(config).items() if k not in others}


def write_record(folder: Path, name: str, config: Any, metrics: Mapping) -> None:
    """The flags and the numbers of a run, as `name`.config.json and .metrics.json."""
    from chemsbi_jax.results import write_summary

    write_summary(folder / f"{name}.config.json", asdict(config))
    write_summary(folder / f"{name}.metrics.json", metrics)
