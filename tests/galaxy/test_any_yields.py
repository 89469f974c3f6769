"""Any yield set without a flow of its own: emulators on demand, the exact method."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.cli.flags import InferFlags
from chemsbi_jax.cli.infer import join
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.emulator import EmulatorConfig
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy import any_yields
from chemsbi_jax.galaxy.any_yields import (
    EMULATOR_FOLDER,
    Recipe,
    checksum,
    default_elements,
    emulator_of,
    emulators_state,
    model_of_yields,
    require_abundances,
)
from chemsbi_jax.galaxy.guided import infer_guided
from chemsbi_jax.galaxy.nuts.sampler import run_nuts
from chemsbi_jax.yields import select_elements
from helpers.paths import TOY

FEW = ("H", "He", "Fe", "O")
TINY = Recipe(
    n_simulations=400,
    n_test=400,  # as many: one program of the simulator
    config=EmulatorConfig(
        hidden=(4,), batch_size=16, fit=FitConfig(n_epochs=1, steps_per_epoch=5)
    ),
)


@pytest.fixture(scope="module")
def toy():
    return default_elements(cs.load_yields(TOY))


@pytest.fixture(scope="module")
def few(toy):
    """Four of its elements: the simulator compiles in half the time."""
    return select_elements(toy, FEW)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(EMULATOR_FOLDER, str(tmp_path / "emulators"))
    return tmp_path / "emulators"


def files(folder):
    return {p: p.stat().st_mtime_ns for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.thorough
def test_an_emulator_is_trained_once_and_kept(toy, folder):
    first, rms = emulator_of(toy, "toy", recipe=TINY, quiet=True)
    before = files(folder)
    again, same = emulator_of(toy, "toy", recipe=TINY, quiet=True)
    assert files(folder) == before
    assert len(before) == 2
    assert set(rms) == set(cs.ABUNDANCES)
    assert same == rms
    equal = jax.tree.map(lambda a, b: np.array_equal(a, b), first, again)
    assert all(jax.tree.leaves(equal))
    assert "1 emulators" in emulators_state()
    # a damaged file costs a training, and no wrong result
    arrays = next(p for p in before if p.suffix == ".safetensors")
    arrays.write_bytes(arrays.read_bytes()[:100])
    mended, _ = emulator_of(toy, "toy", recipe=TINY, quiet=True)
    equal = jax.tree.map(lambda a, b: np.array_equal(a, b), first, mended)
    assert all(jax.tree.leaves(equal))


@pytest.mark.thorough
def test_two_processes_leave_one_whole_emulator(toy, folder):
    """The second one to finish finds the folder there."""
    emulator, _ = emulator_of(toy, "toy", recipe=TINY, quiet=True)
    before, target = files(folder), next(folder.iterdir())
    any_yields._save_whole(target, emulator, {"rms_dex": {}})
    assert files(folder) == before


def test_a_folder_without_permission_costs_nothing(few, tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setenv(EMULATOR_FOLDER, str(blocked / "emulators"))
    emulator, _ = emulator_of(few, "few", recipe=TINY, quiet=True)
    assert np.isfinite(np.asarray(emulator.abundance_scale)).all()


def test_the_checksum_depends_on_yields_physics_and_recipe(toy):
    other = toy._replace(
        sn_ia=toy.sn_ia._replace(ejecta=toy.sn_ia.ejecta.at[1].multiply(1.01))
    )
    longer = TINY._replace(n_simulations=401)
    sums = {
        checksum(toy, cs.CLEAN, TINY),
        checksum(other, cs.CLEAN, TINY),
        checksum(toy, cs.LEGACY, TINY),
        checksum(toy, cs.CLEAN, longer),
        checksum(select_elements(toy, FEW), cs.CLEAN, TINY),
    }
    assert len(sums) == 5


@pytest.mark.thorough
def test_a_set_of_four_elements(few, folder):
    """Its emulator has these alone, and stars that have others are refused."""
    emulator, rms = emulator_of(few, "few", recipe=TINY, quiet=True)
    assert emulator.abundances == few.abundances
    assert list(rms) == list(few.abundances)
    assert np.isfinite(list(rms.values())).all()
    stars = cs.Stars.complete(np.zeros((2, 8)))
    with pytest.raises(InputError, match=r"have no c_fe, .*--without c_fe,mg_fe"):
        require_abundances(stars, "few", few.abundances)
    observed = np.isin(cs.ABUNDANCES, few.abundances) & stars.observed
    require_abundances(stars._replace(observed=observed), "few", few.abundances)


def test_the_simulator_as_forward_model(toy):
    model = model_of_yields(TOY, "simulator")
    theta = jnp.array([[-2.3, -2.9, -0.3, 0.55, 0.5, 6.0]])
    np.testing.assert_array_equal(
        model.networks.forward(theta), cs.simulate(theta, toy)
    )
    assert model.rms_dex == {}


def test_the_shipped_networks_serve_tng():
    model = model_of_yields("tng")
    assert model.forward == "emulator tng-any"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"yields": "nkt14+k10+w7"}, "nkt13"),
        ({"yields": "unheard"}, "Unknown yields 'unheard'"),
        ({"yields": TOY, "method": "flow"}, "method auto, exact or robust"),
        ({"yields": TOY, "weights": "tng"}, "--yields or --weights .*got both"),
        ({"forward": "simulator"}, "Expected --yields .*with forward 'simulator'"),
        ({"yields": TOY, "limits": cs.Limits(stream_from=1)}, "at most 1 stars"),
    ],
)
def test_bad_input_is_refused_before_any_training(options, message, folder):
    stars = cs.Stars.complete(np.zeros((2, 8)))
    with pytest.raises(InputError, match=message):
        cs.infer(stars, **options, quiet=True)
    assert not folder.exists()


def test_several_processes_are_refused():
    flags = InferFlags(Path("stars.csv"), Path("out"), n_processes=2, yields="tng")
    with pytest.raises(InputError, match="one process with --yields"):
        join(flags)


@pytest.fixture(scope="module")
def mock(toy):
    """Twelve stars of a galaxy of the toy yields, 0.05 dex."""
    random = np.random.default_rng(3)
    n, truth = 12, (-2.2, -2.8)
    theta = np.tile([*truth, -0.3, 0.55, 0.5, 6.0], (n, 1))
    theta[:, 2] += 0.3 * random.normal(size=n)
    theta[:, 5] = random.uniform(3.0, 12.0, n)
    clean = np.asarray(cs.simulate(theta, toy))
    return cs.Stars.complete(clean + 0.05 * random.normal(size=clean.shape)), truth


@pytest.mark.slow  # the programs for the simulator compile for a minute
def test_infer_with_yields_of_ones_own(mock, tmp_path):
    """The simulator as forward model, from a table to the files; NUTS agrees."""
    stars, truth = mock
    found = cs.infer(stars, yields=TOY, forward="simulator", quiet=True)
    pull = (found.posterior.mean - np.array(truth)) / found.posterior.sd
    assert np.abs(pull).max() < 3.0
    assert not found.checks.model_fit.flagged
    assert found.checks.methods_agree.agree
    assert found.checks.methods_agree.other == "exact, other draws"
    assert found.draws.theta.shape == (12, 100, 6)
    summary = found.save(tmp_path)
    assert summary["provenance"]["yields"] == str(TOY)
    assert json.loads((tmp_path / "summary.json").read_text())["method"] == "exact"
    npe, forward = found.networks
    nuts = run_nuts(jax.random.key(5), forward, stars, npe, found.posterior, quiet=True)
    shift = (found.posterior.mean - nuts.posterior.mean) / nuts.posterior.sd
    # an effective sample size of 400 leaves 0.05 sigma
    np.testing.assert_allclose(shift, 0.0, atol=0.2)
    np.testing.assert_allclose(found.posterior.sd / nuts.posterior.sd, 1.0, atol=0.12)


@pytest.mark.slow
def test_the_guide_does_not_change_the_result(mock):
    """From TNG's network the search ends where it does from the prior."""
    stars, _ = mock
    networks = model_of_yields(TOY, "simulator").networks
    one, two = (
        infer_guided(jax.random.key(i), networks, stars).posterior for i in (0, 1)
    )
    np.testing.assert_allclose((one.mean - two.mean) / one.sd, 0.0, atol=0.1)
