"""Comparisons of an inference with other yields: where one fails, the result stays."""

import jax
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.errors import ConvergenceError
from chemsbi_jax.galaxy import guided as parts
from chemsbi_jax.galaxy.exact.posterior import Exact
from chemsbi_jax.galaxy.guided import Guided
from chemsbi_jax.inference import guided as module
from chemsbi_jax.inference.checks import Answer, split_key
from chemsbi_jax.inference.guided import NO_HALF, NO_REPETITION, GuidedAnswer
from chemsbi_jax.types import GalaxyPosterior

KEYS = split_key(jax.random.key(0))
STARS = cs.Stars.complete(np.zeros((6, 8)), 0.05)


@pytest.fixture
def found(unchecked):
    """A result by `exact`; a comparison needs nothing of what made it."""
    draws = np.random.default_rng(0).normal((-2.3, -2.9), 0.01, (500, 2))
    covariance = np.cov(draws, rowvar=False)
    galaxy = GalaxyPosterior("exact", draws, draws.mean(axis=0), covariance, {})
    nothing = Exact(*[None] * len(Exact._fields))
    return GuidedAnswer(Answer(galaxy), Guided(galaxy, nothing))


def no_posterior(*args, **options):
    raise ConvergenceError("The method exact found no posterior for these stars.")


def test_a_comparison_that_fails_is_named(found, monkeypatch):
    for place in (module, parts):
        monkeypatch.setattr(place, "infer_guided", no_posterior)
    other, halves, failed = module._comparisons(KEYS, None, (STARS, STARS), found)
    assert other is halves is None
    assert failed == [NO_REPETITION, NO_HALF]


def test_a_prefix_without_posterior_is_a_gap(found, monkeypatch):
    monkeypatch.setattr(parts, "infer_guided", no_posterior)
    galaxy = found.answer.posterior
    numbers, means, sds = parts.guided_prefixes(KEYS.figures, None, STARS, galaxy)
    assert numbers.tolist() == [1, 6]
    assert np.isnan(means[0]).all()
    assert np.isnan(sds[0]).all()
    np.testing.assert_array_equal(means[1], galaxy.mean)
