"""Conversions in --columns, as `fe_h=A(Fe)-7.50`: parsed here, never evaluated as code.

sum     = product, { ("+" | "-"), product }
product = factor, { ("*" | "/"), factor }
factor  = column | number | "10**", factor | "-", factor
        | ("sqrt" | "log10" | "cosmic_time"), "(", sum, ")" | "(", sum, ")"
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float

from chemsbi_jax.errors import CatalogError

Numbers = Float[np.ndarray, " star"]
Columns = Mapping[str, Numbers]
NumbersOrOne = Numbers | np.floating | np.ndarray | float  # one: of constants alone
Evaluate = Callable[[Columns], NumbersOrOne]

_NUMBER = re.compile(r"\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?")
LONGEST = 200  # characters of a conversion
GRAMMAR = (
    "a column, numbers, + - * /, brackets, 10**column, sqrt(column), log10(column) and "
    "cosmic_time(column) [scale factor to Gyr]"
)


class Expression(NamedTuple):
    """A conversion of columns to one of our quantities."""

    text: str
    columns: tuple[str, ...]  # of the table, each once
    evaluate: Evaluate  # column -> numbers, to numbers
    numbers: tuple[float, ...] = ()  # of the text

    def error(
        self, values: Mapping[str, Numbers], errors: Mapping[str, Numbers]
    ) -> Numbers:
        """1 sigma of the result: half the change over +-1 sigma of each column.

        The columns' errors count as independent.
        """
        square = np.zeros(len(next(iter(values.values()))))
        for name in self.columns:
            above, below = dict(values), dict(values)
            above[name] = values[name] + errors[name]
            below[name] = values[name] - errors[name]
            square += (0.5 * (self.evaluate(above) - self.evaluate(below))) ** 2
        return np.sqrt(square)


def parse_expression(text: str, names: Mapping[str, str]) -> Expression:
    """A conversion of a table's columns.

    Args:
        text: as the user wrote it; a column's name counts before operators, so that
            "[Fe/H]" is a column.
        names: lower-case name -> name in the table.

    Raises:
        CatalogError: the text is no conversion, or has a column that is not there.

    >>> iron = parse_expression("A(Fe)-7.5", {"a(fe)": "A(Fe)"})
    >>> iron.evaluate({"A(Fe)": np.array([7.0, 7.5])}).tolist()
    [-0.5, 0.0]
    """
    if len(text) > LONGEST:
        raise CatalogError(
            f"--columns: {text[:20]!r}... has over {LONGEST} characters."
        )
    parser = _Parser(text, names)
    evaluate = parser.sum()
    if parser.rest().strip():
        parser.fail()
    if not parser.used:
        raise CatalogError(f"Expected a column of the table in {text!r} of --columns.")
    columns, numbers = dict.fromkeys(parser.used), tuple(parser.numbers)
    return Expression(text, tuple(columns), evaluate, numbers)


class _Parser:
    """Reads an expression from left to right."""

    def __init__(self, text: str, names: Mapping[str, str]) -> None:
        self.text, self.at = text, 0
        self.names = dict(sorted(names.items(), key=lambda pair: -len(pair[0])))
        self.used: list[str] = []
        self.numbers: list[float] = []

    def rest(self) -> str:
        return self.text[self.at :]

    def fail(self) -> NoReturn:
        raise CatalogError(
            f"--columns: {self.text!r} is not understood from {self.rest().strip()!r} "
            f"on; expected {GRAMMAR}. The table has {', '.join(self.names.values())}."
        )

    def take(self, *words: str) -> str:
        """The first of these words that stands here, or nothing."""
        self.at += len(self.rest()) - len(self.rest().lstrip())
        for word in words:
            if self.rest().startswith(word):
                self.at += len(word)
                return word
        return ""

    def sum(self) -> Evaluate:
        left = self.product()
        while sign := self.take("+", "-"):
            right = self.product()
            left = _combine(np.add if sign == "+" else np.subtract, left, right)
        return left

    def product(self) -> Evaluate:
        left = self.factor()
        while sign := self.take("*", "/"):
            right = self.factor()
            left = _combine(np.multiply if sign == "*" else np.divide, left, right)
        return left

    def factor(self) -> Evaluate:
        self.take("")
        column = self.column()
        if column is not None:
            self.used.append(column)
            return lambda values: values[column]
        if self.take("10**"):
            return _apply(_power_of_ten, self.factor())
        if self.take("-"):
            return _apply(np.negative, self.factor())
        for name, function in _FUNCTIONS.items():
            if self.take(f"{name}("):
                return _apply(function, self.closed())
        if self.take("("):
            return self.closed()
        number = _NUMBER.match(self.rest())
        if number is None:
            self.fail()
        self.at += number.end()
        value = float(number[0])
        self.numbers.append(value)
        return lambda values: value

    def closed(self) -> Evaluate:
        inner = self.sum()
        if not self.take(")"):
            self.fail()
        return inner

    def column(self) -> str | None:
        """The longest name of a column that stands here and ends here."""
        lower = self.rest().lower()
        for key, name in self.names.items():
            follower = lower[len(key) : len(key) + 1]
            ends = not (key[-1:].isalnum() and (follower.isalnum() or follower == "_"))
            if lower.startswith(key) and ends and key:
                self.at += len(key)
                return name
        return None


def _combine(
    function: Callable[[Any, Any], Any], left: Evaluate, right: Evaluate
) -> Evaluate:
    def evaluate(values: Columns) -> NumbersOrOne:
        with np.errstate(all="ignore"):
            return function(left(values), right(values))

    return evaluate


def _apply(function: Callable[[Any], Any], inner: Evaluate) -> Evaluate:
    def evaluate(values: Columns) -> NumbersOrOne:
        with np.errstate(all="ignore"):
            return function(inner(values))

    return evaluate


def _power_of_ten(exponent: NumbersOrOne) -> NumbersOrOne:
    return 10.0 ** np.where(np.abs(exponent) > 20.0, np.nan, exponent)


def cosmic_time(scale_factor: np.ndarray | float) -> np.ndarray:
    """Time since the Big Bang [Gyr] at a scale factor, in the cosmology Planck 2015.

    NaN where it is not above 0 and at most 1 (wind particles have it negative).

    >>> cosmic_time(np.array([0.5, 1.0, -1.0])).round(1).tolist()
    [5.9, 13.8, nan]
    """
    from astropy.cosmology import Planck15  # slow to import, and seldom needed

    scale = np.asarray(scale_factor, float)
    good = np.isfinite(scale) & (scale > 0.0) & (scale <= 1.0)
    grid = np.concatenate([[1e-4], np.linspace(0.002, 1.0, 1000)])
    planck: Any = Planck15  # astropy loads it lazily, with the type of the base class
    times = planck.age(1.0 / grid - 1.0).to_value("Gyr")
    return np.where(good, np.interp(np.where(good, scale, 1.0), grid, times), np.nan)


_FUNCTIONS = {"sqrt": np.sqrt, "log10": np.log10, "cosmic_time": cosmic_time}
