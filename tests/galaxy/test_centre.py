"""The network's mean error: against networks whose error is known in closed form."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial

import chemsbi_jax as cs
from chemsbi_jax.galaxy.amortised.batch import infer_galaxies
from chemsbi_jax.galaxy.amortised.gaussian import GaussianProduct
from chemsbi_jax.galaxy.amortised.score_correction import (
    even_normals,
    mean_score,
    table_score,
)
from chemsbi_jax.galaxy.amortised.stream import stream_galaxy
from chemsbi_jax.npe import AnyErrors
from helpers import linear_galaxy

KEY = jax.random.key(3)
PRECISION = np.eye(2) + linear_galaxy.PRECISION  # of the posterior of one star
BIAS = np.array([0.04, -0.03])  # of its mean, in latents
FORWARD = linear_galaxy.MODEL


@pytest.fixture(scope="module")
def biased():
    return linear_galaxy.networks(BIAS).npe


def right_answer(stars):
    """Mean and standard deviations of the galaxy, in closed form."""
    mean, covariance = linear_galaxy.closed_form(stars)
    return mean, np.sqrt(np.diag(covariance))


def test_the_mean_score_is_the_closed_form(biased):
    """A mean that is off by b makes a slope of precision times b, at every place."""
    inputs, counts = jnp.zeros((40, 8)), jnp.arange(40) < 30
    for mean in ([0.0, 0.0], [0.7, 1.0], [-1.0, -1.4]):
        place = GaussianProduct(jnp.array(mean), 1e-3 * jnp.eye(2), counts)
        found = mean_score(KEY, biased, FORWARD, inputs, counts, place)
        np.testing.assert_allclose(found, PRECISION @ BIAS, rtol=0.02)


@pytest.mark.parametrize(
    ("truth", "n"),
    [
        ((-2.1, -2.6), 10),
        ((-2.6, -3.3), 10),
        ((-2.6, -3.3), 200),
        pytest.param((-2.1, -2.6), 1000, marks=pytest.mark.slow),
        pytest.param((-2.6, -3.3), 1000, marks=pytest.mark.slow),
    ],
)
def test_a_biased_network_gives_the_right_galaxy(truth, n, biased):
    stars = linear_galaxy.make_stars(n, truth)
    mean, sd = right_answer(stars)
    wrong = cs.infer_galaxy(KEY, biased, stars)
    right = cs.infer_galaxy(KEY, biased, stars, forward=FORWARD)
    off = np.abs(wrong.mean - mean) / sd
    assert off.max() > 0.09 * np.sqrt(n)  # or there is nothing to mend
    assert (np.abs(right.mean - mean) / sd).max() < 0.05
    widths = np.sqrt(np.diag(right.covariance)) / sd
    np.testing.assert_allclose(widths, 1.0, atol=0.02)
    told = np.abs(right.checks["network_error_sigma"])
    np.testing.assert_allclose(told, off, rtol=0.02, atol=0.03)
    assert "network_error_sigma" not in wrong.checks


@pytest.mark.slow
def test_many_galaxies_and_blocks_of_stars_agree(biased):
    stars = linear_galaxy.make_stars(1000)
    mean, sd = right_answer(stars)
    (draws,) = infer_galaxies(KEY, biased, [stars], "flow", 4000, FORWARD)
    assert (np.abs(draws.mean(axis=0) - mean) / sd).max() < 0.15
    streamed = stream_galaxy(KEY, biased, stars, forward=FORWARD, block=256)
    assert (np.abs(streamed.mean - mean) / sd).max() < 0.05
    assert np.abs(streamed.checks["network_error_sigma"]).max() > 3.0


def test_large_tables_have_more_simulated_stars(biased):
    """The error of a mean over more stars is smaller, and no call is repeated."""
    inputs, counts = jnp.zeros((40, 8)), jnp.ones(40, bool)
    place = GaussianProduct(jnp.zeros(2), 1e-3 * jnp.eye(2), counts)
    table, few, rms = (inputs, counts, place), 10, []

    def one(key):
        return mean_score(key, biased, FORWARD, *table, few)

    for n_stars in (1, 1024):  # one call, and sixteen
        keys = jax.random.split(KEY, 8)
        found = [table_score(k, one, n_stars, few) for k in keys]
        rms.append(np.sqrt(np.mean((np.array(found) - PRECISION @ BIAS) ** 2)))
    assert rms[1] < 0.5 * rms[0]  # a quarter, with the scatter of eight keys


def test_rows_that_do_not_count_say_nothing(biased):
    inputs = jnp.where(jnp.arange(40)[:, None] < 30, 0.0, jnp.nan) * jnp.ones(8)
    place = GaussianProduct(jnp.zeros(2), 1e-3 * jnp.eye(2), jnp.zeros(40, bool))
    counts = jnp.arange(40) < 30
    whole = mean_score(KEY, biased, FORWARD, inputs, counts, place)
    assert np.isfinite(whole).all()
    nobody = mean_score(KEY, biased, FORWARD, inputs, jnp.zeros(40, bool), place)
    assert np.isfinite(nobody).all()


def test_a_model_without_stars_moves_nothing(biased):
    place = GaussianProduct(jnp.zeros(2), jnp.eye(2), jnp.zeros(4, bool))
    nothing = Partial(lambda theta: jnp.full((*theta.shape[:-1], 8), jnp.nan))
    inputs = jnp.zeros((4, 8))
    found = mean_score(KEY, biased, nothing, inputs, jnp.ones(4, bool), place)
    np.testing.assert_array_equal(found, 0.0)


def test_normals_are_even_and_depend_on_the_key():
    n = 16
    chunks = np.asarray(even_normals(KEY, 13, n, 512), float)
    assert chunks.shape == (16, 512, n)
    normals = chunks.reshape(-1, n)
    assert normals.shape == (8192, n)
    # at random the means would scatter by 0.011
    assert np.abs(normals.mean(axis=0)).max() < 0.002
    products = normals.T @ normals / len(normals)
    np.testing.assert_allclose(products, np.eye(n), atol=0.03)
    np.testing.assert_array_equal(chunks, even_normals(KEY, 13, n, 512))
    other = even_normals(jax.random.key(4), 13, n, 512)
    assert np.abs(chunks - np.asarray(other)).max() > 0.1


def test_stars_are_measured_as_those_of_the_table():
    """Errors and gaps row by row, and noise of just that size."""
    n = 20_000
    like = AnyErrors("galah", dated=True)
    reader = like.blank_reader()
    clean, time = jnp.zeros((n, 8)), jnp.full(n, 5.0)
    table = like.observe(KEY, clean, time)
    noise = jax.random.normal(jax.random.key(5), (n, 9))
    made = np.asarray(reader.measure(table, clean, time, noise), float)
    errors, e_birth = np.asarray(table)[:, 8:16], np.asarray(table)[:, -1]
    np.testing.assert_array_equal(made[:, 8:16], errors)
    np.testing.assert_array_equal(made[:, -1], e_birth)
    seen = errors > 0.0
    assert (made[:, :8][~seen] == 0.0).all()
    units = made[:, :8][seen] / errors[seen]
    assert units.std() == pytest.approx(1.0, abs=0.02)
    assert ((made[:, -2] - 5.0) / e_birth).std() == pytest.approx(1.0, abs=0.03)
    no_star = reader.measure(table, jnp.full((n, 8), jnp.nan), time, noise)
    assert np.isnan(np.asarray(no_star)[:, :8]).all()
