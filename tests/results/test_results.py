"""Results: the contract JSON, and files that appear whole or not at all."""

import hashlib
import json
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax.errors import OutputError
from chemsbi_jax.results import (
    delete_earlier,
    provenance,
    summary,
    write_posterior,
    write_summary,
    write_table,
)
from chemsbi_jax.storage.files import whole_file
from helpers.correlated import COVARIANCE, MEAN

CONTRACT = [
    "n_stars", "n_used", "method", "alpha_imf", "log10_n_ia", "correlation",
    "checks", "warnings", "seconds", "provenance",
]  # fmt: skip


@pytest.fixture
def read_only(tmp_path):
    """A folder that this process may not write to, whoever runs the tests."""
    folder = tmp_path / "locked"
    folder.mkdir()
    folder.chmod(0o555)
    user = os.geteuid()
    if user == 0:  # root may write anywhere
        os.seteuid(65534)
    yield folder
    os.seteuid(user)


def test_summary_is_the_contract(posterior):
    content = summary(
        posterior,
        n_stars=10,
        n_used=9,
        warnings=["mind"],
        seconds={"draw": 0.1},
        provenance={"seed": 0},
    )
    assert list(content) == CONTRACT
    assert (content["n_stars"], content["n_used"], content["method"]) == (10, 9, "flow")
    assert list(content["alpha_imf"]) == "mean sd q05 q16 q50 q84 q95".split()
    assert content["checks"] == posterior.checks
    assert content["warnings"] == ["mind"]
    assert content["seconds"] == {"draw": 0.1}
    assert content["provenance"] == {"seed": 0}


def test_summary_numbers_are_those_of_the_gaussian(posterior):
    content = summary(posterior, n_stars=10, n_used=10)
    for i, name in enumerate(("alpha_imf", "log10_n_ia")):
        sd = np.sqrt(COVARIANCE[i, i])
        part = content[name]
        assert part["mean"] == pytest.approx(MEAN[i])
        assert part["sd"] == pytest.approx(sd)
        sigmas = {"q05": -1.645, "q16": -0.9945, "q50": 0, "q84": 0.9945, "q95": 1.645}
        for key, n_sigma in sigmas.items():  # 20,000 draws: 0.02 sigma of noise
            assert part[key] == pytest.approx(MEAN[i] + n_sigma * sd, abs=0.06 * sd)
    assert content["correlation"] == pytest.approx(0.83)


