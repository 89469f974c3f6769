"""Stars with gaps, different errors and birth times: reading and measuring."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.errors import CatalogError
from chemsbi_jax.npe import AnyErrors
from chemsbi_jax.npe.measurements import APOGEE, GALAH
from chemsbi_jax.npe.noise import observe_like
from chemsbi_jax.npe.reading import as_table
from helpers.gappy_stars import table, with_gaps
from helpers.networks import untrained

PRIOR = priors.paper_prior()


@pytest.fixture(scope="module")
def readings():
    """Correlated noise-free readings, and their observation by "any"."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(9, 9)) * 0.2
    clean = rng.normal(size=(3000, 9)) @ mix.T + np.array([0.1] * 8 + [7.0])
    inputs = jax.jit(AnyErrors().observe)(
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
    basis, read = np.asarray(reader.basis, float), eqx.filter_jit(reader)
    for row in readings[1][:40].astype(float):
        value, error = split(row)
        seen = error > 0
        z = ((value - reader.centre) / reader.scale)[seen]
        sigma = (error / np.asarray(reader.scale))[seen]
        tells = basis[seen].T / sigma**2
        covariance = np.linalg.inv(np.eye(9) + tells @ basis[seen])
        variance = np.diag(covariance)
        known = covariance @ tells @ z / np.sqrt(1 - variance + 1e-3)
        found = np.asarray(read(jnp.asarray(row, jnp.float32)))
        np.testing.assert_allclose(found[:9], known, atol=2e-3)
        expected = 0.3 * np.log(variance + 1e-3) + 1.0
        np.testing.assert_allclose(found[9:18], expected, atol=2e-3)


def test_one_star_and_a_table_of_stars_read_alike(reader, readings):
    rows, read = jnp.asarray(readings[1][:6]), eqx.filter_jit(reader)
    together = read(rows)
    assert together.shape == (45, 6) == (reader.n_features, 6)
    for i in range(6):
        np.testing.assert_allclose(together[:, i], read(rows[i]), atol=1e-5)


def test_a_star_without_readings_is_the_prior(reader):
    blank = np.asarray(reader(reader.blank()))
    np.testing.assert_allclose(blank[:9], 0.0)  # the mean of the prior
    np.testing.assert_allclose(blank[9:18], 0.3 * np.log(1.001) + 1.0, rtol=1e-5)
    np.testing.assert_allclose(blank[18:], 0.0)


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
    npe = untrained(PRIOR)
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
    observe = jax.jit(AnyErrors().observe)
    inputs = observe(jax.random.key(0), abundances, jnp.full(50, 5.0))
    good = np.isfinite(np.asarray(inputs)).all(axis=1)
    assert list(np.flatnonzero(~good)) == [7]


def test_observe_like_keeps_errors_and_gaps():
    stars = with_gaps(table(1000))
    theta = jnp.full((1000, 6), 5.0)
    clean = jnp.zeros((1000, 8))
    twin = observe_like(jax.random.key(0), stars, theta, clean)
    np.testing.assert_array_equal(twin.observed, stars.observed)
    np.testing.assert_array_equal(np.isfinite(twin.values), stars.observed)
    np.testing.assert_array_equal(np.isnan(twin.birth_time), np.isnan(stars.birth_time))
    assert abs(np.nanstd(twin.values) / 0.05 - 1.0) < 0.03
    late = (twin.birth_time - 5.0) / stars.e_birth_time
    assert abs(np.nanstd(late) - 1.0) < 0.1
