"""The posterior network of one star, against closed forms."""

from dataclasses import replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
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

PRIOR = priors.paper_prior()
SMALL = SplineFlow(embedding=(24, 1), hidden=(24,), n_bins=4)


# as the package does it: everything that is no array is static
density, theta_density = eqx.filter_jit(latent_log_prob), eqx.filter_jit(log_prob)
global_density = eqx.filter_jit(global_latent_log_prob)


@eqx.filter_jit
def draw_latents(key, npe, values, n):
    return sample_latents(star_keys(key, len(values)), npe, values, n)


@eqx.filter_jit
def draw_global(key, npe, values, n):
    return sample_global_latents(star_keys(key, len(values)), npe, values, n)


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


@pytest.mark.thorough
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
    latent, values = test_stars  # all of them: nothing new to compile
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
    with pytest.raises(WeightsError, match="chemsbi train npe") as error:
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
