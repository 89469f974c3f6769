"""Shared fixtures; the published tables are found through CHEMSBI_DATA."""

import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

import jax
import jaxtyping
import pytest

# tests leave the user's cache alone
os.environ.setdefault("CHEMSBI_COMPILATION_CACHE", "off")


@pytest.fixture
def key():
    return jax.random.key(20)


@pytest.fixture(scope="session")
def data():
    folder = os.environ.get("CHEMSBI_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("needs the published tables: set CHEMSBI_DATA to their folder")
    return Path(folder)


@pytest.fixture
def unchecked():
    """Annotations are not checked, as in a user's program: our own errors show."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def full_disk():
    """Inside, no file may grow over 2 kB: the nearest thing to a disk that fills up."""

    @contextmanager
    def limit(size=2048):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)

    return limit
