"""Stars with gaps, different errors and birth times: combining."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.diagnostics.misfit import misfit_test
from chemsbi_jax.galaxy.amortised.batch import infer_galaxies
from chemsbi_jax.galaxy.amortised.stream import stream_galaxy
from chemsbi_jax.galaxy.amortised.uninformative import find_uninformative
from chemsbi_jax.npe import AnyErrors, choose_weights
from chemsbi_jax.npe.model import even_noise
from chemsbi_jax.npe.reading import AnyStarReader, as_table
from helpers.gappy_stars import table, with_gaps
from helpers.networks import untrained

PRIOR = priors.paper_prior()
THOROUGH = pytest.mark.thorough
complete, galah = (pytest.param(x, marks=THOROUGH) for x in ("complete", "galah"))
# compiling the flow's product for another number of stars takes half a minute
METHODS = [pytest.param("flow", marks=pytest.mark.slow), "gaussian"]


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_stars_that_tell_nothing_leave_the_prior(method):
    """An untrained network's posterior is the prior, of 3000 stars together too."""
    npe = untrained(PRIOR, measure=AnyErrors())
    stars = with_gaps(table(3000))
    galaxy = cs.infer_galaxy(jax.random.key(1), npe, stars, method)
    sd = np.sqrt(np.diag(galaxy.covariance))
    np.testing.assert_allclose(sd, 0.3, rtol=0.01)
    np.testing.assert_allclose(galaxy.mean, [-2.3, -2.89], atol=0.003)


def test_even_noise_has_the_moments_of_the_normal():
    noise = np.asarray(even_noise(jax.random.key(3), 1000), float)
    np.testing.assert_allclose(noise.mean(axis=1), 0.0, atol=1e-6)
    np.testing.assert_allclose(np.cov(noise), np.eye(2), atol=1e-5)
    assert np.isfinite(even_noise(jax.random.key(3), 1)).all()


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_many_galaxies_at_once_are_the_single_ones(method):
    npe = cs.load_npe("tng")
    stars = cs.read_stars("chemsbi_jax/pretrained/stars/example_galaxy.ecsv")
    parts = [slice(0, 40), slice(40, 70), slice(70, 110)]  # of different lengths
    galaxies = [stars.take(p) for p in parts]
    draws = infer_galaxies(jax.random.key(0), npe, galaxies, method, 4000)
    assert draws.shape == (3, 4000, 2)
    for galaxy, found in zip(galaxies, draws, strict=True):
        one = cs.infer_galaxy(jax.random.key(1), npe, galaxy, method)
        sd = np.sqrt(np.diag(one.covariance))
        # the Gaussian method has noise of its own in both
        limit = 0.1 if method == "flow" else 0.25
        assert (np.abs(found.mean(axis=0) - one.mean) / sd).max() < limit
        np.testing.assert_allclose(found.std(axis=0) / sd, 1.0, atol=0.08)


def test_an_unknown_method_is_named():
    with pytest.raises(ValueError, match="flow or gaussian; got 'exact'"):
        infer_galaxies(jax.random.key(0), cs.load_npe("tng"), [], "exact", 10)


# --- the alarm


def gappy(rng, n, shift=0.0):
    errors = rng.uniform(0.03, 0.15, (n, 8))
    residuals = errors * rng.normal(size=(n, 8)) + shift
    gaps = rng.uniform(size=(n, 8)) < 0.3
    gaps[:, 2] = True  # nobody has helium
    return np.where(gaps, np.nan, residuals), np.where(gaps, np.nan, errors)


@pytest.mark.parametrize("n", [1, 10, 300])
def test_few_false_alarms_with_gaps(n):
    rng = np.random.default_rng(n)
    alarms = []
    for _ in range(200):
        (one, e_one), (two, e_two) = gappy(rng, n), gappy(rng, 2000)
        known = np.isfinite(one).any(axis=1)
        alarms.append(misfit_test(one[known], two, (e_one[known], e_two)).is_flagged
                      if known.any() else False)  # fmt: skip
    assert np.mean(alarms) <= 0.05


def test_an_offset_is_named_with_gaps():
    rng = np.random.default_rng(4)
    (one, e_one), (two, e_two) = gappy(rng, 300, np.eye(8)[6] * 0.06), gappy(rng, 2000)
    found = misfit_test(one, two, (e_one, e_two))
    assert found.is_flagged
    assert "o_fe" in found.text.split(",")[0]
    assert np.isnan(found.mean_residual[2])
    assert found.mean_residual[6] == pytest.approx(0.06, abs=0.02)


# --- the shipped network


@pytest.fixture(scope="module")
def shipped():
    return cs.load_npe()


@partial(jax.jit, static_argnames="measure")
def observe(key, truth, emulator, measure):
    """Readings of 600 stars of one galaxy: the same program for all that want fewer."""
    key_theta, key_noise = jax.random.split(key)
    theta = priors.sample(key_theta, PRIOR, 600).at[:, :2].set(truth)
    clean = cs.emulate(theta, emulator)
    return measure.observe(key_noise, clean, theta[:, -1])


def measured(kind, n, truth=(-2.1, -2.6), dated=False, seed=0):
    """Stars of one galaxy by the shipped emulator."""
    emulator, measure = cs.load_emulator("tng-any"), AnyErrors(kind, dated)
    inputs = observe(jax.random.key(seed), jnp.array(truth), emulator, measure)
    inputs = np.asarray(inputs)
    return as_table(inputs[np.isfinite(inputs).all(axis=1)][:n])


