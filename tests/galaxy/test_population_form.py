"""Random forms of the population: standardised, of two populations, normal if held."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import ndtr

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.emulator import load_yield_emulator
from chemsbi_jax.galaxy.hierarchical import SharedErrors, mock
from chemsbi_jax.galaxy.hierarchical.population_form import (
    P_NORMAL,
    Form,
    draw_deviates,
    draw_form,
)
from chemsbi_jax.galaxy.hierarchical.shared import make_layout
from chemsbi_jax.galaxy.hierarchical.star import Model
from chemsbi_jax.galaxy.hierarchical.yield_prior import forward_with_slopes

N = 20_000
MANY = 400


@pytest.fixture(scope="module")
def forms() -> Form:
    keys = jax.random.split(jax.random.key(0), MANY)
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(draw_form))(keys))


def is_normal(form: Form) -> np.ndarray:
    return np.all(form.roots == np.eye(4), axis=(-3, -2, -1))


@pytest.mark.parametrize("i", range(4))
def test_every_latent_has_mean_zero_and_variance_one(forms, i):
    row = np.flatnonzero(~is_normal(forms))[i]
    form = jax.tree.map(lambda x: x[row], forms)
    units = np.asarray(jax.jit(draw_deviates, static_argnums=2)(_key(i), form, N))
    error = 5.0 / np.sqrt(N)  # five standard errors of a mean
    np.testing.assert_allclose(units.mean(axis=0), 0.0, atol=error)
    # the standard error of a width is 1.3 times that of a mean for a kurtosis of 8
    np.testing.assert_allclose(units.std(axis=0), 1.0, atol=1.5 * error)


def test_half_of_the_forms_are_normal_and_the_others_are_not(forms):
    share = is_normal(forms).mean()
    assert abs(share - P_NORMAL) < 4.0 * np.sqrt(P_NORMAL * (1 - P_NORMAL) / MANY)
    other = jax.tree.map(lambda x: x[~is_normal(forms)][0], forms)
    units = np.asarray(draw_deviates(_key(9), other, N))
    correlation = np.corrcoef(units.T) - np.eye(4)
    assert np.abs(correlation).max() > 0.1


def test_a_normal_form_has_no_means_and_no_slopes(forms):
    rows = is_normal(forms)
    assert np.all(forms.means[rows] == 0.0)
    one = jax.tree.map(lambda x: x[rows][0], forms)
    units = np.asarray(draw_deviates(_key(3), one, N))
    tails = (np.abs(units) > 2.0).mean()
    assert abs(tails - 0.0455) < 4.0 * np.sqrt(0.0455 / (4 * N))


def test_a_held_population_is_normal():
    held = jax.jit(jax.vmap(lambda key: draw_form(key, True)))
    found = held(jax.random.split(jax.random.key(0), 50))
    assert is_normal(jax.tree.map(np.asarray, found)).all()


@pytest.mark.parametrize(
    ("hold", "is_held"), [((), False), (("population",), True), (("yields",), False)]
)
def test_the_population_is_held_if_all_its_scales_are_zero(hold, is_held):
    layout = make_layout(SharedErrors(hold=hold), SHARED_FACTORS)
    assert bool(mock.is_population_held(layout)) == is_held


def test_one_free_scale_frees_the_population():
    layout = make_layout(SharedErrors(population_width=0.0), SHARED_FACTORS)
    assert not mock.is_population_held(layout)


@pytest.mark.thorough
def test_two_narrow_populations_make_stars_of_two_times_only():
    prior = cs.paper_prior()
    model = Model(forward_with_slopes(load_yield_emulator()), prior)
    layout = make_layout(SharedErrors(hold=("outliers",)), SHARED_FACTORS)
    n, away = 200, 0.99
    like = mock.draw_errors(_key(5), n)
    every = jnp.ones_like(like.seen)
    like = like._replace(seen=every, variance=1e-6 * every)
    means = jnp.stack([jnp.full(4, away), jnp.full(4, -away)])
    form = Form(jnp.asarray(0.5), means, 0.1 * jnp.stack([jnp.eye(4)] * 2))
    psi = jnp.zeros(len(layout.scale))
    draw = jax.jit(mock.draw_stars)
    task = model, layout, psi, like, SharedErrors().outlier_width
    stars, born = draw(_key(6), *task, form)
    rank = ndtr(np.array([-away, away]))
    early, late = prior[-1].low + rank * (prior[-1].high - prior[-1].low)
    times = np.asarray(stars.values)[np.asarray(born) > 0.0, -1]
    near_early, near_late = (np.abs(times - t) < 1.5 for t in (early, late))
    assert (near_early | near_late).mean() > 0.95  # 1 % of the stars are outliers
    assert 0.3 < near_early.mean() < 0.7  # 200 stars: more than five standard errors


def _key(i: int):
    return jax.random.key(100 + i)
