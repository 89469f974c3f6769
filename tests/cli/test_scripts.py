"""What scripts share, and the mock maker with wrong and right input."""

from dataclasses import dataclass
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.cli import flags as command_flags
from chemsbi_jax.cli import run
from chemsbi_jax.cli.main import MODULES
from chemsbi_jax.cli.main import main as chemsbi
from chemsbi_jax.errors import CatalogError, InputError, OutputError, WeightsError
from chemsbi_jax.galaxy.mocks import mock_stars
from chemsbi_jax.npe import AnyErrors
from chemsbi_jax.npe.noise import SIGMA
from chemsbi_jax.results.stopwatch import Stopwatch, union_length
from chemsbi_jax.simulator import blocks
from helpers.paths import TOY, load_script


@dataclass(frozen=True)
class NoFlags:
    """Of a script that has none."""


@dataclass(frozen=True)
class Flags:
    """Of a script that has one of each kind."""

    seed: int = 0
    sizes: tuple[int, ...] = (1, 10)
    n_epochs: int | None = None
    share: float = 0.5
    quiet: bool = False


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"n": 0}, "Expected --n from 1 to .* got 0"),
        ({"sigma": -1.0}, "Expected --sigma above 0 dex; got -1"),
        ({"sigma": float("nan")}, "Expected --sigma to be finite; got nan"),
        ({"truth": (-2.3, 9.0)}, "Expected --truth of a galaxy that has stars"),
    ],
)
def test_mock_refuses_what_makes_no_galaxy(tmp_path, bad, message):
    mock = load_script("make_mock")
    settings = {"n": 40, "yields": str(TOY), "quiet": True} | bad
    config = mock.Config(tmp_path / "mock.ecsv", **settings)
    with pytest.raises(InputError, match=message):
        mock.main(config)
    assert not config.out.exists()


def test_a_fault_of_ours_shows_its_traceback(monkeypatch):
    """Only what is said about a user's input ends with a sentence."""
    monkeypatch.setattr("sys.argv", ["script"])
    for fault in (ValueError, TypeError, KeyError):

        def main(flags, fault=fault):
            raise fault("a bug")

        with pytest.raises(fault, match="a bug"):
            run.run_script(main, NoFlags)


@pytest.mark.parametrize("error", [InputError, WeightsError, CatalogError, OutputError])
def test_input_errors_become_a_sentence(error, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["script"])

    def main(flags):
        raise error("Expected this; got that.")

    assert run.run_script(main, NoFlags) == 2
    assert capsys.readouterr().err == "error: Expected this; got that.\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"seed": -1}, "Expected --seed from 0 to 4294967295; got -1"),
        ({"seed": 2**32}, "Expected --seed from 0"),
        ({"sizes": ()}, r"Expected --sizes from 1 to 1000000000; got \(\)"),
        ({"sizes": (3, 0)}, r"got \(3, 0\)"),
        ({"n_epochs": 0}, "Expected --n-epochs from 1"),
        ({"share": float("inf")}, "Expected --share to be finite; got inf"),
    ],
)
def test_flags_that_no_run_can_use(flags, message):
    with pytest.raises(InputError, match=message):
        run.check_flags(Flags(**flags), sizes=1, n_epochs=1)


def test_flags_that_pass():
    run.check_flags(Flags(), sizes=1, n_epochs=1)
    run.check_flags(Flags(seed=2**32 - 1, sizes=(1,), n_epochs=1), n_epochs=1)


def test_mock_is_read_back(tmp_path):
    mock = load_script("make_mock")
    config = mock.Config(tmp_path / "mock.ecsv", n=40, yields=str(TOY), quiet=True)
    made, read = mock.main(config), cs.read_stars(config.out)
    np.testing.assert_allclose(read.values, made.values)
    assert np.all(read.errors == config.sigma)


@pytest.mark.thorough
def test_simulations_in_blocks_are_those_of_one_call():
    yields = cs.load_yields(str(TOY))
    theta = priors.sample(jax.random.key(3), cs.paper_prior(), 50)
    found = blocks.simulate_blocks(theta, yields, cs.CLEAN, quiet=True, block=16)
    # float32, and other batch shapes: rounding of sums
    np.testing.assert_allclose(found, cs.simulate(theta, yields), atol=1e-5)
    traced = blocks._on_all_devices.cache_info()
    blocks.simulate_blocks(theta, yields, cs.CLEAN, quiet=True, block=16)
    assert blocks._on_all_devices.cache_info().hits == traced.hits + 1


def test_no_simulations_are_refused():
    with pytest.raises(ValueError, match="at least 1 star"):
        blocks.simulate_blocks(
            np.zeros((0, 6)), cs.load_yields(str(TOY)), cs.CLEAN, quiet=True
        )