@pytest.mark.thorough
def test_the_default_is_the_network_for_any_star(shipped):
    assert isinstance(shipped.reader, AnyStarReader)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(shipped))
    usual = measured("complete", 3)
    assert choose_weights(usual) == "tng"
    assert choose_weights(measured("apogee", 3)) == "tng-any"
    assert choose_weights(usual._replace(errors=2 * usual.errors)) == "tng-any"
    assert choose_weights(measured("complete", 3, dated=True)) == "tng-any"


@pytest.mark.parametrize("kind", [complete, "apogee", galah])
def test_a_galaxy_of_any_stars(kind, shipped):
    """Away from the prior's mean, along the degeneracy."""
    truth = (-2.6, -3.3)
    galaxy = cs.infer_galaxy(
        jax.random.key(0), shipped, measured(kind, 200, truth, dated=True)
    )
    offset = galaxy.mean - np.array(truth)
    chi2 = offset @ np.linalg.solve(galaxy.covariance, offset)
    assert chi2 < 13.8  # 99.9 %
    assert np.sqrt(np.diag(galaxy.covariance)).max() < 0.05


def poor_stars(n, elements, error, truth=(-2.1, -2.6)):
    """Stars with these elements only, and large errors."""
    stars = measured("complete", n, truth, seed=1)
    seen = np.isin(np.arange(8), elements) & np.ones((n, 1), bool)
    errors = np.where(seen, error, np.nan)
    noise = np.random.default_rng(0).normal(size=(n, 8))
    values = np.where(seen, stars.values + error * noise, np.nan)
    return stars._replace(values=values, errors=errors, observed=seen)


@pytest.mark.thorough
@pytest.mark.parametrize("method", METHODS)
def test_stars_that_tell_little_do_no_harm(method, shipped):
    """300 stars with one abundance, to 0.3 dex, beside 50 good ones: as without."""
    good, poor = measured("apogee", 50), poor_stars(300, [5], 0.3)
    pairs = zip(good[:6], poor[:6], strict=True)
    both = cs.Stars(*map(np.concatenate, pairs))
    one, two = (
        cs.infer_galaxy(jax.random.key(0), shipped, s, method) for s in (good, both)
    )
    assert (one.checks["weak_stars"], two.checks["weak_stars"]) == (0, 300)
    sd, new = (np.sqrt(np.diag(g.covariance)) for g in (one, two))
    assert (np.abs(two.mean - one.mean) / sd).max() < 0.05
    np.testing.assert_allclose(new, sd, rtol=0.03)


@pytest.mark.parametrize("method", METHODS)
def test_stars_that_all_tell_too_little_give_the_prior(method, shipped):
    stars = poor_stars(200, [5], 0.3)
    for infer in (cs.infer_galaxy, stream_galaxy):
        galaxy = infer(jax.random.key(0), shipped, stars, method)
        assert galaxy.checks["weak_stars"] == 200
        np.testing.assert_allclose(galaxy.mean, (-2.3, -2.89), atol=0.003)
        sd = np.sqrt(np.diag(galaxy.covariance))
        np.testing.assert_allclose(sd, 0.3, rtol=0.01)


@pytest.mark.parametrize("truth", [(-2.1, -2.6), (-2.6, -3.3)])
# 3 sigma of chance and half a sigma of the network's error; posteriors of single stars
# with such errors are not Gaussian, which costs that method three sigma by itself
@pytest.mark.thorough
@pytest.mark.parametrize(("method", "limit"), [("flow", 3.5), ("gaussian", 4.0)])
def test_many_stars_with_large_errors_stay_near_the_truth(
    method, limit, truth, shipped
):
    """0.3 dex everywhere: far from the prior's mean their densities mean nothing."""
    stars = poor_stars(300, range(8), 0.3, truth)
    galaxy = cs.infer_galaxy(jax.random.key(0), shipped, stars, method)
    assert galaxy.checks["weak_stars"] == 0
    sd = np.sqrt(np.diag(galaxy.covariance))
    assert (np.abs(galaxy.mean - np.array(truth)) / sd).max() < limit


@pytest.mark.thorough
def test_whether_a_star_counts_does_not_depend_on_its_values(shipped):
    stars = measured("galah", 40)
    fewer = stars.observed & (np.arange(40)[:, None] % 4 > 0)
    fewer[:, 2] = stars.observed[:, 2]
    stars = stars._replace(observed=fewer)
    blank = np.where(fewer, stars.values, np.nan), np.where(fewer, stars.errors, np.nan)
    stars = stars._replace(values=blank[0], errors=blank[1])
    moved = stars._replace(values=stars.values + 0.3)
    weak = [
        find_uninformative(shipped, shipped.reader.inputs(s)) for s in (stars, moved)
    ]
    np.testing.assert_array_equal(*weak)
    assert 0 < weak[0].sum() < 40


@pytest.mark.thorough
def test_a_value_in_a_gap_does_not_count(shipped):
    stars = measured("galah", 20)
    filled = np.where(stars.observed, stars.values, 9.0)
    draws = [
        cs.sample_stars(jax.random.key(0), shipped, s, 50)
        for s in (stars, stars._replace(values=filled))
    ]
    np.testing.assert_array_equal(*draws)
