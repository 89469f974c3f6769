"""[X/Fe] made from [X/H]: its errors share that of [Fe/H], everywhere alike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.diagnostics.misfit import misfit_test
from chemsbi_jax.galaxy.likelihood import distance, log_likelihood, observe
from chemsbi_jax.npe.noise import observe_like
from chemsbi_jax.types import shared_variance

IRON = cs.ABUNDANCES.index("fe_h")


def make_stars(n=6, seed=0, gaps=True):
    """Stars whose [X/H] have independent errors, some with gaps."""
    rng = np.random.default_rng(seed)
    over_h = rng.uniform(0.03, 0.09, (n, 8))
    iron = over_h[:, IRON]
    errors = np.sqrt(over_h**2 + iron[:, None] ** 2)
    errors[:, IRON] = iron
    observed = np.ones((n, 8), bool)
    if gaps:
        observed[0, 3] = observed[1, IRON] = False
        observed[2, 5:] = False
    values = np.where(observed, rng.normal(0.0, 0.2, (n, 8)), np.nan)
    unknown, ids = np.full(n, np.nan), np.arange(n).astype(str)
    errors = np.where(observed, errors, np.nan)
    return cs.Stars(values, errors, observed, unknown, unknown, ids, iron**2)


def covariance(stars, i):
    """That of the observed abundances of one star, entry by entry."""
    full = np.zeros((8, 8))
    shared = stars.fe_covariance[i] * stars.observed[i, IRON]
    for a in range(8):
        for b in range(8):
            if a == b:
                full[a, b] = stars.errors[i, a] ** 2
            else:
                full[a, b] = -shared if IRON in (a, b) else shared
    seen = stars.observed[i]
    return full[np.ix_(seen, seen)]


def test_likelihood_is_that_of_the_full_covariance():
    stars = make_stars()
    model = np.random.default_rng(1).normal(0.0, 0.2, (6, 8))
    theta = jnp.zeros((6, 6))
    found = log_likelihood(lambda _: jnp.asarray(model), theta, observe(stars))
    for i, value in enumerate(np.asarray(found)):
        seen = stars.observed[i]
        r = (model[i] - stars.values[i])[seen]
        expected = -0.5 * r @ np.linalg.solve(covariance(stars, i), r)
        assert value == pytest.approx(expected, rel=1e-5)  # float32


def test_only_some_ratios_share_the_error():
    """One variance for each abundance; [Mg/Fe] and [O/Fe] were measured as they are."""
    stars = make_stars(gaps=False)
    direct = [cs.ABUNDANCES.index(name) for name in ("mg_fe", "o_fe")]
    each = np.repeat(stars.fe_covariance[:, None], 8, axis=1)
    each[:, direct] = 0.0
    some = stars._replace(fe_covariance=each)
    model = np.random.default_rng(1).normal(0.0, 0.2, (6, 8))
    theta = jnp.zeros((6, 6))
    found = log_likelihood(lambda _: jnp.asarray(model), theta, observe(some))
    for i, value in enumerate(np.asarray(found)):
        full = covariance(stars, i)
        for a in direct:
            full[a, :] = full[:, a] = 0.0
            full[a, a] = stars.errors[i, a] ** 2
        r = model[i] - stars.values[i]
        expected = -0.5 * r @ np.linalg.solve(full, r)
        assert value == pytest.approx(expected, rel=1e-5)  # float32


def test_without_it_nothing_changes():
    stars = make_stars()._replace(fe_covariance=None)
    zero = stars._replace(fe_covariance=np.zeros(6))
    assert shared_variance(stars) is None
    model = jnp.asarray(np.random.default_rng(1).normal(0.0, 0.2, (6, 8)))
    one, two = (distance(model, observe(s)) for s in (stars, zero))
    np.testing.assert_array_equal(np.asarray(one), np.asarray(two))
    expected = np.where(stars.observed, model - np.nan_to_num(stars.values), model)
    np.testing.assert_allclose(one, expected, atol=1e-6)


def test_model_stars_have_errors_of_this_covariance():
    one, n = make_stars(gaps=False).take([3]), 100_000
    table = one.take(np.zeros(n, int))
    stars = observe_like(jax.random.key(3), table, jnp.zeros((n, 6)), jnp.zeros((n, 8)))
    found = np.cov(stars.values, rowvar=False)
    # 1 sigma of an entry is below sqrt(2 / n) = 0.0045 of the largest variance
    largest = (one.errors**2).max()
    np.testing.assert_allclose(found, covariance(one, 0), atol=5 * 0.0045 * largest)


def test_alarm_is_silent_where_the_errors_are_shared():
    """For stars of the model, measured as the table's were; 1 % is asked for."""
    table, n = make_stars(gaps=False), 2000
    keys = jax.random.split(jax.random.key(5), 21)

    def residuals(key, n):
        some = table.take(np.arange(n) % 6)
        model = observe_like(key, some, jnp.zeros((n, 6)), jnp.zeros((n, 8)))
        return model.values, model.errors

    expected, model_errors = residuals(keys[0], n)
    fired = []
    for key in keys[1:]:
        observed, errors = residuals(key, 100)
        both = (errors, model_errors)
        fired.append(misfit_test(observed, expected, both).is_flagged)
    assert sum(fired) <= 2
