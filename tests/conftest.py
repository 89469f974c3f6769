"""Shared fixtures; the published tables are found through CHEMSBI_DATA."""

import ctypes
import gc
import os
import resource
import signal
from contextlib import contextmanager
from pathlib import Path

# Before JAX is imported. Tests leave the user's cache alone. All workers, the processes
# that tests start, and later runs share compiled programs in a folder of the checkout.
# JAX locks a folder of bounded size, so that nothing is read that is half written.
COMPILED = Path(__file__).parents[1] / ".pytest_cache" / "compiled"
for name, value in {
    "CHEMSBI_COMPILATION_CACHE": "off",
    "JAX_COMPILATION_CACHE_DIR": str(COMPILED),
    "JAX_COMPILATION_CACHE_MAX_SIZE": str(1024**3),  # bytes
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0.3",
}.items():
    os.environ.setdefault(name, value)

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

MAX_MEMORY = 1.5e9  # bytes of a worker


def pytest_configure(config):
    """Remove programs that a killed process has not written to their end.

    At its first import on a day, arviz writes a file; of two workers that do so at the
    same time, one fails. So it is imported before there are workers.
    """
    if not hasattr(config, "workerinput"):
        import arviz  # noqa: F401

        for path in COMPILED.glob("*-cache"):
            if not path.with_name(path.name[:-6] + "-atime").exists():
                path.unlink(missing_ok=True)


def pytest_runtest_teardown():
    """Drop the compiled programs of this worker once they take too much memory."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux
        return
    if pages * resource.getpagesize() > MAX_MEMORY:
        jax.clear_caches()
        gc.collect()
        # glibc keeps free memory: without this, the process stays above the limit and
        # its caches are dropped after each further test
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


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
