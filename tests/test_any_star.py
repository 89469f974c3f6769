"""Stars with gaps, different errors and birth times: reading, measuring, combining."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.diagnostics.misfit import misfit_test
from chemsbi_jax.errors import CatalogError
from chemsbi_jax.galaxy.amortised.batch import infer_galaxies
from chemsbi_jax.galaxy.amortised.stream import stream_galaxy
from chemsbi_jax.galaxy.amortised.uninformative import find_uninformative
from chemsbi_jax.npe import AnyErrors, NpeConfig, SplineFlow, choose_weights
from chemsbi_jax.npe.measurements import APOGEE, GALAH
from chemsbi_jax.npe.model import even_noise
from chemsbi_jax.npe.noise import observe_like
from chemsbi_jax.npe.reading import AnyStarReader, as_table
from chemsbi_jax.npe.training import new_npe

SMALL = SplineFlow(embedding=(16, 1), hidden=(16,), n_bins=4)
ANY = NpeConfig(flow=SMALL, measure=AnyErrors())
PRIOR = priors.paper_prior()


@pytest.fixture(scope="module")
def readings():
    """Correlated noise-free readings, and their observation by "any"."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(9, 9)) * 0.2
    clean = rng.normal(size=(3000, 9)) @ mix.T + np.array([0.1] * 8 + [7.0])
    inputs = AnyErrors().observe(
        jax.random.key(0), jnp.float32(clean[:, :8]), jnp.float32(clean[:, 8])
    )
    return clean, np.asarray(inputs)


@pytest.fixture(scope="module")
def reader(readings):
    clean, inputs = readings
    return AnyErrors().make_reader(inputs, clean[:, :8], clean[:, 8])


def split(row):
    return np.r_[row[:8], row[16]], np.r_[row[8:16], row[17]]


def test_the_estimate_is_that_of_the_linear_model(reader, readings):
    """Against the closed form, by matrices in float64."""
    basis = np.asarray(reader.basis, float)
    for row in readings[1][:40].astype(float):
        value, error = split(row)
        seen = error > 0
        z = ((value - reader.centre) / reader.scale)[seen]
        sigma = (error / np.asarray(reader.scale))[seen]
        tells = basis[seen].T / sigma**2
        covariance = np.linalg.inv(np.eye(9) + tells @ basis[seen])
        variance = np.diag(covariance)
        known = covariance @ tells @ z / np.sqrt(1 - variance + 1e-3)
        found = np.asarray(reader(jnp.asarray(row, jnp.float32)))
        np.testing.assert_allclose(found[:9], known, atol=2e-3)
        expected = 0.3 * np.log(variance + 1e-3) + 1.0
        np.testing.assert_allclose(found[9:18], expected, atol=2e-3)


def test_one_star_and_a_table_of_stars_read_alike(reader, readings):
    rows = jnp.asarray(readings[1][:6])
    together = reader(rows)
    assert together.shape == (45, 6) == (AnyStarReader.n_features, 6)
    for i in range(6):
        np.testing.assert_allclose(together[:, i], reader(rows[i]), atol=1e-5)


def test_a_star_without_readings_is_the_prior(reader):
    blank = np.asarray(reader(reader.blank()))
    np.testing.assert_allclose(blank[:9], 0.0)  # the mean of the prior
    np.testing.assert_allclose(blank[9:18], 0.3 * np.log(1.001) + 1.0, rtol=1e-5)
    np.testing.assert_allclose(blank[18:], 0.0)


def table(n=4):
    values = np.linspace(-0.3, 0.3, 8 * n).reshape(n, 8)
    time = np.linspace(3.0, 9.0, n)
    ids = np.arange(1, n + 1).astype(str)
    return cs.Stars(
        values, np.full((n, 8), 0.05), np.ones((n, 8), bool), time, 0.2 * time, ids
    )


def with_gaps(stars):
    """The second star lacks two abundances, the third its birth time."""
    values, errors = stars.values.copy(), stars.errors.copy()
    values[1, [2, 5]], errors[1, [2, 5]] = np.nan, np.nan
    time, e_time = stars.birth_time.copy(), stars.e_birth_time.copy()
    time[2], e_time[2] = np.nan, np.nan
    return cs.Stars(values, errors, np.isfinite(values), time, e_time, stars.ids)


