"""Splines, flows and the posterior network, against closed forms."""

from dataclasses import replace
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flowjax.distributions import StandardNormal, Transformed
from jax.scipy.stats import norm
from scipy.stats import kstest, multivariate_normal

from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.npe import (
    REFERENCE,
    FreshStars,
    MafFlow,
    NpeConfig,
    SplineFlow,
    StoredStars,
    global_latent_log_prob,
    load_npe,
    log_prob,
    save_npe,
    train_npe,
)
from chemsbi_jax.npe.model import (
    latent_log_prob,
    sample_global_latents,
    sample_latents,
    star_keys,
)
from chemsbi_jax.npe.spline import (
    INTERVAL,
    make_spline,
    n_raw,
    spline_forward,
    spline_inverse,
)

N_BINS = 5
PRIOR = priors.paper_prior()
SMALL = SplineFlow(embedding=(24, 1), hidden=(24,), n_bins=4)
FLOWS = {"spline": SMALL, "maf": MafFlow(n_transforms=1)}


# as the package does it: everything that is no array is static
density, theta_density = eqx.filter_jit(latent_log_prob), eqx.filter_jit(log_prob)
global_density = eqx.filter_jit(global_latent_log_prob)


@eqx.filter_jit
def draw_latents(key, npe, values, n):
    return sample_latents(star_keys(key, len(values)), npe, values, n)


@eqx.filter_jit
def draw_global(key, npe, values, n):
    return sample_global_latents(star_keys(key, len(values)), npe, values, n)


@eqx.filter_jit
def call(method, *arrays):
    """A method of a flow, compiled."""
    return method(*arrays)


# --- the spline


@pytest.fixture
def splines(key):
    """A hundred different ones along the last axis."""
    return make_spline(2.0 * jax.random.normal(key, (n_raw(N_BINS), 100)))


@pytest.fixture
def points():
    """Inside the interval, and a little outside of it."""
    return jnp.broadcast_to(jnp.linspace(-5.0, 5.0, 201)[:, None], (201, 100))


def test_spline_and_back(splines, points):
    y, log_det = spline_forward(points, splines)
    x, log_det_back = spline_inverse(y, splines)
    slope = np.exp(np.asarray(log_det))
    # single precision of y, which a flat piece (slopes down to 1e-3) blows up in x
    error = np.abs(x - points)
    assert np.quantile(error * np.minimum(slope, 1.0), 0.999) < 1e-4
    assert np.median(error) < 2e-6
    plain = np.abs(log_det) < 1.0
    assert plain.mean() > 0.2
    gap = np.abs(log_det + log_det_back)[plain]
    assert np.quantile(gap, 0.999) < 5e-3


def test_spline_derivative_is_autodiffs(splines):
    x = jnp.linspace(-4.4, 4.4, 100)
    slopes = jax.jit(jax.grad(lambda x: spline_forward(x, splines)[0].sum()))(x)
    np.testing.assert_allclose(
        spline_forward(x, splines)[1], jnp.log(slopes), atol=1e-4
    )


def test_spline_rises(splines, points):
    y, _ = spline_forward(points, splines)
    assert (np.diff(y, axis=0) >= 0.0).all()


def test_spline_is_the_identity_outside(splines):
    x = jnp.broadcast_to(jnp.array([-50.0, -4.6, 4.6, 50.0])[:, None], (4, 100))
    for function in (spline_forward, spline_inverse):
        y, log_det = function(x, splines)
        np.testing.assert_array_equal(y, x)
        np.testing.assert_array_equal(log_det, 0.0)


def test_spline_is_continuous_at_its_ends(splines):
    near = INTERVAL - 1e-4
    for x in (near, -near):
        y, log_det = spline_forward(jnp.full(100, x), splines)
        np.testing.assert_allclose(y, x, atol=1e-3)  # slopes of up to ten
        assert np.median(np.abs(log_det)) < 0.05  # slope 1 at both ends


def test_a_new_spline_is_the_identity(points):
    spline = make_spline(jnp.zeros((n_raw(N_BINS), 100)))
    y, log_det = spline_forward(points, spline)
    np.testing.assert_allclose(y, points, atol=1e-5)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-4)  # SLOPE_OFFSET has four digits


# --- one flow


