"""What scripts share, and the mock maker with wrong and right input."""

from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_infer import load_script

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.cli import run as cli_run
from chemsbi_jax.errors import CatalogError, InputError, OutputError, WeightsError
from chemsbi_jax.results.stopwatch import Stopwatch, union_length
from chemsbi_jax.simulator import blocks


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


TOY = str(Path(__file__).parent / "toy_yields.json")


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
    settings = {"n": 40, "yields": TOY, "quiet": True} | bad
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
            cli_run.run_script(main, NoFlags)


@pytest.mark.parametrize("error", [InputError, WeightsError, CatalogError, OutputError])
def test_input_errors_become_a_sentence(error, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["script"])

    def main(flags):
        raise error("Expected this; got that.")

    assert cli_run.run_script(main, NoFlags) == 2
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
        cli_run.check_flags(Flags(**flags), sizes=1, n_epochs=1)


def test_flags_that_pass():
    cli_run.check_flags(Flags(), sizes=1, n_epochs=1)
    cli_run.check_flags(Flags(seed=2**32 - 1, sizes=(1,), n_epochs=1), n_epochs=1)


def test_mock_is_read_back(tmp_path):
    mock = load_script("make_mock")
    config = mock.Config(tmp_path / "mock.ecsv", n=40, yields=TOY, quiet=True)
    made, read = mock.main(config), cs.read_stars(config.out)
    np.testing.assert_allclose(read.values, made.values)
    assert np.all(read.errors == config.sigma)


def test_simulations_in_blocks_are_those_of_one_call():
    yields = cs.load_yields(TOY)
    theta = priors.sample(jax.random.key(3), cs.paper_prior(), 50)
    found = blocks.simulate_blocks(theta, yields, cs.CLEAN, True, 16)
    # float32, and other batch shapes: rounding of sums
    np.testing.assert_allclose(found, cs.simulate(theta, yields), atol=1e-5)
    traced = blocks._on_all_devices.cache_info()
    blocks.simulate_blocks(theta, yields, cs.CLEAN, quiet=True)
    assert blocks._on_all_devices.cache_info().hits == traced.hits + 1


def test_no_simulations_are_refused():
    with pytest.raises(ValueError, match="at least 1 star"):
        blocks.simulate_blocks(
            np.zeros((0, 6)), cs.load_yields(TOY), cs.CLEAN, quiet=True
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
