"""experiments/nuts.py --hierarchical: a stopped run goes on, and only that run."""

import json

import pytest
from common.reproduction.shared_nuts import report_shared

from chemsbi_jax.errors import InputError
from helpers.paths import load_script

FLAGS = {"seed": 0, "n_stars": [10]}


@pytest.fixture(scope="module")
def script():
    return load_script("nuts")


def row(sampler="nuts"):
    """A row whose chains of --sampler nuts converged, or not."""
    interval = {"mean": -2.3, "sd": 0.1}
    moved = interval | {"shift": 0.2, "width": 1.5}
    parameter = {"standard": interval, "r_hat": 1.01, "n_effective": 300.0}
    parameter |= {"network": moved, "nuts": moved}
    return {
        "set": "tng",
        "n": 10,
        "converged": True,
        "truth": None,
        "checks_network": {"sampler": "network"},
        "checks_nuts": {"sampler": sampler, "r_hat": 1.3, "n_effective": 9.0},
        "alpha_imf": parameter,
        "log10_n_ia": parameter,
    }


def test_rows_of_the_same_flags_are_kept(script, tmp_path):
    path = tmp_path / "rows.json"
    assert script._rows_of_same_flags(path, FLAGS) == []
    path.write_text(json.dumps({"flags": FLAGS, "rows": [row()]}))
    assert script._rows_of_same_flags(path, FLAGS) == [row()]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (json.dumps({"flags": FLAGS | {"seed": 1}, "rows": []}), "'seed': 1"),
        (json.dumps({"rows": []}), "got None"),
        ("[]", "got None"),
        ("{", "expected the file of an earlier run"),
    ],
)
def test_other_rows_are_refused(script, tmp_path, text, says):
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(InputError, match=says) as raised:
        script._rows_of_same_flags(path, FLAGS)
    assert "rows.json" in str(raised.value)
    assert "--out" in str(raised.value)


def test_chains_that_failed_are_named(script):
    assert script._is_converged(row())
    assert not script._is_converged(row("network"))
    assert not script._is_converged(row() | {"converged": False})


def test_the_report_says_which_intervals_are_those_of_the_network():
    assert "(1.30, 9)" in report_shared([row()])
    assert "not converged" in report_shared([row("network")])
    assert "+0.20; 1.50" in report_shared([row()])
    unfinished = {"set": "tng", "n": 200, "alpha_imf": {}, "log10_n_ia": {}}
    assert "200" not in report_shared([row(), unfinished])


@pytest.mark.parametrize("missing", ["network", "nuts"])
def test_a_sampler_that_was_not_run_has_empty_cells(missing):
    partial = row() | {"truth": [-2.3, -2.9], "chi2_network": 1.5, "chi2_nuts": 2.5}
    for name in ("alpha_imf", "log10_n_ia"):
        partial[name] = {k: v for k, v in partial[name].items() if k != missing}
    del partial[f"checks_{missing}"], partial[f"chi2_{missing}"]
    text = report_shared([partial])
    cells = [cell.strip() for cell in text.splitlines()[2].split("|")]
    empty = slice(5, 7) if missing == "network" else slice(7, 9)
    assert cells[:3] == ["", "tng", "10"]
    assert cells[empty] == ["", ""]
    assert "".join(cells).count("-2.300 ± 0.100") == 2
    assert f"({missing})" not in text
    assert "chi2 of the truth 1.50" in text or "chi2 of the truth 2.50" in text


@pytest.mark.parametrize("samplers", [(), ("nuts", "nuts")])
def test_samplers_are_checked_before_the_standard(script, tmp_path, samplers):
    flags = {"hierarchical": True, "samplers": samplers, "quiet": True}
    with pytest.raises(InputError, match="--samplers once each"):
        script.main(script.Config(out=tmp_path, **flags))
    assert not list(tmp_path.iterdir())