def test_inputs_and_tables_are_inverse(reader):
    stars = with_gaps(table())
    inputs = reader.inputs(stars)
    assert inputs.shape == (4, 18)
    assert np.isfinite(inputs).all()
    again = as_table(inputs)
    for one, two in zip(stars, again, strict=True):
        np.testing.assert_array_equal(one, two)


def test_errors_outside_the_training_never_narrow(reader):
    """Smaller ones are raised; a reading with a larger one counts as a gap."""
    stars = table(2)
    errors = stars.errors.copy()
    errors[0, 0], errors[0, 1] = 1e-4, 0.5
    e_time = np.array([0.01, 9.0])
    inputs = reader.inputs(stars._replace(errors=errors, e_birth_time=e_time))
    assert inputs[0, 8] == 0.01
    assert inputs[0, 0] == stars.values[0, 0]
    assert inputs[0, 9] == 0.0
    assert inputs[0, 1] == 0.0
    assert inputs[0, 17] == 0.1
    assert inputs[1, 17] == 0.0
    assert inputs[1, 16] == 0.0


def test_a_network_for_one_error_refuses_gaps():
    npe = new_npe(jax.random.key(0), PRIOR, NpeConfig(flow=SMALL))
    with pytest.raises(CatalogError, match="mine.csv, row 2"):
        npe.reader.inputs(with_gaps(table()), "mine.csv")
    rough = npe.reader.rough_inputs(with_gaps(table()))
    np.testing.assert_array_equal(rough[1, [2, 5]], npe.reader.mean[np.array([2, 5])])


# --- what is measured


@pytest.mark.parametrize(
    ("kind", "names"), [("complete", cs.ABUNDANCES), ("apogee", APOGEE),
                        ("galah", GALAH)],
)  # fmt: skip
def test_surveys(kind, names):
    errors, e_birth = AnyErrors(kind, dated=False).draw_errors(jax.random.key(0), 500)
    expected = np.isin(cs.ABUNDANCES, names)
    np.testing.assert_array_equal(np.asarray(errors) > 0, np.tile(expected, (500, 1)))
    assert not np.asarray(e_birth).any()
    given = np.asarray(errors)[:, expected]
    low, high = (0.03, 0.15) if kind == "galah" else (0.05, 0.05)
    assert given.min() >= low * 0.999
    assert given.max() <= high * 1.001


def test_any_covers_errors_gaps_and_dates():
    errors, e_birth = (np.asarray(x) for x in AnyErrors().draw_errors(
        jax.random.key(1), 20_000))  # fmt: skip
    seen = errors > 0
    assert errors[seen].min() >= 0.0099
    assert errors[seen].max() <= 0.3001
    assert np.quantile(errors[seen], 0.05) < 0.015
    assert np.quantile(errors[seen], 0.95) > 0.2
    n_seen = seen.sum(axis=1)
    assert set(n_seen) >= set(range(1, 9))  # of gaps, every number
    assert 0.25 < (n_seen == 8).mean() < 0.5
    dated = e_birth > 0
    assert 0.48 < dated.mean() < 0.52
    assert 0.0999 <= e_birth[dated].min() < 0.15
    assert 4.5 < e_birth[dated].max() <= 5.21


def test_noise_has_the_size_of_the_errors(readings):
    clean, inputs = readings
    values, errors = inputs[:, :8], inputs[:, 8:16]
    seen = errors > 0
    pull = (values - clean[:, :8])[seen] / errors[seen]
    assert abs(pull.mean()) < 0.03
    assert abs(pull.std() - 1.0) < 0.03
    assert not values[~seen].any()
    dated = inputs[:, 17] > 0
    late = (inputs[:, 16] - clean[:, 8])[dated] / inputs[dated, 17]
    assert abs(late.mean()) < 0.12
    assert abs(late.std() - 1.0) < 0.1
    assert not inputs[~dated, 16].any()