def shaken(flow, key, by: float = 0.4):
    """The flow with noise on its weights: a new one is too simple to test."""
    leaves, structure = jax.tree.flatten(flow)
    keys = jax.random.split(key, len(leaves))
    moved = [
        x + by * jax.random.normal(k, x.shape) if eqx.is_inexact_array(x) else x
        for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


@pytest.fixture(scope="module")
def star():
    return jax.random.normal(jax.random.key(8), (8,))


@pytest.fixture(scope="module", params=FLOWS.values(), ids=FLOWS)
def pair(request, star):
    """The flow of two parameters of one star; not trained, but not simple."""
    flow = request.param.build(jax.random.key(1), 2, 8, 0)
    by = 0.4 if isinstance(request.param, SplineFlow) else 0.1
    return shaken(flow, jax.random.key(2), by).given(star)


def test_flowjaxs_contract(star):
    flow = shaken(SMALL.build(jax.random.key(3), 4, 8, 2), jax.random.key(4))
    condition = jnp.concatenate([star, jnp.array([0.3, -0.7])])
    x = jnp.array([0.5, -1.0, 2.0, 0.1])
    assert flow.shape == (4,)
    assert flow.cond_shape == (10,)

    @jax.jit
    def both(x, condition):
        forward = flow.transform_and_log_det(x, condition)
        return forward, flow.inverse_and_log_det(forward[0], condition)

    (y, log_det), (x_again, log_det_back) = both(x, condition)
    np.testing.assert_allclose(x_again, x, atol=1e-4)
    assert float(log_det) == pytest.approx(-float(log_det_back), abs=1e-4)
    jacobian = jax.jit(jax.jacfwd(flow.transform))(x, condition)
    np.testing.assert_allclose(np.triu(jacobian, 1), 0.0)  # autoregressive
    expected = np.linalg.slogdet(np.asarray(jacobian, float))[1]
    assert float(log_det) == pytest.approx(expected, abs=1e-3)
    density = Transformed(StandardNormal((4,)), flow).log_prob(y, condition)
    assert float(density) == pytest.approx(
        float(norm.logpdf(x).sum() - log_det), abs=1e-3
    )


def test_a_new_spline_flow_is_the_identity(star):
    flow = SMALL.build(jax.random.key(3), 2, 8, 0).given(star)
    noise = jnp.array([[-2.0, 0.3], [1.0, 3.0]])
    np.testing.assert_allclose(flow.draw(noise, noise[:0]), noise, atol=1e-4)


def test_draws_have_the_density_of_their_noise(pair):
    """Change of variables: the density of draws, by autodiff through `draw`."""
    noise = jax.random.normal(jax.random.key(5), (2, 50))

    def by_jacobian(noise):
        one = partial(_draw_one, pair)
        jacobians = jax.vmap(jax.jacfwd(one), -1)(noise)
        change = jnp.linalg.slogdet(jacobians)[1]
        return jax.vmap(one, -1, -1)(noise), norm.logpdf(noise).sum(axis=0) - change

    values, expected = call(by_jacobian, noise)
    got = call(pair.log_prob, values, values[:0])
    np.testing.assert_allclose(got, expected, atol=2e-3)  # float32 through two splines


def _draw_one(flow, noise):
    return flow.draw(noise, noise[:0])


def test_density_is_one_in_total(pair):
    """On a grid that follows the draws; the tails beyond it hold below 1e-4."""
    draws = pair.draw(
        jax.random.normal(jax.random.key(6), (2, 4000)), jnp.zeros((0, 4000))
    )
    low, high = draws.min(axis=1), draws.max(axis=1)
    margin = 0.4 * (high - low)
    first, second = (
        jnp.linspace(a, b, 1200)
        for a, b in zip(low - margin, high + margin, strict=True)
    )
    rows = jnp.broadcast_to(second, (1200, 1200))
    found = np.exp(np.asarray(call(pair.log_prob_columns, first, rows), float))
    total = found.sum() * float((first[1] - first[0]) * (second[1] - second[0]))
    assert total == pytest.approx(1.0, abs=5e-3)  # kinks at the knots, and the tails


def test_columns_are_points(pair):
    first = jnp.linspace(-2.0, 2.0, 7)
    second = first[:, None] + jnp.linspace(-1.0, 1.0, 5)
    got = call(pair.log_prob_columns, first, second)
    assert got.shape == (7, 5)
    points = jnp.stack([jnp.broadcast_to(first[:, None], (7, 5)), second]).reshape(
        2, -1
    )
    expected = call(pair.log_prob, points, points[:0]).reshape(7, 5)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


# --- training on a problem with a known posterior

SIGMA = 0.05
MIX = 0.06 * jax.random.normal(jax.random.key(77), (8, 6))  # dex per latent


def linear(mix, theta):
    """Abundances that are linear in the latents."""
    return priors.to_normal(PRIOR, theta) @ mix.T


def closed_form(values):
    """Mean (star, 6) and covariance of the latents: all is Gaussian."""
    mix = np.asarray(MIX, float)
    covariance = np.linalg.inv(np.eye(6) + mix.T @ mix / SIGMA**2)
    return np.asarray(values, float) @ mix @ covariance / SIGMA**2, covariance


@pytest.fixture(scope="module")
def trained():
    config = NpeConfig(
        flow=SMALL,
        batch_size=256,
        learning_rate=5e-3,
        n_held_out=2000,
        fit=FitConfig(n_epochs=8, steps_per_epoch=250),
    )
    stars = FreshStars(jax.tree_util.Partial(linear, MIX), PRIOR)
    return train_npe(jax.random.key(0), stars, PRIOR, config, quiet=True)[0]


@pytest.fixture(scope="module")
def test_stars():
    key_latent, key_noise = jax.random.split(jax.random.key(123))
    latent = jax.random.normal(key_latent, (2000, 6))
    noise = SIGMA * jax.random.normal(key_noise, (2000, 8))
    return latent, latent @ MIX.T + noise


def test_density_reaches_the_closed_form(trained, test_stars):
    latent, values = test_stars
    mean, covariance = closed_form(values)
    centred = multivariate_normal(np.zeros(6), covariance)
    expected = centred.logpdf(np.asarray(latent) - mean)
    got = np.asarray(density(trained, latent, values))
    # mean of the difference: what the network lost, in nats; 0.05 is 1.2 % a parameter
    assert 0.0 < np.mean(expected - got) < 0.05
    prior = norm.logpdf(latent).sum(axis=1).mean()
    assert got.mean() > prior + 3.0  # the data do tell a lot


def test_going_on_with_the_galaxy_alone(trained, test_stars):
    """The density of the galaxy gains; the flow of the stars keeps its bits."""
    stars = FreshStars(jax.tree_util.Partial(linear, MIX), PRIOR)
    config = NpeConfig(
        flow=SMALL,
        batch_size=1024,
        learning_rate=1e-3,
        n_held_out=2000,
        fit=FitConfig(n_epochs=4, steps_per_epoch=250),
    )
    # a start with something to gain: weights that are 3 % off
    off = jax.tree.map(
        lambda x: 1.03 * x if eqx.is_inexact_array(x) else x, trained.galaxy_flow
    )
    start = eqx.tree_at(lambda npe: npe.galaxy_flow, trained, off)
    more, _ = train_npe(
        jax.random.key(1),
        stars,
        PRIOR,
        config,
        start=start,
        galaxy_only=True,
        quiet=True,
    )
    jax.tree.map(np.testing.assert_array_equal, more.star_flow, trained.star_flow)
    jax.tree.map(np.testing.assert_array_equal, more.reader, trained.reader)
    latent, values = test_stars
    before, after = (
        np.asarray(global_latent_log_prob(npe, latent[:, :2], values)).mean()
        for npe in (start, more)
    )
    mean, covariance = closed_form(values)
    best = multivariate_normal(np.zeros(2), covariance[:2, :2])
    best = best.logpdf(np.asarray(latent)[:, :2] - mean[:, :2]).mean()
    assert before < after < best


def test_draws_have_the_moments_of_the_closed_form(trained, test_stars):
    values = test_stars[1][:50]
    mean, covariance = closed_form(values)
    draws = draw_latents(jax.random.key(3), trained, values, 2000)
    assert draws.shape == (50, 2000, 6)
    pull = (np.asarray(draws).mean(axis=1) - mean) / np.sqrt(np.diag(covariance))
    assert np.sqrt(np.mean(pull**2)) < 0.15  # 0.05 nats allow 0.13
    centred = np.asarray(draws) - np.asarray(draws).mean(axis=1, keepdims=True)
    got = np.einsum("nda,ndb->ab", centred, centred) / (50 * 1999)
    scale = np.sqrt(np.outer(np.diag(covariance), np.diag(covariance)))
    np.testing.assert_allclose(got / scale, covariance / scale, atol=0.1)


def test_density_in_theta(trained, test_stars):
    """The prior of theta times the gain over the prior in latents."""
    latent, values = (x[:100] for x in test_stars)
    theta = jax.jit(priors.from_normal)(PRIOR, latent)
    got = theta_density(trained, theta, values)
    gain = density(trained, latent, values) - norm.logpdf(latent).sum(axis=1)
    expected = jax.jit(priors.log_prob)(PRIOR, theta) + gain
    # to_normal of a truncated normal in single precision
    np.testing.assert_allclose(got, expected, atol=0.02)
    one = theta_density(trained, theta[3], values[3])
    assert one.shape == ()
    assert float(one) == pytest.approx(float(got[3]), abs=1e-4)


def test_the_global_parameters_are_the_galaxy_flow(trained, test_stars):
    """All six integrated over the local four (importance sampling) leave the pair."""
    latent, values = (x[0] for x in test_stars)
    n = 100_000
    mean, covariance = closed_form(values[None])
    spread = 1.5 * np.linalg.cholesky(covariance[2:, 2:])
    # wider than the local posterior, around its mean given the pair
    slope = covariance[2:, :2] @ np.linalg.inv(covariance[:2, :2])
    centre = mean[0, 2:] + slope @ (np.asarray(latent[:2]) - mean[0, :2])
    noise = jax.random.normal(jax.random.key(9), (n, 4))
    rest = centre + noise @ spread.T
    both = jnp.concatenate([jnp.broadcast_to(latent[:2], (n, 2)), rest], axis=1)
    found = density(trained, both, jnp.broadcast_to(values, (n, 8)))
    proposal = norm.logpdf(noise).sum(axis=1) - np.linalg.slogdet(spread)[1]
    weights = np.exp(np.asarray(found - proposal, float))
    expected = np.exp(float(global_density(trained, latent[:2], values)))
    error = weights.std() / n**0.5
    assert weights.mean() == pytest.approx(expected, abs=5 * error + 1e-3 * expected)
    assert error < 0.02 * expected


def test_both_ways_to_draw_the_pair_agree(trained, test_stars):
    values = test_stars[1][:50]  # as above: nothing new to compile
    pair = draw_global(jax.random.key(1), trained, values, 2000)[0]
    everything = draw_latents(jax.random.key(2), trained, values, 2000)[0, :, :N_GLOBAL]
    for one, other in zip(pair.T, everything.T, strict=True):
        assert kstest(np.asarray(one), np.asarray(other)).pvalue > 1e-4


def test_a_star_knows_nothing_of_the_others(trained, test_stars):
    values, key = test_stars[1][:50], jax.random.key(1)
    draws = draw_latents(key, trained, values, 2000)
    others = values.at[:2].add(1.0).at[3:].set(jnp.nan)
    changed = draw_latents(key, trained, others, 2000)
    np.testing.assert_array_equal(changed[2], draws[2])
    three = draw_latents(key, trained, values[:3], 2000)
    np.testing.assert_allclose(three, draws[:3], atol=1e-5)  # compiled anew
    assert not np.allclose(draws[0], draws[1])


def test_draws_stay_within_the_prior(trained, test_stars):
    """Of stars that no galaxy has, too."""
    values = jnp.concatenate([test_stars[1][:25], 3.0 * test_stars[1][:25]])
    draws = draw_latents(jax.random.key(1), trained, values, 2000)
    theta = jax.jit(priors.from_normal)(PRIOR, draws)
    assert np.isfinite(jax.jit(priors.log_prob)(PRIOR, theta)).all()


def test_same_bits_from_disk(trained, test_stars, tmp_path):
    save_npe(tmp_path, trained, NpeConfig(flow=SMALL), {"seed": 0})
    again = load_npe(tmp_path)
    assert again.prior == trained.prior or (
        priors.to_spec(again.prior) == priors.to_spec(trained.prior)
    )
    assert float(again.reader.sigma) == float(trained.reader.sigma)
    latent, values = test_stars
    np.testing.assert_array_equal(
        density(again, latent, values), density(trained, latent, values)
    )


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (('"spline"', '"planar"'), "planar"),
        (('"n_bins"', '"n_knots"'), "n_knots"),
        (('"Uniform"', '"Cauchy"'), "Cauchy"),
    ],
)
def test_weights_of_an_unknown_flow_or_prior(edit, told, trained, tmp_path):
    save_npe(tmp_path, trained, NpeConfig(flow=SMALL), {})
    path = tmp_path / "npe.json"
    path.write_text(path.read_text().replace(*edit))
    with pytest.raises(WeightsError, match="train_npe.py") as error:
        load_npe(tmp_path)
    assert told in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.slow
