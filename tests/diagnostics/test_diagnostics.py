"""Calibration checks on a conjugate Gaussian, where the right posterior is known."""

from functools import lru_cache
from itertools import product
from math import factorial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import binom, kstest, norm

from chemsbi_jax import diagnostics as dg
from chemsbi_jax.diagnostics import bands
from chemsbi_jax.diagnostics.coverage import _from_the_middle
from chemsbi_jax.diagnostics.tarp import beside

N, N_DRAWS, N_PARAM = 2000, 150, 6
NOISE = 0.7  # of the data, in units of the prior's width
SIGMA = NOISE / np.sqrt(1 + NOISE**2)  # of the posterior
ONE_IN_TEN_THOUSAND = (
    1e-4  # chance that a test on random numbers fails when it should not
)

WRONG = {
    "wide": {"width": 1.3},
    "narrow": {"width": 0.75},
    "shifted": {"shift": 0.3},
}


def posteriors(seed, n=N, n_draws=N_DRAWS, p=N_PARAM, width=1.0, shift=0.0):
    """Truths, draws, mean, sigma and data; `shift` in sigma of the posterior."""
    rng = np.random.default_rng(seed)
    truths = rng.normal(size=(n, p))
    observed = truths + NOISE * rng.normal(size=(n, p))
    mean = observed / (1 + NOISE**2) + shift * SIGMA
    draws = mean[:, None] + width * SIGMA * rng.normal(size=(n, n_draws, p))
    return truths, draws, mean, width * SIGMA, observed


def log_density(theta, mean, sigma):
    return -0.5 * (((theta - mean) / sigma) ** 2).sum(-1)


def run_sbc(truths, draws, *_):
    return dg.rank_test(dg.ranks(truths, draws), draws.shape[1])


def run_density(truths, draws, mean, sigma, *_):
    return dg.density_coverage(
        log_density(truths, mean, sigma), log_density(draws, mean[:, None], sigma)
    )


def run_gaussian(truths, draws, mean, sigma, *_):
    covariance = np.broadcast_to(
        sigma**2 * np.eye(mean.shape[1]), (*mean.shape, len(mean[0]))
    )
    return dg.gaussian_coverage(truths, mean, covariance)


DIAGNOSTICS = {
    "sbc": run_sbc,
    "central": lambda t, d, *_: dg.central_coverage(t, d),
    "one_sided": lambda t, d, *_: dg.one_sided_coverage(t, d),
    "ellipsoid": lambda t, d, *_: dg.ellipsoid_coverage(t, d),
    "density": run_density,
    "gaussian": run_gaussian,
    "tarp": lambda t, d, *_: dg.tarp(jax.random.key(1), t, d),
}
diagnostic = pytest.mark.parametrize("name", DIAGNOSTICS)


@lru_cache
def case(wrong):
    return posteriors(11, **WRONG[wrong])


@diagnostic
def test_right_posterior_passes(name):
    results = [
        DIAGNOSTICS[name](*posteriors(seed, n=300, n_draws=60, p=2))
        for seed in range(25)
    ]
    failed = sum(int((~np.atleast_1d(r.inside)).sum()) for r in results)
    n_tests = sum(np.size(r.inside) for r in results)
    assert failed <= binom.isf(ONE_IN_TEN_THOUSAND, n_tests, 0.01)
    p_values = np.concatenate([r.p_value for r in results])
    assert kstest(p_values, "uniform").pvalue > ONE_IN_TEN_THOUSAND


# a shift changes central coverage only in second order; it has its own test
PAIRS = [p for p in product(DIAGNOSTICS, WRONG) if p != ("central", "shifted")]


@pytest.mark.parametrize(("name", "wrong"), PAIRS)
def test_wrong_posterior_fails(name, wrong):
    result = DIAGNOSTICS[name](*case(wrong))
    if name == "tarp":  # one direction may miss a shift, all of them may not
        assert not result.inside.all()
    else:
        assert not result.inside.any()
    assert result.p_value.min() < 0.01
    if name == "sbc":
        assert not result.histogram_inside.any()


def test_central_coverage_is_weak_on_shifts_alone():
    assert dg.central_coverage(*case("shifted")[:2]).inside.any()
    assert not dg.central_coverage(*posteriors(3, shift=0.7)[:2]).inside.any()


def test_coverage_equals_the_closed_form():
    """Levels 50, 68, 95 % of a 1.3 times too wide Gaussian, within 4 binomial sigma."""
    truths, draws, *_ = posteriors(5, n=4000, n_draws=999, p=2, width=1.3)
    curve = dg.central_coverage(truths, draws, levels=(0.5, 0.68, 0.95))
    np.testing.assert_allclose(curve.expected, (0.5, 0.68, 0.95), atol=1e-12)
    right = 2 * norm.cdf(1.3 * norm.ppf(0.5 + curve.expected / 2)) - 1
    error = np.sqrt(right * (1 - right) / len(truths))
    assert np.all(np.abs(curve.measured - right[:, None]) < 4 * error[:, None])


