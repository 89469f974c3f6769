"""Shared fixtures; the published tables are found through CHEMSBI_DATA."""

import os
from pathlib import Path

import jax
import pytest


@pytest.fixture
def key():
    return jax.random.key(20)


@pytest.fixture(scope="session")
def data():
    folder = os.environ.get("CHEMSBI_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the published tables: set CHEMSBI_DATA to their folder")
    return Path(folder)
