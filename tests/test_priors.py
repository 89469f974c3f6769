"""One prior object: latents, bounds, densities, its description, the mixture."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from scipy import stats

from chemsbi_jax import priors
from chemsbi_jax.constants import PARAMETERS

PRIORS = {
    "paper": priors.paper_prior(),
    "wide": priors.wide_prior(),
    "a user's": priors.broad_prior()._replace(
        log10_sfe=dist.TruncatedNormal(-0.3, 0.3, high=0.1)
    ),
}
N = 5000
# jit only saves time here: each operation alone would be compiled for each prior
sample = jax.jit(priors.sample, static_argnums=2)
to_normal, from_normal = jax.jit(priors.to_normal), jax.jit(priors.from_normal)
log_prob = jax.jit(priors.log_prob)
sample_mixture = jax.jit(priors.sample_mixture, static_argnums=1)
slope_of_theta = jax.jit(jax.grad(lambda p, z: priors.from_normal(p, z).sum(), 1))


@pytest.fixture(params=PRIORS.values(), ids=PRIORS, scope="module")
def prior(request):
    return request.param


@pytest.fixture(scope="module")
def theta(prior):
    return sample(jax.random.key(1), prior, N)


def test_parameters_are_in_the_order_of_every_theta():
    assert priors.Prior._fields == PARAMETERS


def test_numbers_of_the_paper_prior(key):
    """The table of the contract, from draws alone."""
    draws = np.asarray(sample(key, priors.paper_prior(), N), float)
    mean = [-2.3, -2.89, -0.3, stats.truncnorm(-2.56, np.inf, 0.55, 0.1).mean(), 0.5]
    sd = [0.3, 0.3, 0.3, stats.truncnorm(-2.56, np.inf, 0.55, 0.1).std(), 0.1]
    mean, sd = np.array([*mean, 7.4]), np.array([*sd, 10.8 / 12**0.5])
    # five standard errors of 5000 draws
    np.testing.assert_allclose((draws.mean(axis=0) - mean) / sd, 0.0, atol=0.07)
    np.testing.assert_allclose(draws.std(axis=0) / sd, 1.0, atol=0.05)
    assert draws[:, 3].min() >= 0.294


@pytest.mark.parametrize(
    ("centre", "scale", "low", "high"),
    [
        (0.55, 0.1, 0.294, None),
        (-0.3, 0.3, None, 0.1),
        (0.5, 0.1, 0.0, 1.0),
        (0.0, 0.1, 0.3, None),  # in the upper tail
        (0.0, 0.1, 0.3, 0.5),
        (1.0, 0.1, 0.0, 0.5),
    ],
)
def test_quantiles_of_truncated_normals(centre, scale, low, high):
    one = dist.TruncatedNormal(centre, scale, low=low, high=high)
    latent = np.linspace(-3.0, 3.0, 61)
    found = from_normal((one,), jnp.asarray(latent[:, None], jnp.float32))[:, 0]
    ends = [-np.inf if low is None else low, np.inf if high is None else high]
    cut = stats.truncnorm(*(np.array(ends) - centre) / scale, centre, scale)
    expected = cut.ppf(stats.norm.cdf(latent))
    # float32 has the cdf to 6e-8, which is 5e-5 of the 1.3e-3 beyond three sigma
    np.testing.assert_allclose(found, expected, atol=2e-3 * scale)


def test_a_distribution_of_another_kind_has_its_own_quantiles():
    latent = jnp.linspace(-2.0, 2.0, 41)[:, None]
    found = from_normal((dist.LogNormal(0.3, 0.5),), latent)
    # float32: 6e-8 of a cdf of 0.02, through a density of 0.05
    np.testing.assert_allclose(found, np.exp(0.3 + 0.5 * latent), rtol=1e-4)


def test_latents_and_back(prior, theta):
    back = from_normal(prior, to_normal(prior, theta))
    spread = np.asarray(theta).std(axis=0)
    # float32 knows the cdf to 6e-8: at four sigma, where 3e-5 is left, to 0.05 %
    np.testing.assert_allclose((back - theta) / spread, 0.0, atol=1e-3)


def test_latents_of_draws_are_standard_normal(prior, theta):
    p_values = [stats.kstest(z, "norm").pvalue for z in to_normal(prior, theta).T]
    assert min(p_values) > 1e-4  # fixed seed; a wrong cdf gives 1e-20 and below


def test_draws_from_latents_are_draws_from_the_prior(key, prior, theta):
    mine = from_normal(prior, jax.random.normal(key, (N, len(PARAMETERS))))
    pairs = zip(mine.T, theta.T, strict=True)
    assert min(stats.ks_2samp(a, b).pvalue for a, b in pairs) > 1e-4


def test_no_latent_leaves_the_bounds(prior):
    size = jnp.linspace(-1.0, 1.0, N) ** 3 * 1e3
    theta = from_normal(prior, jnp.broadcast_to(size[:, None], (N, 6)))
    assert np.isfinite(theta).all()
    assert np.isfinite(log_prob(prior, theta)).all()  # in the support of each
    assert np.isfinite(to_normal(prior, theta)).all()


def test_density_is_numpyros(prior, theta):
    expected = sum(d.log_prob(theta[..., i]) for i, d in enumerate(prior))
    got = log_prob(prior, theta)
    assert got.shape == (N,)
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_density_of_the_paper_prior_is_scipys(key):
    theta = np.asarray(sample(key, priors.paper_prior(), N), float)
    expected = (
        stats.norm.logpdf(theta[:, :3], [-2.3, -2.89, -0.3], 0.3).sum(axis=1)
        + stats.truncnorm.logpdf(theta[:, 3], -2.56, np.inf, 0.55, 0.1)
        + stats.truncnorm.logpdf(theta[:, 4], -5.0, 5.0, 0.5, 0.1)
        - np.log(10.8)
    )
    got = log_prob(priors.paper_prior(), jnp.asarray(theta, jnp.float32))
    # sums of squares of up to five sigma in single precision
    np.testing.assert_allclose(got, expected, atol=2e-4)


def test_no_density_outside():
    prior = priors.paper_prior()
    inside = jnp.array([-2.3, -2.89, -0.3, 0.55, 0.5, 8.0])
    outside = [(3, 0.29), (4, -0.01), (4, 1.01), (5, 1.99), (5, 12.81)]
    theta = jnp.stack([inside.at[i].set(value) for i, value in outside] + [inside])
    density = log_prob(prior, theta)
    assert (density[:-1] == -np.inf).all()
    assert np.isfinite(density[-1])
    slopes = jax.jit(jax.jacobian(priors.log_prob, argnums=1))(prior, theta)
    assert not np.isnan(slopes).any()


def test_gradient_through_the_latents_is_finite(prior):
    for size in (0.0, 1.0, 4.0):
        slope = slope_of_theta(prior, size * jnp.ones(6))
        assert np.isfinite(slope).all()
        assert (np.asarray(slope) > 0.0).all()


def test_description_survives_json(prior, theta):
    spec = priors.to_spec(prior)
    again = priors.from_spec(json.loads(json.dumps(spec)))
    assert priors.to_spec(again) == spec
    assert jax.tree.structure(again) == jax.tree.structure(prior)
    np.testing.assert_allclose(
        log_prob(again, theta), log_prob(prior, theta), rtol=1e-5, atol=1e-5
    )


def test_descriptions_that_are_refused():
    spec = priors.to_spec(priors.paper_prior())
    with pytest.raises(ValueError, match="Cauchy"):
        priors.from_spec(spec | {"birth_time": ["Cauchy", {}]})
    del spec["birth_time"]
    with pytest.raises(ValueError, match="Expected a prior of"):
        priors.from_spec(spec)


def test_box_of_the_wide_prior():
    low, high = priors.box(priors.wide_prior())
    np.testing.assert_allclose(low, [-3.8, -4.39, -1.8, 0.294, 0.0, 1.0], rtol=1e-6)
    np.testing.assert_allclose(
        high, [-0.8, -1.39, 1.2, 1.05, 1.0, 13.797617], rtol=1e-6
    )


def _shares_by_tails(theta) -> tuple[float, float]:
    """Shares of the broad and of the wide prior, from draws that the others lack."""
    time, sfe = theta[:, 5], theta[:, 2]
    late = np.mean((time < 2.0) | (time > 12.8))
    both = late / (1.0 - 10.8 / 12.797617)  # broad and wide: the same birth times
    far = np.mean(np.abs(sfe + 0.3) > 0.9)
    of_paper, of_broad = 2.0 * stats.norm.cdf([-3.0, -1.8])
    wide = (far - (1.0 - both) * of_paper - both * of_broad) / (0.4 - of_broad)
    return both - wide, wide


def test_shares_of_the_mixture(key):
    theta = np.asarray(sample_mixture(key, 50_000), float)
    assert theta.shape == (50_000, 6)
    # four standard errors of the tails' counts; likewise in each half: shuffled
    np.testing.assert_allclose(_shares_by_tails(theta), (0.30, 0.15), atol=0.03)
    for half in np.split(theta, 2):
        np.testing.assert_allclose(_shares_by_tails(half), (0.30, 0.15), atol=0.04)


@pytest.mark.parametrize("n", [7])
def test_mixture_of_any_size(n, key):
    assert sample_mixture(key, n).shape == (n, 6)


def test_double_precision(key):
    with jax.enable_x64(True):
        prior = priors.paper_prior()
        theta = sample(key, prior, N)
        latent = to_normal(prior, theta)
        back = from_normal(prior, latent)
        assert theta.dtype == latent.dtype == back.dtype == jnp.float64
        # the cdf near one loses half of the 16 digits at worst
        np.testing.assert_allclose(back, theta, rtol=1e-8, atol=1e-9)
        assert log_prob(prior, theta).dtype == jnp.float64