def test_mock_of_the_networks_in_fits(tmp_path):
    mock = load_script("make_mock")
    config = mock.Config(tmp_path / "mock.fits", n=300, emulator="tng", quiet=True)
    made, read = mock.main(config), cs.read_stars(config.out)
    np.testing.assert_allclose(read.values, made.values, atol=1e-6)  # float32
    np.testing.assert_allclose(read.errors, config.sigma, rtol=1e-6)
    assert len(made.values) > 250


def test_compilation_counts_once_and_apart():
    """Tracing within tracing is no second time, and a second call compiles nothing."""
    spans = [(0.0, 10.0), (1.0, 2.0), (9.0, 12.0), (20.0, 21.0), (20.2, 20.8)]
    assert union_length(spans) == pytest.approx(13.0)
    assert union_length([]) == 0.0
    watch, f = Stopwatch(quiet=True), jax.jit(lambda x: jnp.sin(x) @ jnp.cos(x))
    for stage in ("first", "second"):
        with watch(stage):
            f(jnp.ones(3)).block_until_ready()
    assert 0.0 < watch.compiled["first"] <= watch.seconds["first"] + 0.002
    assert watch.compiled["second"] == 0.0


# --- the command chemsbi


def test_every_command_has_its_code():
    for kind, module in MODULES.items():
        assert callable(import_module(f"chemsbi_jax.cli.{module}").main), kind


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["infer", "none.csv", "--out", "out"], "none.csv"),
        (["nuts", "none.csv", "--out", "out"], "none.csv"),
        (["mock", "--n", "0"], "--n from 1"),
        (["simulate", "--n", "0"], "--n from 1"),
        (["train", "emulator", "--n-epochs", "0"], "--n-epochs from 1"),
        (["train", "npe", "--n-epochs", "0"], "--n-epochs from 1"),
    ],
)
def test_commands_refuse_with_exit_code_2(words, says, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    assert chemsbi(words) == 2
    assert says in capsys.readouterr().err


def test_scripts_and_commands_share_their_flags():
    pairs = {"infer": command_flags.InferFlags, "make_mock": command_flags.MockFlags,
             "simulate": command_flags.SimulateFlags,
             "train_npe": command_flags.NpeFlags,
             "train_emulator": command_flags.EmulatorFlags,
             "download": command_flags.DownloadFlags}  # fmt: skip
    for name, kind in pairs.items():
        assert load_script(name).Config is kind
    assert issubclass(load_script("nuts").Config, command_flags.NutsFlags)


def test_the_noise_of_a_mock_is_that_of_the_training():
    assert command_flags.MockFlags().sigma == SIGMA


def test_doctor_names_what_a_bug_report_needs(capsys):
    assert chemsbi(["doctor"]) == 0
    text = capsys.readouterr().out
    for words in (
        f"chemsbi-jax: {cs.__version__}",
        f"jax: {jax.__version__}",
        "python:",
        "cores:",
        "devices: cpu",
        "tng-any: ok",
        "compilation cache:",
        "download folder:",
        "public tables (optional",
        "CHEMSBI_COMPILATION_CACHE: off",
    ):
        assert words in text


def test_doctor_tells_a_cache_that_cannot_be_written(capsys, monkeypatch, tmp_path):
    file = tmp_path / "file"
    file.touch()
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    monkeypatch.setenv("CHEMSBI_COMPILATION_CACHE", str(file / "folder"))
    assert chemsbi(["doctor"]) == 0
    assert "(off: the folder can't be written to)" in capsys.readouterr().out


def test_public_names():
    """All are there, and nothing else shows."""
    names = dir(cs)
    assert {"infer", "Inference", "Limits", "run_nuts", "InputError", "CatalogError",
            "__version__"} <= set(names)  # fmt: skip
    for name in names:
        assert getattr(cs, name) is not None
    assert not {"jax", "import_module", "annotations"} & set(names)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cs.nothing  # noqa: B018


def test_mock_stars_have_the_measurements_of_a_survey():
    """Errors and gaps of GALAH; stars that the model does not have are left out."""

    def forward(theta):
        values = 0.1 * jnp.ones((len(theta), 8)) * theta[:, :1]
        return jnp.where(theta[:, 4:5] > 0.5, values, jnp.nan)

    measure = AnyErrors("galah", dated=True)
    truth = (-2.0, -3.0)
    stars = mock_stars(jax.random.key(0), forward, measure, 400, truth)
    assert 150 < len(stars.values) < 250  # half of the prior
    seen = [name for name, any_ in zip(cs.ABUNDANCES, stars.observed.any(axis=0),
                                       strict=True) if any_]  # fmt: skip
    assert seen == ["c_fe", "fe_h", "mg_fe", "o_fe", "si_fe"]
    # the noise is that of the errors: 1000 of them, 5 % and four standard errors
    pull = (stars.values + 0.2) / stars.errors
    assert np.nanstd(pull) == pytest.approx(1.0, abs=0.1)
    assert np.isfinite(stars.birth_time).all()
