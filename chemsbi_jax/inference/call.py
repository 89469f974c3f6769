"""The call of `infer` that repeats a result, as a line of Python."""

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from inspect import Parameter, signature
from pathlib import PurePath
from typing import Any

# they do not change the result
WITHOUT = ("path", "checkpoint", "quiet", "watch", "meanwhile")


def python_call(function: Callable, given: Mapping[str, Any]) -> str:
    """The call of `function` with these arguments, without those at their default.

    Args:
        function: such as `infer`.
        given: parameter -> value, such as `locals()` at its start.
    """
    words = []
    for name, parameter in signature(function).parameters.items():
        value = given[name]
        if name in WITHOUT or value is parameter.default:
            continue
        text = _spelled(value, name)
        is_first = parameter.kind is not Parameter.KEYWORD_ONLY
        if is_first or text != _spelled(parameter.default, name):
            words.append(text if is_first else f"{name}={text}")
    return f"chemsbi_jax.{function.__name__}({', '.join(words)})"


def _spelled(value: object, name: str) -> str:
    """A value in Python; the parameter's name for what has no short form."""
    if isinstance(value, PurePath):
        return repr(str(value))
    if is_dataclass(value) and not isinstance(value, type):
        each = [(f.name, getattr(value, f.name), f.default) for f in fields(value)]
        own = [f"{key}={_spelled(x, key)}" for key, x, usual in each if x != usual]
        home = type(value).__module__.removesuffix(".settings")
        return f"{home}.{type(value).__name__}({', '.join(own)})"
    is_plain = value is None or isinstance(value, str | bool | int | float | dict)
    return repr(value) if is_plain or type(value) in (tuple, list) else name