def test_tarp_sees_a_posterior_that_ignores_the_data_only_through_the_data():
    truths, _, _, _, observed = posteriors(7)
    rng = np.random.default_rng(8)
    prior = rng.normal(size=(N, N_DRAWS, N_PARAM))
    key = jax.random.key(2)
    assert dg.tarp(key, truths, prior).p_value.min() > 1e-3
    blind = dg.tarp(key, truths, prior, references=rng.normal(size=truths.shape))
    assert blind.p_value.min() > 1e-3
    assert not dg.tarp(key, truths, prior, references=observed).inside.any()


def test_tarp_default_references_see_a_shift_that_prior_references_miss():
    truths, draws, *_ = case("shifted")
    key, away = jax.random.split(jax.random.key(3))
    prior = dg.tarp(
        key, truths, draws, references=jax.random.normal(away, truths.shape)
    )
    default = dg.tarp(key, truths, draws)
    assert default.p_value.min() < 1e-6 < prior.p_value.min()


def test_tarp_scale_and_references_act_as_units():
    truths, draws, _, _, observed = posteriors(9, n=50, n_draws=20)
    unit = jnp.array([1.0, 10.0, 0.1, 3.0, 1.0, 2.0])
    key = jax.random.key(0)
    plain = dg.tarp(key, truths, draws, observed, scale=jnp.ones(N_PARAM))
    scaled = dg.tarp(key, truths * unit, draws * unit, observed * unit, scale=unit)
    np.testing.assert_allclose(plain.measured, scaled.measured, atol=0.02)
    other = dg.tarp(key, truths, draws, observed, scale=unit)
    assert np.abs(plain.measured - other.measured).max() > 0.02
    directions = beside(key, N_PARAM)
    gram = directions @ directions.T
    np.testing.assert_allclose(gram, N_PARAM * np.eye(N_PARAM), atol=1e-4)


def test_ranks_count_draws_below_and_mark_what_is_not_finite():
    truths = jnp.array([[0.5, 0.5], [0.5, jnp.nan]])
    draws = jnp.array([[[0.0, 1.0], [1.0, 2.0], [0.2, 0.1]]] * 2)
    np.testing.assert_array_equal(dg.ranks(truths, draws), [[2, 1], [2, -1]])
    with pytest.raises(ValueError, match="not finite"):
        dg.rank_test(dg.ranks(truths, draws), 3)


@pytest.mark.parametrize("n_draws", [1, 4, 7])
def test_order_from_the_middle_is_one_to_one(n_draws):
    order = _from_the_middle(np.arange(n_draws + 1), n_draws)
    np.testing.assert_array_equal(np.sort(order), np.arange(n_draws + 1))
    by_order = np.argsort(order)
    assert np.all(np.diff(np.abs(2 * by_order - n_draws)) >= 0)


def test_band_probabilities_equal_enumeration():
    n, shares = 6, np.array([0.1, 0.3, 0.4, 0.2])
    low, high = np.array([0, 1, 2]), np.array([2, 3, 5])
    bin_low, bin_high = np.array([0, 1, 1, 0]), np.array([2, 3, 4, 2])
    path = bins = 0.0
    for counts in product(range(n + 1), repeat=4):
        if sum(counts) != n:
            continue
        ways = factorial(n) / np.prod([factorial(c) for c in counts])
        chance = ways * np.prod(shares ** np.array(counts))
        total = np.cumsum(counts)[:-1]
        path += chance * bool(np.all((total >= low) & (total <= high)))
        bins += chance * bool(np.all((counts >= bin_low) & (counts <= bin_high)))
    expected = np.cumsum(shares)[:-1]
    assert bands._path_probability(n, expected, low, high) == pytest.approx(path)
    assert bands._bin_probability(n, shares, bin_low, bin_high) == pytest.approx(bins)


@pytest.mark.parametrize(("n", "n_draws"), [(100, 7), (2000, 1000)])
def test_bands_hold_with_their_confidence(n, n_draws):
    """Brute force: false alarms of both bands on ranks that are uniform on 0..m."""
    n_sets, wanted = 4000, 0.05
    rank = np.random.default_rng(n).integers(0, n_draws + 1, size=(n, n_sets))
    test = dg.rank_test(rank[:, :2], n_draws, confidence=1 - wanted)
    counts = np.stack([np.bincount(r, minlength=n_draws + 1) for r in rank.T], axis=-1)
    below = np.cumsum(counts, axis=0)
    threshold = np.round(test.ecdf.expected * (n_draws + 1)).astype(int)
    share = below[threshold - 1] / n
    low, high = test.ecdf.band.lower[:, None], test.ecdf.band.upper[:, None]
    outside = ((share < low) | (share > high)).any(0)
    np.testing.assert_array_equal(test.inside, ~outside[:2])
    in_bin = np.add.reduceat(counts, test.edges[:-1])
    low, high = test.histogram_band.lower[:, None], test.histogram_band.upper[:, None]
    bin_outside = ((in_bin < low) | (in_bin > high)).any(0)
    np.testing.assert_array_equal(test.histogram_inside, ~bin_outside[:2])

    most = binom.isf(ONE_IN_TEN_THOUSAND, n_sets, wanted)
    # whole counts leave a part of the 5 % unused, more so for few truths or bins
    least = binom.ppf(ONE_IN_TEN_THOUSAND, n_sets, 0.6 * wanted)
    assert least <= outside.sum() <= most
    assert least <= bin_outside.sum() <= most


