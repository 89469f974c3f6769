"""The yield tables of VICE, which are an optional package."""

import os

import pytest

from chemsbi_jax.yields import PARTS, vice

needs_vice = pytest.mark.skipif(
    "CHEMSBI_VICE" not in os.environ, reason="needs VICE's source: set CHEMSBI_VICE"
)
OF_VICE = {name for name, entry in PARTS.items() if entry.source == vice.SOURCE}
