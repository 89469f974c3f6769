"""The check of `Stars` at the border: one meaning for every method, or a refusal."""

import multiprocessing

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest

import chemsbi_jax as cs
from chemsbi_jax.errors import CatalogError, ForkedProcessError, InputError
from chemsbi_jax.galaxy import stream_galaxy
from chemsbi_jax.galaxy.infer import infer_prefixes
from chemsbi_jax.galaxy.star_checks import check_stars
from chemsbi_jax.npe.measurements import AnyErrors
from chemsbi_jax.priors import Prior
from helpers.networks import untrained
from helpers.quadratic_galaxy import model

MATRIX = 0.5 * np.random.default_rng(4).normal(size=(6, 8))
FE_H, O_FE = cs.ABUNDANCES.index("fe_h"), cs.ABUNDANCES.index("o_fe")


@pytest.fixture(scope="module")
def networks():
    """An untrained network for any star, and a linear model."""
    prior = Prior(*(dist.Normal(0.0, 1.0) for _ in range(6)))
    npe = untrained(prior, measure=AnyErrors())
    return npe, model(MATRIX)


def made_stars(n=4):
    latent = np.random.default_rng(1).normal(size=(n, 6))
    return cs.Stars.complete(latent @ MATRIX, 0.1)


def changed(field, row, content):
    """Four stars, one cell of which is another."""
    stars = made_stars()
    array = getattr(stars, field).copy()
    array[row] = content
    return stars._replace(**{field: array})


def test_good_stars_are_not_changed():
    stars = made_stars()
    stars = stars._replace(
        birth_time=np.array([1.0, 13.0, np.nan, 5.0]),
        e_birth_time=np.array([0.5, 1.0, np.nan, 2.0]),
    )
    checked = check_stars(stars)
    for one, other in zip(checked[:6], stars[:6], strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype
    assert checked.fe_covariance is None


def test_lists_jax_arrays_masked_arrays_and_small_floats_are_accepted():
    stars = made_stars()
    wanted = check_stars(stars)
    as_lists = cs.Stars(*(column.tolist() for column in stars[:6]))
    as_jax = cs.Stars(*map(jnp.asarray, stars[:5]), stars.ids)
    as_float32 = cs.Stars(*(x.astype(np.float32) for x in stars[:5]), range(4))
    for other in (as_lists, as_jax, as_float32):
        checked = check_stars(other)
        for one, column in zip(checked[:6], wanted[:6], strict=True):
            assert one.dtype.kind == column.dtype.kind
        np.testing.assert_allclose(checked.values, wanted.values, rtol=1e-6)
        assert checked.observed.all()
    hidden = np.zeros((4, 8), bool)
    hidden[2, 3] = True
    masked = stars._replace(values=np.ma.array(stars.values, mask=hidden))
    with pytest.raises(CatalogError, match="row 3"):
        check_stars(masked)
    checked = check_stars(masked._replace(observed=~hidden))
    assert np.isnan(checked.values[2, 3])


def test_numbers_in_cells_that_are_not_observed_are_removed():
    observed = np.ones((4, 8), bool)
    observed[1, O_FE] = False
    stars = made_stars()._replace(observed=observed)
    stars.values[1, O_FE], stars.errors[1, O_FE] = -9999.0, -1.0
    checked = check_stars(stars)
    assert np.isnan([checked.values[1, O_FE], checked.errors[1, O_FE]]).all()
    assert np.isfinite(checked.values).sum() == 31
    assert stars.values[1, O_FE] == -9999.0  # the caller's arrays stay


@pytest.mark.parametrize(
    ("field", "content", "problem"),
    [
        ("values", np.nan, "value is nan but `observed` is True"),
        ("values", np.inf, "value is inf"),
        ("values", -9999.0, "-9999 dex is no abundance"),
        ("values", 9.99, "9.99 dex is no abundance"),
        ("values", 99.99, "99.99 dex is no abundance"),
        ("errors", np.nan, "value has no error"),
        ("errors", 0.0, "error is 0 dex; an error must be positive"),
        ("errors", -1.0, "error is -1 dex; an error must be positive"),
        ("errors", np.inf, "error is inf dex; an error must be finite"),
    ],
)
def test_cells_that_can_not_be_used_are_named(field, content, problem):
    stars = changed(field, (2, FE_H), content)
    with pytest.raises(CatalogError) as error:
        check_stars(stars, "mine.csv")
    text = str(error.value)
    assert text.startswith("mine.csv, row 3 (id '2'), column 'fe_h'")
    assert problem in text
    assert "`observed` to False" in text


def test_birth_times_that_can_not_be_used_are_named():
    stars = made_stars()
    times, errors = np.full(4, 5.0), np.full(4, 1.0)
    for bad, column, problem in (
        ((np.full(4, 5100.0), errors), "birth_time", "no time between 0 and 13.8 Gyr"),
        ((-times - 0.1, errors), "birth_time", "no time between"),
        ((times, -errors), "e_birth_time", "must be positive"),
        ((times, 0.0 * errors), "e_birth_time", "must be positive"),
    ):
        with pytest.raises(CatalogError, match=problem) as error:
            check_stars(stars._replace(birth_time=bad[0], e_birth_time=bad[1]))
        assert f"column {column!r}" in str(error.value)
    # noise may carry a birth time out of the range
    early = stars._replace(birth_time=np.full(4, -1.0), e_birth_time=errors)
    np.testing.assert_array_equal(check_stars(early).birth_time, early.birth_time)


def test_birth_times_without_errors_are_unknown_and_that_is_said():
    stars = made_stars()._replace(birth_time=np.full(4, 5.0))
    with pytest.warns(UserWarning, match=r"row 1 \(id '0'\).* not used \(4 stars\)"):
        checked = check_stars(stars)
    assert np.isnan(checked.birth_time).all()
    lonely = check_stars(made_stars()._replace(e_birth_time=np.ones(4)))
    assert np.isnan(lonely.e_birth_time).all()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"values": np.zeros((4, 7))}, r"shape \(star, 8\).*\(4, 7\)"),
        ({"values": np.zeros(8)}, r"got shape \(8,\)"),
        ({"values": np.zeros((0, 8))}, "at least 1 star"),
        ({"values": [[0.0] * 8, [0.0] * 7]}, "values is no array"),
        ({"values": np.zeros((4, 8), complex)}, "real numbers as values"),
        ({"values": np.full((4, 8), "0.1")}, "real numbers as values"),
        ({"errors": np.full((3, 8), 0.1)}, "errors of shape"),
        ({"errors": 0.05}, "errors of shape"),
        ({"errors": None}, "real numbers as errors"),
        ({"observed": np.ones((4, 7), bool)}, "observed as Booleans"),
        ({"observed": np.full((4, 8), 2)}, "observed as Booleans"),
        ({"observed": np.full((4, 8), "yes")}, "observed as Booleans"),
        ({"birth_time": np.zeros(3)}, "birth_time of shape"),
        ({"e_birth_time": np.zeros((4, 1))}, "e_birth_time of shape"),
        ({"ids": np.arange(5)}, "expected 4 ids"),
    ],
)
def test_shapes_and_types_that_can_not_be_used_are_refused(fields, problem):
    with pytest.raises(InputError, match=problem):
        check_stars(made_stars()._replace(**fields))


