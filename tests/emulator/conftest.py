"""The shipped conditional emulator."""

import pytest

import chemsbi_jax as cs


@pytest.fixture(scope="module")
def emulator():
    return cs.load_yield_emulator("tng")
