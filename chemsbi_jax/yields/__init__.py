"""Yield sets by name: one reader a source, closure tests, and the user's own table."""

from chemsbi_jax.yields.tables import load_yields as load_yields
from chemsbi_jax.yields.types import SNIaYields as SNIaYields
from chemsbi_jax.yields.types import SourceYields as SourceYields
from chemsbi_jax.yields.types import Yields as Yields
