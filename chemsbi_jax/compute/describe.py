"""A text that decides what program JAX traces from some arguments.

Two calls of a function of fixed source trace to the same program if their arguments
have the same text. What has no such text raises `NoDescriptionError`: nothing is taken
for equal on trust.
"""

import enum
import hashlib
import json
import sys
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import Field, fields, is_dataclass
from functools import partial, singledispatch
from types import CodeType, FunctionType, MethodType
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import default_registry

DISTRIBUTIONS: dict[str, str] = {
    "jax": "jax",
    "jaxlib": "jaxlib",
    "numpy": "numpy",
    "equinox": "equinox",
    "flax": "flax",
    "flowjax": "flowjax",
    "paramax": "paramax",
    "numpyro": "numpyro",
    "optax": "optax",
    "jaxtyping": "jaxtyping",
}
"""Package -> distribution: those whose code may be traced. Their versions fix it."""
STANDARD = ("builtins", "functools", "math", "operator", "collections", "enum")
PLAIN = (type(None), bool, int, float, complex, str, bytes)


class NoDescriptionError(TypeError):
    """Something whose equality in another process is not certain."""


def describe(tree: Any) -> str:
    """The text of a PyTree of arguments: arrays by shape, all others by content.

    Raises:
        NoDescriptionError: something in it has no text that is the same in every
            process with these packages.
    """
    return json.dumps(of_tree(tree))


def of_tree(x: Any) -> Any:
    """What `describe` writes, for JSON."""
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
    weak, sharding = getattr(x, "weak_type", False), getattr(x, "sharding", None)
    place = "" if sharding is None else _without_address(str(sharding))
    return [list(x.shape), str(x.dtype), bool(weak), place]


@singledispatch
def special(x: Any) -> Any:
    """Content of a node that is not described by its parts; None: it is.

    Register a function for a class whose parts have no order that is the same in every
    process.
    """
    return None


def content(x: Any) -> Any:
    """All that a static argument is, for JSON; arrays with their numbers.

    Raises:
        NoDescriptionError: see `describe`.
    """
    if type(x) in PLAIN:
        return [type(x).__name__, repr(x)]
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        return ["numbers", *_numbers(x)]
    if isinstance(x, enum.Enum):
        return [_name(type(x)), x.name]
    if isinstance(x, np.dtype):
        return ["dtype", str(x)]
    if type(x) in (dict, OrderedDict):
        return [_name(type(x)), [[content(k), content(v)] for k, v in x.items()]]
    if isinstance(x, tuple | list):
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
    if isinstance(x, partial):
        return ["partial", content(x.func), content(x.args), content(x.keywords)]
    if isinstance(x, jax.tree_util.PyTreeDef):
        return ["structure", of_tree(jax.tree.unflatten(x, range(x.num_leaves)))]
    if is_dataclass(x) and not isinstance(x, type):
        # further attributes decide the program, too
        values = vars(x) if hasattr(x, "__dict__") else _values(x)
        return [_name(type(x)), content(dict(values))]
    if _is_simple(type(x)):
        return [_name(type(x)), content(vars(x))]
    raise NoDescriptionError(f"{type(x).__module__}.{type(x).__qualname__}")


def _values(x: Any) -> Mapping[str, Any]:
    return {f.name: getattr(x, f.name) for f in fields(x)}


def _is_simple(kind: type) -> bool:
    """Whether its objects are nothing but their attributes: written in Python."""
    is_python = type(kind) is type and isinstance(kind.__init__, FunctionType)
    return is_python and kind.__bases__ == (object,) and "__slots__" not in vars(kind)


def _numbers(x: Any) -> list:
    if jnp.issubdtype(x.dtype, jax.dtypes.extended):
        raise NoDescriptionError("a random key as a static argument")
    array = np.ascontiguousarray(x)
    if array.dtype.hasobject:
        raise NoDescriptionError("an array of objects as a static argument")
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return [list(array.shape), str(array.dtype), digest]


def _of_function(x: FunctionType) -> list:
    """Where its code stands, and the values that it holds."""
    cells = [content(cell.cell_contents) for cell in x.__closure__ or ()]
    defaults = content(x.__defaults__), content(x.__kwdefaults__)
    return [_name(x), _of_code(x.__code__), defaults, cells]


def _of_code(code: CodeType) -> list:
    # several functions may stand on one line
    parts = [
        _of_code(c) if isinstance(c, CodeType) else repr(c) for c in code.co_consts
    ]
    names = [*code.co_names, "", *code.co_varnames, "", *code.co_freevars]
    return [code.co_firstlineno, code.co_code.hex(), names, parts]


def _is_named(x: Any) -> bool:
    """Whether it is what its module has under its name."""
    found: Any = sys.modules.get(getattr(x, "__module__", None) or "")
    name = getattr(x, "__qualname__", None) or getattr(x, "__name__", None)
    if found is None or not isinstance(name, str):
        return False
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is x


def _name(x: Any) -> str:
    module = str(x.__module__)
    if module.split(".")[0] not in (*DISTRIBUTIONS, *STANDARD, __name__.split(".")[0]):
        raise NoDescriptionError(f"{module} has no fixed version here")
    return f"{module}:{getattr(x, '__qualname__', None) or x.__name__}"


def _without_address(text: str) -> str:
    if " at 0x" in text:
        raise NoDescriptionError(text)
    return text
