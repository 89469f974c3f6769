"""The second interval is the same, begun beside the first one or made after it."""

from concurrent.futures import Future

import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.inference.checks import Run
from chemsbi_jax.inference.second import second_interval
from chemsbi_jax.inference.shared import _how_drawn
from chemsbi_jax.options import Limits
from chemsbi_jax.results.stopwatch import Stopwatch


@pytest.fixture(scope="module")
def stars():
    """Too few for an interval, so that the answer is a sentence with their number."""
    n = 4
    values, unknown = np.zeros((n, 8)), np.full(n, np.nan)
    ids = np.arange(n).astype(str)
    errors, seen = np.full((n, 8), 0.05), np.ones((n, 8), bool)
    return cs.Stars(values, errors, seen, unknown, unknown, ids)


@pytest.fixture
def run():
    return Run(load_networks("tng"), Limits(), Stopwatch(quiet=True))


@pytest.mark.parametrize("early", [True, False])
def test_answers_for_the_stars_that_the_first_interval_used(run, stars, early):
    second = second_interval(jax.random.key(0), run, stars, True, early=early)
    assert "got 4" in second.of(stars).take().shared_note
    assert "got 3" in second.of(stars.take(np.arange(3))).take().shared_note
    assert run.watch.seconds["shared errors"] >= 0.0


@pytest.mark.parametrize("early", [True, False])
def test_an_error_of_the_thread_is_raised_where_the_answer_is_needed(run, stars, early):
    many = stars.take(np.arange(8) % 4)
    wrong = SharedErrors(zero_points=-1.0)
    second = second_interval(jax.random.key(0), run, many, wrong, early=early)
    with pytest.raises(InputError, match="prior scales"):
        second.of(many).take()


def test_no_interval_is_begun_that_is_not_wanted(run, stars):
    second = second_interval(jax.random.key(0), run, stars, False, early=True)
    assert not second.is_begun
    assert second.of(stars).take().shared_errors is None


def test_runs_until_the_thread_is_done(run, stars):
    second = second_interval(jax.random.key(0), run, stars, True, early=False)
    assert not second.is_running
    begun = Future()
    second = second._replace(begun=begun)
    assert second.is_running
    begun.set_result(None)
    assert not second.is_running


@pytest.mark.parametrize(
    ("checks", "sentence"),
    [
        ({}, ""),
        ({"n_subset": 5000}, "from 5000 random stars of 9000."),
        (
            {
                "sampler": "nuts", "r_hat": 1.012, "n_effective": 411.2,
                "divergences": 1, "n_nuts": 256, "counted_stars": 18.5,
            },
            "NUTS drew the interval with shared errors from 256 random stars of 9000 "
            "(r-hat 1.01, 411 effective draws, 1 divergence). Their likelihood has the "
            "weight of 18 stars, because",
        ),
        ({"sampler": "network", "r_hat": 1.3}, ""),
    ],
)  # fmt: skip
def test_the_sampler_and_the_stars_are_named(checks, sentence):
    found = _how_drawn(checks, 9000)
    assert sentence in found
    assert bool(found) == bool(sentence)
