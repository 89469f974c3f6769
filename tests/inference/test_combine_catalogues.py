"""One galaxy from several catalogues: results, folders, files and messages."""

import json
import re

import numpy as np
import pytest
from astropy.table import QTable

import chemsbi_jax as cs
from chemsbi_jax.cli.combine import names_of
from chemsbi_jax.cli.main import main as chemsbi
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.galaxy.hierarchical.combine import CORRELATION
from chemsbi_jax.inference.catalogues import read_catalogue
from chemsbi_jax.inference.comparable import prior_of
from helpers.two_catalogues import (
    WIDTH,
    change_summary,
    second_interval,
    write_run,
)

PRIOR_SD = 0.3  # of both parameters


@pytest.fixture(scope="module")
def pair():
    return {"first": second_interval(1, (0.4, -0.4)), "second": second_interval(2)}


@pytest.fixture(scope="module")
def combined(pair):
    return cs.combine_catalogues(pair)


@pytest.fixture
def runs(tmp_path, pair):
    return [write_run(tmp_path / name, found) for name, found in pair.items()]


def test_the_product_has_the_prior_once(combined):
    """Two normal posteriors of known widths, whose yields have no information."""
    information = 1.0 / WIDTH**2 - 1.0
    power = 1.0 / (1.0 + CORRELATION)
    precision = 1.0 + 2.0 * power * information
    np.testing.assert_allclose(
        combined.posterior.sd, PRIOR_SD / np.sqrt(precision), rtol=0.02
    )
    mean = power * np.array([0.4, -0.4]) / WIDTH**2 / precision
    expected = np.array([-2.3, -2.89]) + PRIOR_SD * mean
    np.testing.assert_allclose(combined.posterior.mean, expected, atol=0.01)
    draws = combined.posterior.draws
    np.testing.assert_allclose(draws.mean(axis=0), expected, atol=0.02)


def test_catalogues_that_agree_have_no_warning(combined):
    assert combined.agrees
    assert combined.warnings == []
    assert combined.level == "green"
    assert all(one.n_directions == 2 for one in combined.agreement)


def test_catalogues_of_two_galaxies_contradict():
    both = {"near": second_interval(1), "far": second_interval(2, (3.5, -3.0))}
    found = cs.combine_catalogues(both)
    assert not found.agrees
    assert found.level == found.summary()["verdict"] == "red"
    assert "**" not in found.markdown()
    (text,) = found.warnings
    assert "contradict" in text
    assert "alpha_imf +" in text or "alpha_imf -" in text
    assert "Warning: The catalogues" in repr(found)


def test_yields_that_differ_between_catalogues_contradict():
    """The galaxy's parameters agree; a slope of the yields does not."""
    first, second = second_interval(1), second_interval(2)
    at = first.names.index("sn2_o_slope")
    moved = [found.draws.copy() for found in (first, second)]
    for draws, sign in zip(moved, (-1, 1), strict=True):
        draws[:, at] = 0.1 * draws[:, at] + 0.15 * sign
    both = {
        name: found._replace(draws=draws)
        for name, found, draws in zip("ab", (first, second), moved, strict=True)
    }
    strict, loose = (cs.combine_catalogues(both, slope_error=x) for x in (0.0, 0.2))
    assert not strict.agrees
    assert "sn2_o_slope" in strict.agreement[0].most_apart()
    assert loose.agrees


def test_more_own_errors_give_no_narrower_interval(pair):
    widths = [
        cs.combine_catalogues(pair, slope_error=x).posterior.sd for x in (0.0, 1.0)
    ]
    assert (widths[1] >= widths[0] * (1.0 - 1e-9)).all()


def test_whitened_draws_of_the_prior_are_standard_normal():
    found = read_catalogue("one", second_interval(3))
    white = prior_of(found.scales).apply(found.draws)
    np.testing.assert_allclose(np.cov(white[:, 2:].T), np.eye(17), atol=0.1)
    back = prior_of(found.scales).undo(white)
    np.testing.assert_allclose(back, found.draws, atol=1e-10)


def test_folders_give_what_results_give(combined, runs, pair):
    found = cs.combine_catalogues(dict(zip(pair, runs, strict=True)))
    np.testing.assert_allclose(found.draws, combined.draws, atol=1e-6)
    assert [c.about.n_used for c in found.catalogues] == [100, 100]
    assert [c.about.level for c in found.catalogues] == ["green", "green"]


