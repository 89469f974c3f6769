"""A text that decides which program JAX traces from some arguments.

Two calls of a function trace to the same program if their arguments have the same text,
also in two processes with the same packages. `NoDescriptionError` is raised for
arguments of which this is not certain.
"""

import enum
import hashlib
import json
import sys
from collections import OrderedDict
from dataclasses import Field, fields
from functools import partial, singledispatch
from types import CodeType, FunctionType, MethodType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import default_registry

TRACED = (
    "jax",
    "jaxlib",
    "numpy",
    "equinox",
    "flax",
    "flowjax",
    "paramax",
    "numpyro",
    "optax",
    "jaxtyping",
)
"""Packages whose code may be traced: their versions belong to the fingerprint."""
STANDARD = ("builtins", "functools", "math", "operator", "collections", "enum")
PLAIN = (type(None), bool, int, float, complex, str, bytes)


class NoDescriptionError(TypeError):
    """The program of an argument may differ, although all that can be read is equal."""


class _Empty:
    """The size of its objects is that of objects with a dictionary and nothing else."""


def describe(tree: Any) -> str:
    """The text of a PyTree of arguments: arrays by shape, all others by content.

    Raises:
        NoDescriptionError: something in it has no text that is the same in every
            process with these packages.
    """
    return json.dumps(of_tree(tree))


def of_tree(x: Any) -> Any:
    """What `describe` writes, for JSON."""
    if x is None:
        return content(x)
    if eqx.is_array(x):
        return ["array", *_of_array(x)]
    parts = special(x)
    if parts is not None:
        return [_name(type(x)), parts]
    if isinstance(x, eqx.Module):
        return [_name(type(x)), [_of_field(x, f) for f in fields(x)]]
    node = default_registry.flatten_one_level(x)
    if node is None:
        return content(x)
    children, about = node
    return [_name(type(x)), content(about), [of_tree(child) for child in children]]


def _of_field(module: eqx.Module, field: Field) -> Any:
    if not hasattr(module, field.name):
        return [field.name]
    value = getattr(module, field.name)
    is_static = field.metadata.get("static", False)
    return [field.name, content(value) if is_static else of_tree(value)]


def _of_array(x: Any) -> list:
    if isinstance(x, np.ndarray) and type(x) is not np.ndarray:
        raise NoDescriptionError(f"an array of {type(x)}")
    return [list(x.shape), str(x.dtype), *map(_without_address, map(str, place_of(x)))]


def place_of(x: Any) -> tuple:
    """What decides the program of an array besides its shape and dtype."""
    names = ("weak_type", "sharding", "committed")  # NumPy's arrays have none of them
    return tuple(getattr(x, name, None) for name in names)


@singledispatch
def special(x: Any) -> Any:
    """The description of a class that registers one, or None.

    A class needs one if JAX flattens its objects in an order that differs from process
    to process.
    """
    return None


def content(x: Any) -> Any:
    """Everything that a static argument contains, for JSON; the numbers of arrays, too.

    Raises:
        NoDescriptionError: see `describe`.
    """
    if type(x) in PLAIN:
        return [type(x).__name__, _of_plain(x)]
    if type(x) is np.ndarray or isinstance(x, np.generic | jax.Array):
        return ["numbers", *_numbers(x)]
    if isinstance(x, enum.Enum):
        return [_name(type(x)), x.name]
    if isinstance(x, np.dtype):
        return ["dtype", str(x)]
    if type(x) in (dict, OrderedDict):
        return [_name(type(x)), [[content(k), content(v)] for k, v in x.items()]]
    if isinstance(x, tuple | list) and not _has_slots(type(x)):
        about = content(vars(x)) if hasattr(x, "__dict__") else None
        return [_name(type(x)), [content(part) for part in x], about]
    if _is_named(x):
        return ["named", _name(x)]
    return _of_object(x)


def _of_object(x: Any) -> Any:
    if isinstance(x, FunctionType):
        return ["function", *_of_function(x)]
    if isinstance(x, MethodType):
        return ["method", content(x.__func__), content(x.__self__)]
    if type(x) is partial:
        return ["partial", content(x.func), content(x.args), content(x.keywords)]
    if isinstance(x, jax.tree_util.PyTreeDef):
        return ["structure", of_tree(jax.tree.unflatten(x, range(x.num_leaves)))]
    is_all = type(x).__basicsize__ == _Empty.__basicsize__ and hasattr(x, "__dict__")
    if is_all and isinstance(type(x).__init__, FunctionType):
        return [_name(type(x)), content(dict(vars(x)))]
    raise NoDescriptionError(f"{type(x).__module__}.{type(x).__qualname__}")


def _of_plain(x: Any) -> str:
    if type(x) in (float, complex) and x == 0 and repr(x) != repr(type(x)()):
        # a jit within the function takes it for +0.0, if it had that before
        raise NoDescriptionError("-0.0 as a static argument")
    return repr(x)


def _has_slots(kind: type) -> bool:
    return any(vars(base).get("__slots__") for base in kind.__mro__)


def _numbers(x: Any) -> list:
    if jnp.issubdtype(x.dtype, jax.dtypes.extended):
        raise NoDescriptionError("a random key as a static argument")
    array = np.asarray(x)
    if array.dtype.hasobject:
        raise NoDescriptionError("an array of objects as a static argument")
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    kind = "jax" if isinstance(x, jax.Array) else _name(type(x))
    is_weak = bool(getattr(x, "weak_type", False))
    return [kind, list(x.shape), str(x.dtype), is_weak, digest]


def _of_function(x: FunctionType) -> list:
    """Where its code stands, and the values that it holds."""
    cells = [content(cell.cell_contents) for cell in x.__closure__ or ()]
    defaults = content(x.__defaults__), content(x.__kwdefaults__)
    # not its own `__module__`, which functools.wraps copies
    place = _checked(x.__globals__["__name__"])
    return [place, x.__qualname__, _of_code(x.__code__), defaults, cells]


def _of_code(code: CodeType) -> list:
    # several functions may stand on one line
    parts = [_of_constant(x) for x in code.co_consts]
    names = [*code.co_names, "", *code.co_varnames, "", *code.co_freevars]
    return [code.co_firstlineno, code.co_code.hex(), names, parts]


def _of_constant(x: Any) -> Any:
    if isinstance(x, CodeType):
        return _of_code(x)
    # sets have another order in each process
    return sorted(map(repr, x)) if isinstance(x, frozenset) else repr(x)


def _is_named(x: Any) -> bool:
    """Whether `x` is found in its module by its name."""
    found: Any = sys.modules.get(getattr(x, "__module__", None) or "")
    name = getattr(x, "__qualname__", None) or getattr(x, "__name__", None)
    if found is None or not isinstance(name, str):
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is x


def _name(x: Any) -> str:
    if not _is_named(x):
        raise NoDescriptionError(f"{x} is not found by its name")
    return f"{_checked(x.__module__)}:{getattr(x, '__qualname__', None) or x.__name__}"


def _checked(module: str) -> str:
    if module.split(".")[0] not in (*TRACED, *STANDARD, __name__.split(".")[0]):
        raise NoDescriptionError(f"the version of {module} is not known here")
    return module


def _without_address(text: str) -> str:
    if " at 0x" in text:
        raise NoDescriptionError(text)
    return text
