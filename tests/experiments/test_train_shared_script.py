"""The script that trains the network of shared errors, with its second part alone."""

import json

import numpy as np
import pytest

from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical import load_shared_network
from chemsbi_jax.galaxy.hierarchical.trained import saved_spec
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
    assert (tmp_path / "shared" / "losses_head.png").exists()


def test_tuning_needs_a_start(tmp_path):
    script = load_script("train_shared_errors")
    with pytest.raises(InputError, match="--tune-epochs without --start"):
        script.main(script.Config(out=tmp_path, tune_epochs=1, quiet=True))
    assert not list(tmp_path.iterdir())


def test_a_start_with_other_priors_is_refused_before_the_bank(tmp_path, monkeypatch):
    script = load_script("train_shared_errors")
    start = load_shared_network("tng")
    other = start._replace(scales=start.scales | {"sn2_o": 0.7})
    monkeypatch.setattr(script, "load_shared_network", lambda _: other)
    with pytest.raises(InputError, match="prior scales"):
        script.main(script.Config(out=tmp_path, start="tng", quiet=True))
    assert not list(tmp_path.iterdir())