def test_held_yields_are_no_common_parameters():
    settings = SharedErrors(yields=0.0)
    both = {str(i): second_interval(i, settings=settings) for i in (1, 2)}
    found = cs.combine_catalogues(both)
    assert found.names == ("alpha_imf", "log10_n_ia")
    (text,) = found.warnings
    assert "The slopes of the yields are held" in text
    with pytest.raises(cs.InputError, match="Expected free yields"):
        found.plot_yields()


def test_the_seed_decides_the_draws(pair, combined):
    same, other = (cs.combine_catalogues(pair, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(same.draws, combined.draws)
    assert not np.array_equal(other.draws, combined.draws)


def test_files(combined, tmp_path):
    summary = combined.save(tmp_path / "new", truth=(-2.3, -2.89))
    names = {path.name for path in (tmp_path / "new").iterdir()}
    combined_files = {f"combined.{x}" for x in ("ecsv", "json", "md", "png")}
    assert names == combined_files | {"yields.png"}
    assert json.loads((tmp_path / "new" / "combined.json").read_text()) == summary
    assert summary["alpha_imf"]["sd"] == pytest.approx(combined.posterior.sd[0])
    assert set(summary["catalogues"]) == {"first", "second"}
    assert set(summary["yields"]) == set(combined.names[2:])
    table = QTable.read(tmp_path / "new" / "combined.ecsv")
    assert table.colnames == list(combined.names)
    assert list(table.meta["catalogues"]) == ["first", "second"]


def test_any_name_is_drawn_and_listed(pair, tmp_path):
    names = r"$\foo$ a|b", "_" * 5 + "x" * 200
    found = cs.combine_catalogues(dict(zip(names, pair.values(), strict=True)))
    found.save(tmp_path)
    rows = (tmp_path / "combined.md").read_text().splitlines()
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 7 for row in rows[:5])


def test_an_earlier_result_is_deleted_first(combined, tmp_path, monkeypatch):
    combined.save(tmp_path)

    def fail(*_):
        raise OSError("full")

    monkeypatch.setattr("chemsbi_jax.results.write_ecsv", fail)
    with pytest.raises(OSError, match="full"):
        combined.save(tmp_path)
    assert not (tmp_path / "combined.json").exists()


def by_nuts(found, n_effective):
    """The same draws, as if they were of chains."""
    checks = {"converged": True, "sampler": "nuts", "n_effective": n_effective}
    return found._replace(posterior=found.posterior._replace(checks=checks))


def test_correlated_draws_count_less(pair, combined):
    chains = {name: by_nuts(found, 100.0) for name, found in pair.items()}
    found = cs.combine_catalogues(chains)
    assert (found.posterior.sd > 1.02 * combined.posterior.sd).all()
    too_few = {**pair, "second": by_nuts(pair["second"], 30.0)}
    with pytest.raises(cs.InputError, match="at least 95 effective draws; got 30"):
        cs.combine_catalogues(too_few)


def test_truth_is_two_numbers(combined, tmp_path):
    with pytest.raises(cs.InputError, match=r"shape \(3,\)"):
        combined.save(tmp_path / "new", truth=(-2.3, -2.9, 1.0))
    assert not (tmp_path / "new").exists()


# --- the command


def test_command(runs, tmp_path, capsys):
    words = ["combine", *map(str, runs), "--out", str(tmp_path / "out")]
    assert chemsbi(words) == 0
    said = capsys.readouterr().out
    assert "all together" in said
    assert "first" in said
    assert (tmp_path / "out" / "combined.json").is_file()
    assert chemsbi([*words, "--quiet"]) == 0
    assert capsys.readouterr().out == ""


def test_strict_command_ends_with_3(runs, tmp_path):
    change_summary(runs[0], n_used=0)
    words = ["combine", *map(str, runs), "--out", str(tmp_path / "out"), "--quiet"]
    assert chemsbi(words) == 0
    assert chemsbi([*words, "--strict"]) == 3


def test_command_refuses_a_folder_twice(runs, tmp_path, capsys):
    words = ["combine", str(runs[0]), f"{runs[0]}/", "--out", str(tmp_path / "out")]
    assert chemsbi(words) == 2
    assert "each folder once" in capsys.readouterr().err


def test_names_are_the_shortest_ends_that_differ(tmp_path):
    paths = tuple(tmp_path / x for x in ("a/run", "b/run", "c/other"))
    assert names_of(paths) == ["a/run", "b/run", "c/other"]
    assert names_of(paths[1:]) == ["run", "other"]