def test_further_fields_stay():
    stars = made_stars()._replace(fe_covariance=np.ones(4))
    np.testing.assert_array_equal(check_stars(stars).fe_covariance, np.ones(4))
    for bad in (np.ones(3), np.ones((4, 7)), -np.ones(4), np.full((4, 8), np.inf)):
        with pytest.raises(InputError, match="fe_covariance"):
            check_stars(stars._replace(fe_covariance=bad))
    plain = made_stars()
    assert check_stars(plain).fe_covariance is None
    assert plain.take([0, 2]).fe_covariance is None
    assert len(plain.take([0, 2]).values) == 2


def test_every_entrance_checks(networks):
    npe, forward = networks
    stars, key = changed("errors", (2, FE_H), -1.0), jax.random.key(0)
    for method in ("flow", "gaussian", "exact", "robust"):
        with pytest.raises(CatalogError, match="must be positive"):
            cs.infer_galaxy(key, npe, stars, method, forward=forward)
    for enter in (
        lambda: cs.sample_stars(key, npe, stars),
        lambda: cs.run_nuts(key, forward, stars, npe),
        lambda: infer_prefixes(key, npe, stars),
        lambda: stream_galaxy(key, npe, stars),
    ):
        with pytest.raises(CatalogError, match="must be positive"):
            enter()


@pytest.mark.thorough
def test_numbers_that_are_not_observed_change_no_result(networks):
    npe, _ = networks
    gap = made_stars()
    gap.observed[:, O_FE] = False
    number = gap._replace(values=gap.values.copy())
    gap.values[:, O_FE], number.values[:, O_FE] = np.nan, -9999.0
    key = jax.random.key(0)
    draws = [cs.sample_stars(key, npe, stars, 5) for stars in (gap, number)]
    np.testing.assert_array_equal(*draws)
    means = [cs.infer_galaxy(key, npe, s, "gaussian").mean for s in (gap, number)]
    np.testing.assert_array_equal(*means)


def _infer_in_child(queue, key):
    stars = made_stars()
    try:
        cs.sample_stars(key, None, stars)
    except Exception as error:  # of any kind, for the parent to judge
        queue.put(type(error).__name__ + str(error))


def test_forked_processes_are_refused():
    jnp.zeros(3).block_until_ready()  # JAX has started
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    key = jax.random.key(0)  # a forked process may hang where it makes one
    child = context.Process(target=_infer_in_child, args=(queue, key))
    child.start()
    text = queue.get(timeout=60)
    child.join(60)
    assert text.startswith(ForkedProcessError.__name__)
    assert "spawn" in text