def test_a_star_that_the_model_lacks_stays_unusable():
    abundances = jnp.zeros((50, 8)).at[7].set(jnp.nan)
    inputs = AnyErrors().observe(jax.random.key(0), abundances, jnp.full(50, 5.0))
    good = np.isfinite(np.asarray(inputs)).all(axis=1)
    assert list(np.flatnonzero(~good)) == [7]


def test_observe_like_keeps_errors_and_gaps():
    stars = with_gaps(table(1000))
    theta = np.full((1000, 6), 5.0)
    clean = jnp.zeros((1000, 8))
    twin = observe_like(jax.random.key(0), stars, theta, clean)
    np.testing.assert_array_equal(twin.observed, stars.observed)
    np.testing.assert_array_equal(np.isfinite(twin.values), stars.observed)
    np.testing.assert_array_equal(np.isnan(twin.birth_time), np.isnan(stars.birth_time))
    assert abs(np.nanstd(twin.values) / 0.05 - 1.0) < 0.03
    late = (twin.birth_time - 5.0) / stars.e_birth_time
    assert abs(np.nanstd(late) - 1.0) < 0.1


# --- many stars


@pytest.mark.parametrize("method", ["flow", "gaussian"])
def test_stars_that_tell_nothing_leave_the_prior(method):
    """An untrained network's posterior is the prior, of 3000 stars together too."""
    npe = new_npe(jax.random.key(0), PRIOR, ANY)
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


@pytest.mark.parametrize("method", ["flow", "gaussian"])
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


def measured(kind, n, truth=(-2.1, -2.6), dated=False, seed=0):
    """Stars of one galaxy by the shipped emulator."""
    key_theta, key_noise = jax.random.split(jax.random.key(seed))
    theta = priors.sample(key_theta, PRIOR, 2 * n).at[:, :2].set(jnp.array(truth))
    clean = jax.jit(cs.emulate)(theta, cs.load_emulator("tng-any"))
    measure = AnyErrors(kind, dated)
    inputs = np.asarray(measure.observe(key_noise, clean, theta[:, -1]))
    return as_table(inputs[np.isfinite(inputs).all(axis=1)][:n])


def test_the_default_is_the_network_for_any_star(shipped):
    assert isinstance(shipped.reader, AnyStarReader)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(shipped))
    usual = measured("complete", 3)
    assert choose_weights(usual) == "tng"
    assert choose_weights(measured("apogee", 3)) == "tng-any"
    assert choose_weights(usual._replace(errors=2 * usual.errors)) == "tng-any"
    assert choose_weights(measured("complete", 3, dated=True)) == "tng-any"


@pytest.mark.parametrize("kind", ["complete", "apogee", "galah"])
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


@pytest.mark.parametrize("method", ["flow", "gaussian"])
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


@pytest.mark.parametrize("method", ["flow", "gaussian"])
def test_stars_that_all_tell_too_little_give_the_prior(method, shipped):
    stars = poor_stars(300, [5], 0.3)
    for infer in (cs.infer_galaxy, stream_galaxy):
        galaxy = infer(jax.random.key(0), shipped, stars, method)
        assert galaxy.checks["weak_stars"] == 300
        np.testing.assert_allclose(galaxy.mean, (-2.3, -2.89), atol=0.003)
        sd = np.sqrt(np.diag(galaxy.covariance))
        np.testing.assert_allclose(sd, 0.3, rtol=0.01)


@pytest.mark.parametrize("truth", [(-2.1, -2.6), (-2.6, -3.3)])
# 3 sigma of chance and half a sigma of the network's error; posteriors of single stars
# with such errors are not Gaussian, which costs that method three sigma by itself
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


def test_a_value_in_a_gap_does_not_count(shipped):
    stars = measured("galah", 20)
    filled = np.where(stars.observed, stars.values, 9.0)
    draws = [
        cs.sample_stars(jax.random.key(0), shipped, s, 50)
        for s in (stars, stars._replace(values=filled))
    ]
    np.testing.assert_array_equal(*draws)
