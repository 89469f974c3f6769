"""Settings, names and results of shared errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.constants import ABUNDANCES, SHARED_FACTORS
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy import hierarchical as h
from chemsbi_jax.galaxy import small
from chemsbi_jax.galaxy.hierarchical.doubt import wrong_coverage
from chemsbi_jax.galaxy.hierarchical.settings import MODEL_STARS
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, psi_names, unpack


def at_random(layout, seed, size=0.5):
    return size * jax.random.normal(jax.random.key(seed), layout.scale.shape)


@pytest.mark.parametrize("n", [1, 4])
def test_small_matrices(n):
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n))
    matrix = root @ root.T + np.eye(n)
    lower = small.cholesky(jnp.asarray(matrix))
    right = rng.normal(size=(3, n))
    np.testing.assert_allclose(lower, np.linalg.cholesky(matrix), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        small.solve_upper(lower, small.solve_lower(lower, jnp.asarray(right))),
        np.linalg.solve(matrix, right.T).T,
        rtol=1e-3,
        atol=1e-5,
    )


def test_held_blocks_are_at_their_defaults():
    layout = make_layout(h.SharedErrors(hold=h.BLOCKS), SHARED_FACTORS)
    shared = unpack(at_random(layout, 0), layout)
    for part in (shared.factors, shared.zero_points, shared.mean, shared.log_width):
        assert not np.asarray(part).any()
    assert not np.asarray(shared.variance).any()
    np.testing.assert_allclose(np.exp(shared.log_outliers), 0.01, rtol=1e-5)


def test_names_and_scales():
    names = psi_names(SHARED_FACTORS)
    settings = h.SharedErrors(yields={"sn2_o": 0.2}, zero_points={"fe_h": 0.1})
    layout = make_layout(settings, SHARED_FACTORS)
    assert len(names) == len(set(names)) == len(layout.scale)
    scale = dict(zip(names, np.asarray(layout.scale), strict=True))
    assert scale["sn2_o"] == pytest.approx(0.2)
    assert scale["zero_point_fe_h"] == pytest.approx(0.1)
    assert scale["zero_point_o_fe"] == pytest.approx(0.05)  # the default


@pytest.mark.parametrize(
    "settings",
    [
        h.SharedErrors(hold=("yield",)),
        h.SharedErrors(yields={"sn2_zz": 0.1}),
        h.SharedErrors(zero_points=-0.1),
        h.SharedErrors(model_stars=0.0),
        h.SharedErrors(model_stars=np.nan),
        h.SharedErrors(effective_draws=0),
        h.SharedErrors(effective_draws=10_001),
    ],
)
def test_bad_settings(settings):
    with pytest.raises(InputError, match="Expected"):
        make_layout(settings, SHARED_FACTORS)


@pytest.mark.parametrize(
    ("model_stars", "expected"), [(MODEL_STARS, 0.25), (None, 1.0), (30.0, 1.0 / 3.0)]
)
def test_power_of_the_likelihood(model_stars, expected):
    settings = h.SharedErrors(model_stars=model_stars)
    assert settings.likelihood_power(60) == pytest.approx(expected)
    assert settings.likelihood_power(1) > expected or model_stars is None


def test_no_interval_without_convergence():
    posterior = cs.GalaxyPosterior(
        "hierarchical", np.zeros((4, 2)), np.zeros(2), np.eye(2), {"converged": False}
    )
    names = psi_names(SHARED_FACTORS)
    some = np.zeros((4, len(names)))
    summary = h.HierarchicalPosterior(
        posterior, names, some, some, some[0], {}
    ).summary()
    assert summary["converged"] is False
    assert "alpha_imf" not in summary


@pytest.mark.parametrize(
    ("hold", "found"),
    [
        ((), {}),
        (("population",), {}),
        (("yields",), {}),
        (("yields", "scatter"), {}),
        (
            ("population", "yields"),
            {"held_blocks": ["yields", "population", "outliers"]},
        ),
        (("population", "yields", "scatter"), {}),
        (h.BLOCKS[:-2], {}),
        (h.BLOCKS, {"held_blocks": list(h.BLOCKS)}),
        (h.BLOCKS[:-1], {"held_blocks": list(h.BLOCKS)}),  # outliers always are
    ],
)
def test_held_blocks_with_a_wrong_coverage_are_named(hold, found):
    layout = make_layout(h.SharedErrors(hold=hold), SHARED_FACTORS)
    assert wrong_coverage(layout) == found


def test_all_abundances_have_a_zero_point():
    names = psi_names(SHARED_FACTORS)
    assert [n for n in names if n.startswith("zero")] == [
        f"zero_point_{a}" for a in ABUNDANCES
    ]
