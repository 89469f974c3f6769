"""The conditional emulator: zero factors, its box, learning, files, the simulator."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.constants import ABUNDANCES, PARAMETERS, YIELD_FACTORS
from chemsbi_jax.errors import InputError, WeightsError
from chemsbi_jax.storage.weights import weights_folder

FIDUCIAL = np.array([-2.3, -2.89, -0.3, 0.55, 0.5, 8.0])
ZERO = np.zeros(len(YIELD_FACTORS))
evaluate = jax.jit(cs.emulate_yields)  # operation by operation it is slow
SMALL = em.YieldEmulatorConfig(
    trunk=16,
    width=24,
    batch_size=256,
    learning_rate=1e-2,
    fit=FitConfig(n_epochs=3, steps_per_epoch=200),
)


@pytest.fixture(scope="module")
def theta():
    return priors.sample(jax.random.key(5), priors.paper_prior(), 200)


@pytest.fixture(scope="module")
def factors():
    return em.sample_factors(jax.random.key(6), 200)


# --- the function


def test_zero_factors_equal_the_emulator_to_the_bit(emulator, theta):
    plain = cs.emulate(theta, cs.load_emulator("tng"))
    np.testing.assert_array_equal(cs.emulate_yields(theta, ZERO, emulator), plain)


def test_leading_axes_broadcast(emulator, theta, factors):
    out = evaluate(theta[:5], factors[:3, None], emulator)
    assert out.shape == (3, 5, len(ABUNDANCES))
    assert out.dtype == jnp.float32
    one = evaluate(theta[4], factors[2], emulator)
    assert one.shape == (len(ABUNDANCES),)
    # sums in another order, in single precision
    np.testing.assert_allclose(out[2, 4], one, atol=1e-5)


def test_same_in_jit_and_vmap(emulator, theta, factors):
    plain = cs.emulate_yields(theta, factors, emulator)
    jitted = evaluate(theta, factors, emulator)
    np.testing.assert_allclose(jitted, plain, atol=1e-5)
    rows = jax.vmap(evaluate, (0, 0, None))(theta, factors, emulator)
    np.testing.assert_allclose(rows, plain, atol=1e-5)


@pytest.mark.parametrize("i", range(len(YIELD_FACTORS)), ids=YIELD_FACTORS)
def test_nothing_outside_the_box_of_factors(i, emulator):
    factors = np.stack([ZERO] * 5)
    limit = float(emulator.factor_limit[i])
    factors[:, i] = -1.01 * limit, -0.99 * limit, 0.99 * limit, 1.01 * limit, np.nan
    inside = [False, True, True, False, False]
    out = np.asarray(evaluate(FIDUCIAL, factors, emulator))
    np.testing.assert_array_equal(np.isfinite(out).all(axis=1), inside)
    np.testing.assert_array_equal(np.isnan(out).all(axis=1), ~np.array(inside))
    np.testing.assert_array_equal(em.factors_in_range(factors, emulator), inside)


def test_nothing_outside_the_box_of_theta(emulator):
    assert np.isnan(evaluate(FIDUCIAL + 10.0, ZERO, emulator)).all()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("shape", [(), (10,), (12,), (11, 6)])
def test_wrong_shape_of_factors(shape, emulator):
    with pytest.raises(ValueError, match=r"\(\.\.\., 11\).*sn2_c") as error:
        cs.emulate_yields(FIDUCIAL, np.zeros(shape), emulator)
    assert str(shape) in str(error.value)


@pytest.mark.usefixtures("unchecked")
def test_wrong_shape_of_theta(emulator):
    with pytest.raises(ValueError, match=r"\(\.\.\., 6\).*alpha_imf"):
        cs.emulate_yields(np.zeros(5), ZERO, emulator)


def test_gradients_are_finite(emulator, theta, factors):
    def total(theta, factors):
        return jnp.sum(cs.emulate_yields(theta, factors, emulator))

    slopes = jax.jit(jax.grad(total, (0, 1)))(theta, factors)
    assert slopes[0].shape == (len(theta), len(PARAMETERS))
    assert slopes[1].shape == (len(theta), len(YIELD_FACTORS))
    assert all(np.isfinite(s).all() for s in slopes)
    # beyond the box there are no abundances, but no NaN among the slopes either
    far = jax.grad(lambda f: jnp.nansum(evaluate(FIDUCIAL, f, emulator)))
    assert np.isfinite(far(ZERO + 100.0)).all()


# --- training


def made_up(theta, factors):
    """Change of the abundances if iron and oxygen had one source each."""
    change = jnp.zeros((len(theta), len(ABUNDANCES)))
    iron, oxygen = (YIELD_FACTORS.index(f) for f in ("sn2_fe", "sn2_o"))
    change = change - factors[:, iron, None]
    change = change.at[:, ABUNDANCES.index("fe_h")].set(factors[:, iron])
    return change.at[:, ABUNDANCES.index("o_fe")].add(factors[:, oxygen])


@pytest.fixture(scope="module")
def trained(emulator):
    theta = priors.sample(jax.random.key(7), priors.paper_prior(), 5000)
    factors = em.sample_factors(jax.random.key(8), 5000)
    change = made_up(theta, factors).at[::50].set(jnp.nan)  # no such star
    return em.train_yield_emulator(
        jax.random.key(9), theta, factors, change, emulator.base, SMALL, quiet=True
    )


@pytest.mark.thorough
def test_learns_the_change(trained, theta, factors):
    network = trained[0]
    change = evaluate(theta, factors, network) - cs.emulate(theta, network.base)
    error = np.asarray(change - made_up(theta, factors))
    # the factors themselves are some 0.2 dex
    assert np.sqrt(np.mean(error**2, axis=0)).max() < 0.03
    assert len(trained[1].held_out_loss) == SMALL.fit.n_epochs


def test_too_few_pairs(emulator):
    change = np.full((200, 8), np.nan)
    change[:99] = 0.0
    with pytest.raises(InputError, match="got 99 of 200"):
        em.train_yield_emulator(
            jax.random.key(0),
            np.ones((200, 6)),
            np.zeros((200, 11)),
            change,
            emulator.base,
            SMALL,
        )


def test_factors_of_the_training():
    factors = np.asarray(em.sample_factors(jax.random.key(10), 20_000))
    z = factors / em.factor_scales()
    assert np.abs(z).max() <= em.N_SIGMA * (1.0 + 1e-6)
    # 70 % normal, cut off at 3 (variance 0.973), and 30 % uniform (variance 3)
    expected = np.sqrt(0.7 * 0.973 + 0.3 * 3.0)
    np.testing.assert_allclose(z.std(axis=0), expected, rtol=0.03)
    assert set(em.FACTOR_SCALES) == set(YIELD_FACTORS)


def test_box_of_the_factors_holds_the_published_sets():
    """Their spread and, from TNG, each set of `experiments/yields.py --spread`."""
    path = weights_folder("tng").parent / "yield_spread.json"
    rows = json.loads(path.read_text())["details"]
    channels = {"sn2": "sn2", "agb": "agb", "sn_ia": "snia"}
    seen = set()
    for row in rows:
        name = f"{channels[row['channel']]}_{row['element'].lower()}"
        if name in YIELD_FACTORS:
            scale, sets = em.FACTOR_SCALES[name], row["sets"]
            away = [abs(x - sets["tng"]) for x in sets.values()]
            assert row["sd"] <= scale, name
            assert max(away) < em.N_SIGMA * scale, name
            seen.add(name)
    assert seen == set(YIELD_FACTORS)


# --- files


@pytest.fixture
def folder(emulator, tmp_path):
    for path in weights_folder("tng").glob("emulator.*"):
        shutil.copy(path, tmp_path)
    em.save_yield_emulator(tmp_path, emulator, {"yields": "tng", "physics": "clean"})
    return tmp_path


def edit(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_same_bits_from_disk(folder, emulator):
    again = cs.load_yield_emulator(folder)
    assert jax.tree.structure(again) == jax.tree.structure(emulator)
    jax.tree.map(np.testing.assert_array_equal, again, emulator)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"factors": list(YIELD_FACTORS[::-1])}, "factors is"),
        ({"base_sha256": "0"}, "base_sha256 is '0'"),
        ({"hidden": [16]}, "hidden is [16]"),
        ({"hidden": [16, 0]}, "hidden is [16, 0]"),
        ({"hidden": [16, 25]}, "expected (25"),
        ({"abundances": []}, "abundances is []"),
    ],
)
def test_a_description_that_does_not_fit(changes, told, folder):
    edit(folder / em.FOLDER / "emulator.json", **changes)
    with pytest.raises(WeightsError) as error:
        cs.load_yield_emulator(folder)
    assert told in str(error.value)
    assert str(folder) in str(error.value)


def test_another_emulator_beside_it(folder):
    for path in weights_folder("tng-legacy").glob("emulator.*"):
        shutil.copy(path, folder)
    with pytest.raises(WeightsError, match="base_sha256"):
        cs.load_yield_emulator(folder)


def test_no_weights_for_free_yields(tmp_path):
    for path in weights_folder("tng").glob("emulator.*"):
        shutil.copy(path, tmp_path)
    with pytest.raises(WeightsError, match="--free-yields --out"):
        cs.load_yield_emulator(tmp_path)
