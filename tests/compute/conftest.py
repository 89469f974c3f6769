"""A training that nothing interrupts."""

import pytest

from helpers.regression import run


@pytest.fixture(scope="module")
def uninterrupted():
    return run()
