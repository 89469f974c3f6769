"""Yield sets by name: one reader a source, closure tests, and the user's own table."""

from chemsbi_jax.yields.catalogue import PARTS as PARTS
from chemsbi_jax.yields.catalogue import YieldRecord as YieldRecord
from chemsbi_jax.yields.catalogue import load_part as load_part
from chemsbi_jax.yields.elements import Elements as Elements
from chemsbi_jax.yields.errors import YieldsError as YieldsError
from chemsbi_jax.yields.load import list_yields as list_yields
from chemsbi_jax.yields.load import load_yields as load_yields
from chemsbi_jax.yields.load import select_elements as select_elements
from chemsbi_jax.yields.parts import CHANNELS as CHANNELS
from chemsbi_jax.yields.parts import Part as Part
from chemsbi_jax.yields.stack import stack_yields as stack_yields
from chemsbi_jax.yields.types import SNIaYields as SNIaYields
from chemsbi_jax.yields.types import SourceYields as SourceYields
from chemsbi_jax.yields.types import Yields as Yields
