"""Triangular maps, tempering, designs and polynomials against closed forms."""

import jax
import jax.numpy as jnp
import numpy as np

from chemsbi_jax.galaxy.exact.importance import Evidence, merge, n_effective, temper
from chemsbi_jax.galaxy.exact.polynomial import (
    Design,
    design_factor,
    fit_polynomial,
    is_converged,
)
from chemsbi_jax.galaxy.exact.triangular_map import fit_chart, prior_chart, transform


def test_designs_reach_as_far_as_asked_but_not_out_of_the_model():
    narrow, wide = 0.01 * np.array([[2.0, 1.0], [1.0, 2.0]]), 4.0 * np.eye(2)
    factor = design_factor(narrow, 4.0)
    np.testing.assert_allclose(factor @ factor.T, 16.0 * narrow)
    np.testing.assert_allclose(design_factor(wide, 4.0), 4.0 * np.eye(2))
    # along the degeneracy the search ends at the model, across it goes on
    turned = np.array([[1.0, -1.0], [1.0, 1.0]]) / np.sqrt(2.0)
    squares = design_factor(turned * [1.0, 1e-4] @ turned.T, 10.0)
    squares = squares @ squares.T
    np.testing.assert_allclose(np.linalg.eigvalsh(squares), [0.01, 16.0])


def test_chart_recovers_a_bent_density():
    rng = np.random.default_rng(0)
    noise = jnp.asarray(rng.normal(size=(4, 4000)), jnp.float32)
    galaxy = jnp.asarray(rng.normal(size=(2, 4000)), jnp.float32)
    first = 0.5 + 2.0 * noise[0] + 0.7 * galaxy[1]
    second = 0.3 * first**2 + 0.1 * noise[1]
    local = jnp.stack([first, second, noise[2] * jnp.exp(0.4 * first / 2), noise[3]])
    chart = jax.jit(fit_chart)(galaxy, local, jnp.ones(4000))
    again, log_det = jax.jit(transform)(chart, galaxy, noise)
    # in the tails the fitted scale of the first one bends a little
    assert np.quantile(np.abs(again[1] - second), 0.8) < 0.2
    slope = np.polyfit(np.asarray(galaxy[1]), np.asarray(again[0] - 2 * noise[0]), 1)[0]
    assert abs(slope - 0.7) < 0.1
    jacobian = jax.jit(jax.jacobian(lambda n: transform(chart, galaxy[:, 0], n)[0]))(
        noise[:, 0]
    )
    np.testing.assert_allclose(
        log_det[0], np.linalg.slogdet(np.asarray(jacobian))[1], rtol=1e-3, atol=1e-3
    )


def test_prior_chart_is_the_identity():
    noise = jax.random.normal(jax.random.key(0), (4, 7))
    chart = jax.tree.map(lambda x: x[0], prior_chart(2))
    local, log_det = jax.jit(transform)(chart, jnp.ones((2, 7)), noise)
    np.testing.assert_allclose(local, noise, atol=1e-6)
    np.testing.assert_allclose(log_det, 0.0, atol=1e-6)


def test_lots_of_draws_merge_into_one():
    log_weight = jax.random.normal(jax.random.key(0), (2, 50))

    @jax.jit
    def evidence(w):
        total = jax.scipy.special.logsumexp(w, axis=-1) - jnp.log(w.shape[-1])
        return Evidence(total, n_effective(w), jnp.asarray(1.0 * w.shape[-1]), w.min())

    lots = [evidence(w) for w in jnp.split(log_weight, [10, 22], axis=1)]
    merged = merge(jax.tree.map(lambda *x: jnp.stack(x), *lots))
    for one, other in zip(merged, evidence(log_weight), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4)


def test_tempering_leaves_enough_draws():
    spiky = jnp.linspace(0.0, 300.0, 512)
    count, soften = jax.jit(n_effective), jax.jit(temper)
    assert count(spiky) < 10.0
    assert count(soften(spiky)) > 30.0
    flat = jnp.zeros(512)
    np.testing.assert_allclose(soften(flat), flat, atol=1e-6)


def test_polynomial_fits_the_points_of_a_gaussian():
    design = Design(np.array([0.3, -0.2]), np.array([[0.04, 0.0], [0.03, 0.02]]), 5)
    offset = 0.2 * design.factor.sum(axis=1)
    inner = np.linalg.inv(design.factor @ design.factor.T / 16.0)
    shift = design.points - (design.centre + offset)[:, None]
    total = -0.5 * np.einsum("ip,ij,jp->p", shift, inner, shift)
    total = total + 0.5 * (design.points**2).sum(axis=0)  # less the prior it adds
    grid, error = fit_polynomial(design, total)
    np.testing.assert_allclose(grid.mean, design.centre + offset, atol=2e-4)
    np.testing.assert_allclose(
        np.sqrt(np.diag(grid.covariance)),
        np.sqrt(np.diag(np.linalg.inv(inner))),
        rtol=0.01,
    )
    assert error < 1e-6
    assert is_converged(grid, design)
    beside = design._replace(centre=design.centre + design.factor @ [0.5, 0.0])
    assert not is_converged(grid, beside)
    assert not is_converged(grid, design._replace(factor=10.0 * design.factor))