def test_pointwise_band_is_binomial_and_narrower():
    curve = dg.uniform_curve(np.linspace(0, 0.999, 500), None, (0.1, 0.5, 0.95))
    for level, low, high in zip(curve.expected, *curve.pointwise, strict=True):
        low, high = round(low * 500), round(high * 500)
        assert binom.cdf(low - 1, 500, level) < 0.005 <= binom.cdf(low, 500, level)
        assert binom.sf(high, 500, level) < 0.005 <= binom.sf(high - 1, 500, level)
    assert np.all(curve.band.lower <= curve.pointwise.lower)
    assert np.all(curve.band.upper >= curve.pointwise.upper)
    assert curve.inside.all()


def test_p_value_and_band_agree():
    rank = np.random.default_rng(0).integers(0, 21, size=(60, 300))
    rank = np.where(np.arange(300) < 150, rank, rank**2 // 20)  # half of them wrong
    result = dg.uniform_curve(rank, 20, np.linspace(0.1, 0.9, 9), confidence=0.95)
    np.testing.assert_array_equal(result.inside, result.p_value > 0.05)
    assert 0 < result.inside[:150].mean() < 1
    assert result.inside[150:].mean() < 0.5 < result.inside[:150].mean()


MOVED = {
    "same": (0.0, 1.0, 0.5, 0.5),
    "shift 0.5": (0.5, 1.0, norm.cdf(0.25), 0.56),
    "wide 1.3": (0.0, 1.3, None, 0.55),
    "apart": (50.0, 1.0, 1.0, 0.999),
}


@pytest.mark.parametrize("moved", MOVED)
def test_c2st(moved, key):
    shift, width, best, at_least = MOVED[moved]
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(2, 1500, 2))
    second = width * second + np.array([shift, 0.0])
    result = dg.c2st(key, first, second)
    scatter = 4 * 1.4 * 0.5 / np.sqrt(3000)
    if best is not None:
        assert abs(result.accuracy - best) < scatter
    assert moved == "same" or result.accuracy > at_least
    np.testing.assert_array_equal(result.folds, dg.c2st(key, first, second).folds)


def test_c2st_sees_shape_behind_equal_moments_and_ignores_units(key):
    rng = np.random.default_rng(2)
    one_peak, two_peaks = rng.normal(size=(2, 1500, 2))
    side = np.where(rng.random(1500) < 0.5, -1, 1)
    two_peaks[:, 0] = 0.95 * side + 0.31 * two_peaks[:, 0]
    assert dg.c2st(key, two_peaks, one_peak).accuracy > 0.6
    more = np.concatenate([one_peak, rng.normal(size=(200, 2))])
    tiny = dg.c2st(key, -2.3 + 3e-3 * two_peaks, -2.3 + 3e-3 * more)
    assert tiny.accuracy > 0.6


T, D = np.zeros((5, 2)), np.zeros((5, 9, 2))
BAD = {
    "truths 1-D": lambda: dg.ranks(T[:, 0], D),
    "draws of other truths": lambda: dg.central_coverage(T, D[:4]),
    "other parameters": lambda: dg.tarp(jax.random.key(0), T, D[..., :1]),
    "log densities": lambda: dg.density_coverage(T[:, 0], D),
    "covariance": lambda: dg.gaussian_coverage(T, T, T),
    "few draws": lambda: dg.ellipsoid_coverage(T, D[:, :2]),
    "equal draws": lambda: dg.ellipsoid_coverage(T, D),
    "references": lambda: dg.tarp(jax.random.key(0), T, D, references=T[:3]),
    "scale": lambda: dg.tarp(jax.random.key(0), T, D, scale=np.zeros(2)),
    "levels": lambda: dg.one_sided_coverage(T, D, levels=(0.5, 0.4)),
    "confidence": lambda: dg.one_sided_coverage(T, D, confidence=99.0),
    "ranks beyond the draws": lambda: dg.rank_test(np.full((5, 2), 10), 9),
    "c2st parameters": lambda: dg.c2st(jax.random.key(0), D[0], D[0, :, :1]),
    "c2st size": lambda: dg.c2st(jax.random.key(0), D[0], D[0]),
}


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bad", BAD)
def test_bad_input_says_what_was_expected(bad):
    with pytest.raises(ValueError, match=r"Expected .*; got "):
        BAD[bad]()


def test_a_p_value_is_not_negative_by_rounding():
    """All of 1000 truths at one place: 1 minus the probability of a path rounds."""
    curve = bands.uniform_curve(np.zeros(1000, int), 99, np.arange(1, 100) / 100)
    assert 0.0 <= curve.p_value[0] < 1e-10
