"""The second interval: beside the first one where there is a core for it."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import NamedTuple

import jax
from jaxtyping import Array, Key

from chemsbi_jax.compute.devices import n_cores
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.inference.checks import Run
from chemsbi_jax.inference.shared import SharedAnswer, infer_shared
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.types import Stars


class Pending(NamedTuple):
    """A second interval of known stars."""

    take: Callable[[], SharedAnswer]  # waits for it
    is_running: Callable[[], bool]  # whether a thread is still making it


class SecondInterval(NamedTuple):
    """A second interval that is made at the call, or has been begun."""

    make: Callable[[Stars], SharedAnswer]
    stars: Stars  # of the interval
    begun: Future[SharedAnswer] | None

    @property
    def is_begun(self) -> bool:
        """Whether a thread makes it."""
        return self.begun is not None

    @property
    def is_running(self) -> bool:
        """Whether a thread is still making it."""
        return self.begun is not None and not self.begun.done()

    def of(self, stars: Stars) -> "SecondInterval":
        """The second interval of the stars that the first one used.

        Where the first interval left stars out, the one that was begun is dropped, and
        a thread makes another one.
        """
        if self.begun is None or stars is self.stars:
            return self._replace(stars=stars)
        before = self.begun

        def again() -> SharedAnswer:
            wait([before])  # its programs are compiled
            return self.make(stars)

        return SecondInterval(self.make, stars, _in_thread(again))

    def take(self) -> SharedAnswer:
        """The interval; waits for the thread that makes it.

        A run in a thread has the same random keys, and so the same result.
        """
        return self.make(self.stars) if self.begun is None else self.begun.result()


def second_interval(
    key: Key[Array, ""],
    run: Run,
    stars: Stars,
    wanted: bool | SharedErrors,
    *,
    early: bool,
) -> SecondInterval:
    """The second interval of an inference.

    Args:
        key: determines all random numbers.
        run: networks, numbers of stars, and the clock.
        stars: all stars.
        wanted: priors of shared errors; False: there is no such interval.
        early: begin now, in a thread, if there is a core for it. JAX compiles and runs
            its programs outside of Python's lock, so that both intervals together take
            little longer than one.
    """
    settings = SharedErrors() if wanted is True else wanted

    is_short = settings is not False and settings.sampler == "network"
    is_alone = jax.process_count() == 1
    is_early = early and is_short and is_alone and n_cores() > 1
    # one progress bar at a time
    watch = Stopwatch(quiet=True) if is_early else run.watch

    def make(stars: Stars) -> SharedAnswer:
        if settings is False:
            return SharedAnswer(None, "")
        with run.watch("shared errors"):
            return infer_shared(key, run._replace(watch=watch), stars, settings)

    begun = _in_thread(lambda: make(stars)) if is_early else None
    return SecondInterval(make, stars, begun)


def _in_thread(make: Callable[[], SharedAnswer]) -> Future[SharedAnswer]:
    # Python waits for the thread at its end, but not at an error of the first interval
    pool = ThreadPoolExecutor(1, thread_name_prefix="shared-errors")
    begun = pool.submit(make)
    pool.shutdown(wait=False)
    return begun
