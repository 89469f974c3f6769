"""[X/Fe] from [X/H] share the error of [Fe/H]: the score correction allows for it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.galaxy.amortised.padding import iron_share
from chemsbi_jax.galaxy.amortised.score_correction import _with_iron
from chemsbi_jax.galaxy.amortised.stream import stream_galaxy
from chemsbi_jax.galaxy.networks import load_networks

TRUTH = np.array([-2.3, -2.89])
E_XH, E_FE = 0.05, 0.05  # dex
IRON = ABUNDANCES.index("fe_h")
SEEN = np.array([name not in ("he_fe", "ne_fe") for name in ABUNDANCES])


def stars_of(clean, seed):
    """Stars whose [X/H] and [Fe/H] have independent errors."""
    draw = np.random.default_rng(seed)
    of_iron = E_FE * draw.normal(size=len(clean))
    values = clean + E_XH * draw.normal(size=clean.shape) - of_iron[:, None]
    values[:, IRON] = clean[:, IRON] + of_iron
    errors = np.full(values.shape, np.hypot(E_XH, E_FE))
    errors[:, IRON] = E_FE
    seen = np.broadcast_to(SEEN, values.shape)
    return cs.Stars.complete(values, 0.05)._replace(
        values=np.where(seen, values, np.nan),
        errors=np.where(seen, errors, np.nan),
        observed=np.array(seen),
        fe_covariance=np.full(len(values), E_FE**2),
    )


def galaxy_of(networks, n, seed):
    """Stars of one galaxy of the emulator."""
    theta = np.array(priors.sample(jax.random.key(seed), cs.paper_prior(), n))
    theta[:, :2] = TRUTH
    clean = np.asarray(networks.forward(jnp.asarray(theta, jnp.float32)), float)
    return stars_of(clean[np.isfinite(clean).all(axis=1)], 50 + seed)


def test_the_noise_of_model_stars_has_the_covariance_of_the_table():
    stars = stars_of(np.zeros((4, len(ABUNDANCES))), 0)
    share = iron_share(stars, ABUNDANCES)
    assert (share[:, IRON] == 0.0).all()
    assert (share[:, ~SEEN] == 0.0).all()
    normals = np.random.default_rng(1).normal(size=(200_000, len(ABUNDANCES) + 1))
    row = jnp.broadcast_to(share[0], (len(normals), len(ABUNDANCES)))
    noise = np.asarray(_with_iron(jnp.asarray(normals), row, ABUNDANCES))
    errors = np.where(SEEN, np.asarray(stars.errors[0]), 0.05)
    found = np.cov(noise[:, :-1] * errors, rowvar=False)
    others = SEEN & (np.arange(len(SEEN)) != IRON)
    expected = np.diag(errors**2)
    expected[np.ix_(others, others)] += E_FE**2 * (1.0 - np.eye(others.sum()))
    expected[IRON, others] = expected[others, IRON] = -(E_FE**2)
    # 5 sigma of a covariance of 200,000 draws
    np.testing.assert_allclose(found, expected, atol=5.0 * 0.005 * (2 / 200_000) ** 0.5)
    np.testing.assert_array_equal(noise[:, -1], np.float32(normals[:, -1]))


def test_without_shared_errors_nothing_changes():
    stars = stars_of(np.zeros((4, len(ABUNDANCES))), 0)._replace(fe_covariance=None)
    share = iron_share(stars, ABUNDANCES)
    assert not share.any()
    normals = jax.random.normal(jax.random.key(0), (4, len(ABUNDANCES) + 1))
    found = _with_iron(normals, jnp.asarray(share), ABUNDANCES)
    np.testing.assert_array_equal(found, normals)


@pytest.mark.thorough
def test_the_flow_is_right_for_2000_such_stars():
    networks = load_networks("tng-any")
    stars = galaxy_of(networks, 2000, 5)
    how = {"forward": networks.forward}

    def chi2(stars):
        found = cs.infer_galaxy(jax.random.key(0), networks.npe, stars, "flow", **how)
        away = found.mean - TRUTH
        return away @ np.linalg.solve(found.covariance, away)

    assert chi2(stars) < 11.8  # 3 sigma of two parameters
    # the same errors, taken as independent: the mean score is wrong
    assert chi2(stars._replace(fe_covariance=None)) > 11.8


@pytest.mark.thorough
def test_a_table_in_blocks_has_the_same_correction():
    networks = load_networks("tng-any")
    stars = galaxy_of(networks, 1500, 6)
    key, how = jax.random.key(1), {"forward": networks.forward}
    whole = cs.infer_galaxy(key, networks.npe, stars, "flow", **how)
    parts = stream_galaxy(key, networks.npe, stars, "flow", **how)
    independent = stars._replace(fe_covariance=None)
    wrong = stream_galaxy(key, networks.npe, independent, "flow", **how)
    # both mean scores have errors of about 0.05 widths, and the grids differ
    np.testing.assert_allclose((parts.mean - whole.mean) / whole.sd, 0.0, atol=0.3)
    assert np.abs((wrong.mean - parts.mean) / whole.sd).max() > 1.0
