"""The script that trains the network of shared errors, with its second part alone."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import load_shared_network
from chemsbi_jax.galaxy.hierarchical.trained import saved_spec
from chemsbi_jax.galaxy.hierarchical.tuning import Tuning
from helpers.paths import load_script


@pytest.mark.slow
def test_the_second_part_starts_from_a_network_and_writes_one_that_loads(tmp_path):
    script = load_script("train_shared_errors")
    short = {"n_galaxies": 1000, "head_epochs": 1, "quiet": True}
    metrics = script.main(script.Config(out=tmp_path, start="tng", **short))
    assert np.isfinite(metrics["held_out_loss"])
    found, start = load_shared_network(tmp_path), load_shared_network("tng")
    assert found.scales == start.scales
    weights = [n.network.star.layers[0].weight for n in (found, start)]
    np.testing.assert_array_equal(*weights)
    spec = json.loads((tmp_path / "shared" / "shared_errors.json").read_text())
    assert spec["start_sha256"] == saved_spec("tng")["sha256"]
    assert spec["n_epochs"] is spec["tune_epochs"] is None
    assert (tmp_path / "shared" / "losses_head.png").exists()


def test_tuning_needs_a_start(tmp_path):
    script = load_script("train_shared_errors")
    with pytest.raises(InputError, match="--tune-epochs without --start"):
        script.main(script.Config(out=tmp_path, tune_epochs=1, quiet=True))
    assert not list(tmp_path.iterdir())


def test_the_start_is_not_replaced(tmp_path):
    script = load_script("train_shared_errors")
    config = script.Config(out=tmp_path / "a", start=str(tmp_path / "b" / ".." / "a"))
    with pytest.raises(InputError, match="another folder than that of --start"):
        script.main(config)


def test_tuning_needs_the_wide_head(tmp_path, monkeypatch):
    script = load_script("train_shared_errors")
    narrow = saved_spec("tng")
    narrow = narrow | {"size": narrow["size"] | {"last_width": 112}}
    monkeypatch.setattr(script, "saved_spec", lambda _: narrow)
    config = script.Config(out=tmp_path, start="tng", tune_epochs=1, quiet=True)
    with pytest.raises(InputError, match="a head of 384 units in tng .*; got 112"):
        script.main(config)
    assert not list(tmp_path.iterdir())


def test_a_start_with_other_priors_is_refused_before_the_bank(tmp_path, monkeypatch):
    script = load_script("train_shared_errors")
    start = load_shared_network("tng")
    other = start._replace(scales=start.scales | {"sn2_o": 0.7})
    monkeypatch.setattr(script, "load_shared_network", lambda _: other)
    with pytest.raises(InputError, match="prior scales"):
        script.main(script.Config(out=tmp_path, start="tng", quiet=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_tuning_goes_before_the_second_part(tmp_path, monkeypatch, capsys):
    script = load_script("train_shared_errors")
    monkeypatch.setattr(script, "Tuning", partial(Tuning, groups=((2, 5),)))
    short = {"n_galaxies": 1000, "head_epochs": 1, "quiet": True, "start": "tng"}
    config = script.Config(out=tmp_path, tune_epochs=1, steps_per_epoch=1, **short)
    script.main(config)
    folder = tmp_path / "shared"
    spec = json.loads((folder / "shared_errors.json").read_text())
    assert (spec["tune_epochs"], spec["steps_per_epoch"]) == (1, 1)
    assert (folder / "losses_tuning.png").exists()
    found, start = load_shared_network(tmp_path), load_shared_network("tng")
    weights = [n.network.star.layers[0].weight for n in (found, start)]
    is_same = np.array_equal(*weights)
    assert is_same == ("No epoch of --tune-epochs has a" in capsys.readouterr().out)
    with pytest.raises(InputError, match="another training"):
        script.main(replace(config, tune_epochs=2))
