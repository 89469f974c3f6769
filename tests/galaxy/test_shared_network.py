"""The shipped network of shared errors: calibration, held priors, and its refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats as distributions

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.errors import InputError, WeightsError
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy.hierarchical import mock, moments, network, posterior, trained
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import Model, make_stars
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes

N, ERROR = 100, 0.05
N_GALAXIES, N_DRAWS = 360, 100  # draws of each galaxy
TAIL = 1e-3  # probability that a right network fails a test
INSIDE = 67 / 101  # share of the ranks 0 to 100 within 34 of the middle
SETTINGS = h.SharedErrors()


@pytest.fixture(scope="module")
def shipped():
    return h.load_shared_network()


@pytest.fixture(scope="module")
def forward():
    return forward_with_slopes(load_yield_emulator())


@pytest.fixture(scope="module")
def model(forward, shipped):
    return Model(forward, shipped.prior)


@pytest.fixture(scope="module")
def layout():
    return make_layout(SETTINGS, SHARED_FACTORS)


def table_of(n, prior):
    """Stars with errors of 0.05 dex and no birth times, as `Star` without values."""
    unknown = np.full(n, np.nan)
    observed = np.ones((n, 8), bool)
    empty = cs.Stars(
        np.zeros((n, 8)), np.full((n, 8), ERROR), observed, unknown, unknown,
        np.arange(n).astype(str),
    )  # fmt: skip
    return empty, make_stars(empty, SETTINGS, prior)


@pytest.fixture(scope="module")
def galaxies(model, layout, shipped):
    """True latents, and stars, of galaxies whose psi is drawn from its prior."""
    _, like = table_of(N, shipped.prior)

    @jax.jit
    def one(key):
        key_psi, key_stars = jax.random.split(key)
        psi = jax.random.normal(key_psi, layout.scale.shape)
        psi = jnp.clip(psi, -mock.LIMIT, mock.LIMIT)
        width = SETTINGS.outlier_width
        return psi, *mock.draw_stars(key_stars, model, layout, psi, like, width)

    return jax.lax.map(one, jax.random.split(jax.random.key(11), N_GALAXIES))


def as_table(galaxies, i, prior):
    _, stars, _ = jax.tree.map(lambda x: np.asarray(x[i]), galaxies)
    empty, _ = table_of(N, prior)
    return empty._replace(values=stars.values[:, :-1].astype(float))


@pytest.fixture(scope="module")
def draws(galaxies, shipped):
    """Draws of psi for each galaxy (galaxy, draw, psi)."""
    psi, stars, counts = galaxies
    ratio = jnp.ones(psi.shape[1])

    @jax.jit
    def one(row):
        summary = network.summarise(shipped.network, *row[1:])
        return network.sample(row[0], shipped.network, summary, ratio, N_DRAWS)

    keys = jax.random.split(jax.random.key(1), len(psi))
    return np.asarray(jax.lax.map(one, (keys, stars, counts)))


def ranks(psi, draws):
    """Share of the draws below the truth (galaxy, psi)."""
    return (draws < np.asarray(psi)[:, None]).mean(axis=1)


def n_inside(rank):
    """Galaxies whose truth is inside the central 68 %, of each parameter."""
    return (np.abs(rank - 0.5) < 0.34).sum(axis=0)


def test_regions_hold_the_truth_as_often_as_they_say(galaxies, draws, shipped):
    """Galaxies beyond the training; binomial bands that all meet in 99.9 % of cases."""
    rank = ranks(galaxies[0], draws)
    free = np.flatnonzero(np.asarray(shipped_scales(shipped)) > 0.0)
    tail = TAIL / (2 * len(free))
    low, high = distributions.binom.ppf([tail, 1.0 - tail], len(rank), INSIDE)
    inside = n_inside(rank)[free]
    assert ((inside >= low) & (inside <= high)).all()
    p = [distributions.kstest(rank[:, i], "uniform").pvalue for i in free]
    assert min(p) > TAIL / len(p)
    # the stars say something: the prior's width is 1
    assert draws.std(axis=1).mean(axis=0)[0] < 0.8


def test_a_narrower_posterior_would_fail(galaxies, draws):
    """65 % of the width: the test above would fail for both galaxy parameters."""
    middle = draws.mean(axis=1, keepdims=True)
    rank = ranks(galaxies[0], middle + 0.65 * (draws - middle))
    low = distributions.binom.ppf(TAIL / (2 * draws.shape[2]), len(rank), INSIDE)
    assert (n_inside(rank)[:2] < low).all()


def shipped_scales(shipped):
    return [shipped.scales[name] for name in psi_names(SHARED_FACTORS)]


def test_order_and_filling_up_do_not_matter(galaxies, shipped, layout):
    _, stars, _ = jax.tree.map(lambda x: np.asarray(x[0]), galaxies)
    ratio = np.ones(len(layout.scale), np.float32)
    one = posterior.padded(stars, layout, ratio)
    rows = np.random.default_rng(0).permutation(N)
    two = posterior.padded(jax.tree.map(lambda x: x[rows], stars), layout, ratio)
    assert len(one.counts) > N
    first = network.summarise(shipped.network, one.stars, one.counts)
    second = network.summarise(shipped.network, two.stars, two.counts)
    plain = network.summarise(shipped.network, stars, jnp.ones(N))
    np.testing.assert_allclose(first, second, atol=1e-4)
    np.testing.assert_allclose(first, plain, atol=1e-4)


def test_the_predictive_check_reads_the_mean_readings(galaxies, shipped):
    _, stars, _ = jax.tree.map(lambda x: np.asarray(x[0]), galaxies)
    summary = network.summarise(shipped.network, stars, jnp.ones(N))
    inputs = network.inputs_of(shipped.network, stars)[:, : mock.N_READINGS]
    expected = np.asarray(inputs).mean(axis=0)[moments.PLACES]
    np.testing.assert_allclose(summary[posterior.MEANS], expected, atol=1e-5)


@pytest.mark.thorough
def test_a_small_p_is_that_of_many_mock_galaxies(galaxies, shipped, model, layout):
    _, stars, _ = jax.tree.map(lambda x: np.asarray(x[0]), galaxies)
    ratio, far = np.ones(len(layout.scale), np.float32), stars.values + 0.5 * stars.seen
    galaxy = posterior.padded(stars._replace(values=far), layout, ratio)
    psi = np.zeros((8, len(ratio)))
    of = shipped.network, model, galaxy, psi, SETTINGS.outlier_width
    p = posterior.predictive_check(jax.random.key(4), *of).p
    n = posterior.MAX_CHECKS * posterior.N_CHECKED // 2  # half makes the directions
    assert p == pytest.approx(2.0 / (1 + n))  # 2 / 129 with the first part alone


def test_any_number_of_draws(galaxies, shipped, layout):
    _, stars, _ = jax.tree.map(lambda x: np.asarray(x[0]), galaxies)
    ratio = np.ones(len(layout.scale), np.float32)
    galaxy = posterior.padded(stars, layout, ratio)
    n = posterior.N_AT_ONCE + 7
    draws = posterior.draw_psi(jax.random.key(3), shipped.network, galaxy, n)
    assert draws.shape == (n, len(ratio))
    assert len(np.unique(draws[:, 0])) > 0.99 * n  # no part twice


@pytest.fixture(scope="module")
def found(galaxies, shipped, forward):
    stars = as_table(galaxies, 0, shipped.prior)
    key = jax.random.key(3)
    return h.hierarchical_posterior(key, shipped, forward, stars, n_draws=1000)


@pytest.mark.thorough
def test_galaxies_of_the_model_pass_the_check(found):
    assert found.is_converged
    assert found.misfit is not None
    assert len(found.posterior.checks["outliers"]) <= 5
    assert not found.misfit.is_flagged
    assert 0.0 <= found.budget["all"]["alpha_imf"] <= 1.0
    assert found.budget["all"]["alpha_imf"] > 0.2


@pytest.mark.thorough
def test_held_blocks_make_it_narrower(found, galaxies, shipped, forward):
    stars = as_table(galaxies, 0, shipped.prior)
    settings = h.SharedErrors(hold=("yields", "zero_points", "scatter"))
    held = h.hierarchical_posterior(
        jax.random.key(3), shipped, forward, stars, settings, n_draws=1000
    )
    assert (held.posterior.sd < 0.9 * found.posterior.sd).any()
    assert (held.posterior.sd < 1.1 * found.posterior.sd).all()
    fixed = held.draws[:, held.names.index("sn2_o")]
    assert not fixed.any()


@pytest.mark.slow
def test_nuts_gives_the_interval_and_its_checks(galaxies, shipped, forward):
    """Six stars say little, so that NUTS and the network agree."""
    stars = as_table(galaxies, 0, shipped.prior).take(slice(6))
    by = {}
    for sampler in ("network", "nuts"):
        by[sampler] = h.hierarchical_posterior(
            jax.random.key(3),
            shipped,
            forward,
            stars,
            h.SharedErrors(sampler=sampler),
        ).posterior
    checks = by["nuts"].checks
    assert checks["sampler"] == "nuts"
    assert checks["r_hat"] < 1.1
    assert checks["n_effective"] > 20.0
    assert "n_nuts" not in checks  # all of the stars
    away = (by["nuts"].mean - by["network"].mean) / by["network"].sd
    np.testing.assert_allclose(away, 0.0, atol=0.7)
    np.testing.assert_allclose(by["nuts"].sd / by["network"].sd, 1.0, atol=0.4)


def test_stars_of_no_galaxy_are_refused(galaxies, shipped, forward):
    stars = as_table(galaxies, 0, shipped.prior)
    odd = stars._replace(values=stars.values + 1.5 * (np.arange(8) % 2))
    found = h.hierarchical_posterior(
        jax.random.key(3), shipped, forward, odd, n_draws=500
    )
    assert not found.is_converged
    assert "alpha_imf" not in found.summary()
    assert "unlike" in found.why_not()


@pytest.mark.thorough
def test_a_random_subset_of_many_stars(galaxies, shipped, forward):
    stars = as_table(galaxies, 1, shipped.prior)
    found = h.hierarchical_posterior(
        jax.random.key(3), shipped, forward, stars, n_draws=500, most_stars=40
    )
    assert found.posterior.checks["n_subset"] == 40


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        (h.SharedErrors(yields=1.0), "sn2_"),
        (h.SharedErrors(zero_points=0.2), "zero_point"),
        (h.SharedErrors(outlier_share=0.2), "outlier_share"),
        (h.SharedErrors(outlier_width=2.0), "outlier_width"),
        (h.SharedErrors(outlier_share=0.2, hold=("outliers",)), "outlier_share"),
    ],
)
def test_priors_that_were_not_trained(settings, says, shipped):
    layout = make_layout(settings, SHARED_FACTORS)
    with pytest.raises(InputError, match=says):
        trained.prior_ratio(shipped, settings, layout, SHARED_FACTORS)


def test_the_order_of_the_parameters_survives_a_pytree(shipped):
    """With jax_enable_x64, the arguments of public functions are mapped so."""
    again = jax.tree.map(lambda x: x, shipped)
    assert tuple(again.scales) == psi_names(SHARED_FACTORS)


def test_weights_come_back_the_same(shipped, tmp_path):
    """Of a network whose first weights had another key, too: orders are saved."""
    size = network.NetworkSize(last_width=shipped.network.head.width_size)
    trained.save_shared_network(tmp_path, shipped, size, {"yields": "tng"})
    again = h.load_shared_network(tmp_path)
    for a, b in zip(
        jax.tree.leaves(shipped.network), jax.tree.leaves(again.network), strict=True
    ):
        if isinstance(a, jax.Array):
            np.testing.assert_array_equal(a, b)
    assert again.scales == shipped.scales
    (tmp_path / "shared" / "shared_errors.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="train"):
        h.load_shared_network(tmp_path)


def test_mock_stars_have_the_population(model, layout, shipped):
    """Moments of the birth times, which no emulator changes."""
    n = 4000
    _, like = table_of(n, shipped.prior)
    seen = jnp.asarray(like.seen).at[:, -1].set(1.0)
    like = like._replace(seen=seen, variance=like.variance * 0.0 + 1e-6)
    psi = jnp.zeros_like(layout.scale)
    stars, born = jax.jit(mock.draw_stars)(
        jax.random.key(0), model, layout, psi, like, 0.5
    )
    assert np.asarray(born).mean() > 0.95
    expected = shipped.prior[-1]
    draws = np.asarray(stars.values[:, -1])[np.asarray(born) > 0.0]
    np.testing.assert_allclose(draws.mean(), float(expected.mean), rtol=0.05)
    np.testing.assert_allclose(draws.std(), float(expected.variance) ** 0.5, rtol=0.05)