def test_summary_takes_jax_arrays(posterior):
    on_device = posterior._replace(
        draws=jnp.asarray(posterior.draws),
        mean=jnp.asarray(MEAN),
        covariance=jnp.asarray(COVARIANCE),
        checks={"ess": jnp.float32(7), "flagged": np.bool_(True), "sd": jnp.ones(2)},
    )
    content = summary(on_device, n_stars=np.int64(3), n_used=3)
    assert content["checks"] == {"ess": 7.0, "flagged": True, "sd": [1.0, 1.0]}
    assert content["checks"]["flagged"] is True
    assert type(content["n_stars"]) is int
    json.dumps(content, allow_nan=False)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    "wrong",
    [
        {"draws": np.zeros((5, 3))},
        {"draws": np.zeros((0, 2))},
        {"mean": np.zeros(3)},
        {"covariance": np.zeros(2)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_wrong_shapes_say_what_came(posterior, wrong):
    shape = next(iter(wrong.values())).shape
    with pytest.raises(ValueError, match="Expected draws") as error:
        summary(posterior._replace(**wrong), n_stars=1, n_used=1)
    assert str(shape) in str(error.value)


def test_json_has_null_for_what_is_not_finite(posterior, tmp_path):
    odd = posterior._replace(
        covariance=np.zeros((2, 2)),
        checks={"a": np.nan, "b": [float("inf"), 1], "c": np.array([-np.inf, 2.0])},
    )
    path = tmp_path / "summary.json"
    write_summary(path, summary(odd, n_stars=1, n_used=1))

    def refuse(token):
        raise AssertionError(f"{token} is not JSON")

    content = json.loads(path.read_text(), parse_constant=refuse)
    assert content["checks"] == {"a": None, "b": [None, 1], "c": [None, 2.0]}
    assert content["correlation"] is None
    assert content["alpha_imf"]["sd"] == 0.0


def test_json_round_trip(posterior, tmp_path):
    path = tmp_path / "new" / "folder" / "summary.json"
    content = summary(posterior, n_stars=2, n_used=2, warnings=["[Fe/H] ± 0.05"])
    write_summary(path, content)
    assert json.loads(path.read_text(encoding="utf-8")) == content
    assert [file.name for file in path.parent.iterdir()] == ["summary.json"]


def test_provenance_names_weights_and_stars(tmp_path):
    table = tmp_path / "stars.csv"
    table.write_bytes(b"star_id,fe_h\n1,0.1\n")
    found = provenance(seed=3, emulator="tng", npe="tng-legacy", stars=table)
    names = ["version", "seed", "emulator", "npe", "stars", "devices"]
    assert list(found) == names
    assert found["devices"] == jax.device_count()
    assert (found["seed"], found["emulator"], found["npe"]) == (3, "tng", "tng-legacy")
    digest = hashlib.sha256(b"star_id,fe_h\n1,0.1\n").hexdigest()
    assert found["stars"] == f"sha256 {digest}"
    assert found["version"]


def test_failed_write_leaves_the_older_file(tmp_path):
    path = tmp_path / "summary.json"
    write_summary(path, {"n_stars": 1})

    def interrupted():
        with whole_file(path) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert json.loads(path.read_text()) == {"n_stars": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]


def test_new_files_have_the_users_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    write_summary(tmp_path / "summary.json", {})
    assert (tmp_path / "summary.json").stat().st_mode == plain.stat().st_mode


def test_read_only_folder(posterior, stars, read_only):
    with pytest.raises(OutputError, match="choose a folder that you may write") as info:
        write_summary(read_only / "summary.json", {})
    assert str(read_only) in str(info.value)
    with pytest.raises(OutputError, match="choose a folder that you may write") as info:
        write_posterior(read_only / "posterior.nc", posterior, stars)
    assert "posterior.nc" in str(info.value)


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "out").write_text("mine")
    with pytest.raises(OutputError, match="is a file: choose"):
        write_summary(tmp_path / "out" / "summary.json", {})
    with pytest.raises(OutputError, match="is a file: choose"):
        write_summary(tmp_path / "out" / "deep" / "summary.json", {})
    assert (tmp_path / "out").read_text() == "mine"


def test_target_that_is_a_folder(tmp_path):
    (tmp_path / "summary.json").mkdir()
    with pytest.raises(OutputError, match="folder of this name is in the way"):
        write_summary(tmp_path / "summary.json", {})


def test_full_disk(posterior, stars, tmp_path, full_disk):
    write_summary(tmp_path / "summary.json", {"n_stars": 1})
    with full_disk(), pytest.raises(OutputError, match="choose another folder") as info:
        write_summary(tmp_path / "summary.json", {"text": "x" * 5000})
    assert str(tmp_path) in str(info.value)
    with full_disk(), pytest.raises(OutputError, match="choose another folder"):
        write_posterior(tmp_path / "posterior.nc", posterior, stars)
    with full_disk(), pytest.raises(OutputError, match="choose another folder"):
        write_table(tmp_path / "posterior.ecsv", posterior)
    assert [file.name for file in tmp_path.iterdir()] == ["summary.json"]
    assert json.loads((tmp_path / "summary.json").read_text()) == {"n_stars": 1}


def test_an_earlier_result_goes_before_a_new_one(tmp_path):
    """An interrupted run must not leave the summary of another one."""
    for name in ("summary.json", "report.html", "posterior.png", "width_budget.png"):
        (tmp_path / name).write_text("earlier")
    (tmp_path / "mine.txt").write_text("mine")
    delete_earlier(tmp_path, keep={"posterior"})
    assert {p.name for p in tmp_path.iterdir()} == {"posterior.png", "mine.txt"}
    delete_earlier(tmp_path / "new", keep=())  # there is no folder yet