def test_the_reference_preset_trains(test_stars, tmp_path):
    latent = jax.random.normal(jax.random.key(11), (5000, 6))
    stars = StoredStars(latent, (latent @ MIX.T).at[:50].set(jnp.nan))  # 1 % no star
    short = replace(
        REFERENCE,
        n_held_out=500,
        learning_rate=5e-3,
        fit=FitConfig(n_epochs=3, steps_per_epoch=100),
    )
    assert REFERENCE.flow == MafFlow(hidden=8, n_transforms=4)
    npe, result = train_npe(jax.random.key(0), stars, PRIOR, short, quiet=True)
    of_prior = 6 * 0.5 * np.log(2 * np.pi * np.e)  # nats of standard-normal latents
    assert result.held_out_loss[-1] < of_prior - 1.0
    assert np.isfinite(result.train_loss).all()
    save_npe(tmp_path, npe, short, {})
    again = load_npe(tmp_path)
    latent, values = (x[:20] for x in test_stars)
    np.testing.assert_array_equal(
        density(again, latent, values), density(npe, latent, values)
    )


# --- shipped weights


@pytest.mark.parametrize("name", ["tng", "tng-legacy"])
def test_shipped_networks_load(name):
    npe = load_npe(name)
    assert priors.to_spec(npe.prior) == priors.to_spec(PRIOR)
    assert float(npe.reader.sigma) == pytest.approx(0.05)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(npe))
