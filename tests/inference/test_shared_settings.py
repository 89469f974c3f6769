"""Flags and file of the priors of shared errors."""

import json
from pathlib import Path

import pytest

import chemsbi_jax as cs
from chemsbi_jax.cli.flags import InferFlags
from chemsbi_jax.cli.infer import shared_settings
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.inference.shared import read_settings


def write(tmp_path, content):
    path = tmp_path / "priors.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_the_defaults():
    assert read_settings("", None) == SharedErrors()


def test_flag_and_file_are_joined(tmp_path):
    content = {
        "yields": {"sn2_fe": 0.1},
        "scatter": 0.02,
        "hold": ["population", "zero-points"],
    }
    found = read_settings("yields", write(tmp_path, content))
    held = ("population", "zero_points", "yields")
    assert found == SharedErrors(yields={"sn2_fe": 0.1}, scatter=0.02, hold=held)


def test_the_flag_of_the_sampler_comes_before_the_file(tmp_path):
    path = write(tmp_path, {"sampler": "nuts"})
    assert read_settings("", path) == SharedErrors(sampler="nuts")
    assert read_settings("", path, "network") == SharedErrors()
    config = InferFlags(Path("x"), tmp_path, sampler="nuts")
    assert shared_settings(config) == SharedErrors(sampler="nuts")


def test_an_unknown_block_is_named():
    with pytest.raises(InputError, match=r"zero-points, .*; got yield\.$"):
        read_settings("yield", None)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected a JSON file"),
        ([1], "expected a JSON object with keys"),
        ({"scattered": 0.1}, "got .'scattered'."),
        ({"scatter": "0.1"}, "for scatter; got '0.1'"),
        ({"scatter": True}, "for scatter; got True"),
        ({"scatter": -0.1}, "Expected prior scales from 0"),
        ({"yields": {"sn2_zz": 0.1}}, "sn2_zz"),
        ({"population_mean": {"birth_time": 1.0}}, "a number for population_mean"),
        ({"outlier_share": 0.9}, "a share from 0 to 0.5"),
        ({"outlier_width": 0.0}, "above 0"),
        ({"effective_draws": 0}, "from 1 to 10000 for effective_draws; got 0"),
        ({"effective_draws": 20_000}, "from 1 to 10000"),
        ({"effective_draws": 2.5}, "a whole number"),
        ({"effective_draws": True}, "a whole number"),
        ({"hold": "yields"}, "a list of names"),
        ({"sampler": "hmc"}, "network or nuts for sampler; got 'hmc'"),
        ({"hold": ["yield"]}, "got .'yield'."),
        ('{"scatter": 0.1, "scatter": 0.2}', "scatter more than once"),
        ({"outlier_share_dex": 0.3}, "without a prior scale"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, content, message):
    path = write(tmp_path, content)
    with pytest.raises(InputError, match=message) as caught:
        read_settings("", path)
    assert str(path) in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="none.json"):
        read_settings("", tmp_path / "none.json")


@pytest.mark.parametrize(
    "flags",
    [{"hold": "yields"}, {"shared_priors": Path("x.json")}, {"sampler": "nuts"}],
)
def test_flags_without_the_interval_are_refused(tmp_path, flags):
    flag = f"--{next(iter(flags)).replace('_', '-')}"
    cases = {"--fast": {"fast": True}, "--no-shared-errors": {"shared_errors": False}}
    for off, out in cases.items():
        config = InferFlags(tmp_path / "stars.csv", tmp_path, **flags, **out)
        with pytest.raises(InputError, match=f"{flag}: this is .* Remove {off}"):
            shared_settings(config)


def test_settings_are_refused_before_the_table_is_read(tmp_path):
    settings = SharedErrors(outlier_share=0.1)
    with pytest.raises(InputError, match=r"Expected outlier_share 0\.01"):
        cs.infer(tmp_path / "no such table.csv", shared_errors=settings)


def test_fast_leaves_the_interval_out(tmp_path):
    assert shared_settings(InferFlags(Path("x"), tmp_path, fast=True)) is False
    assert shared_settings(InferFlags(Path("x"), tmp_path)) == SharedErrors()


def test_priors_beyond_the_training_are_refused_with_the_flags(tmp_path):
    path = tmp_path / "priors.json"
    path.write_text('{"zero_points": 0.3}')
    with pytest.raises(InputError, match="zero_point_c_fe of at most 0.1"):
        read_settings("", path)
