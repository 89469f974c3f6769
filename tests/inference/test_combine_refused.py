"""What can't be combined, and what the messages say."""

import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.cli.main import main as chemsbi
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.inference.catalogues import About, Catalogue, read_catalogue
from chemsbi_jax.inference.comparable import copies
from helpers.two_catalogues import (
    change_summary,
    change_table,
    second_interval,
    write_run,
    write_stars,
)


@pytest.fixture(scope="module")
def pair():
    return {"first": second_interval(1, (0.4, -0.4)), "second": second_interval(2)}


@pytest.fixture
def runs(tmp_path, pair):
    return [write_run(tmp_path / name, found) for name, found in pair.items()]


def test_one_catalogue_is_not_enough(pair):
    with pytest.raises(cs.InputError, match="at least two catalogues; got 1"):
        cs.combine_catalogues({"first": pair["first"]})


def test_the_same_draws_would_count_twice(pair):
    with pytest.raises(cs.InputError, match="a and b have the same draws"):
        cs.combine_catalogues({"a": pair["first"], "b": pair["first"]})


def test_other_priors_are_refused(pair):
    narrow = second_interval(2, settings=SharedErrors(yields=0.1))
    with pytest.raises(cs.InputError, match="same prior of the yields"):
        cs.combine_catalogues({"a": pair["first"], "b": narrow})


def test_no_second_interval(pair):
    failed = second_interval(2, converged=False)
    with pytest.raises(cs.InputError, match="b has none"):
        cs.combine_catalogues({"a": pair["first"], "b": failed})


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf")])
def test_slope_error(pair, value):
    with pytest.raises(cs.InputError, match="slope_error of 0 or more"):
        cs.combine_catalogues(pair, slope_error=value)


BAD = [
    ({"seed": -1}, "seed as a whole number from 0"),
    ({"n_draws": 1}, "n_draws as a whole number from 2"),
]


@pytest.mark.parametrize(("settings", "says"), BAD)
def test_bad_settings(pair, settings, says):
    with pytest.raises(cs.InputError, match=says):
        cs.combine_catalogues(pair, **settings)


@pytest.mark.parametrize("level", ["red", "amber"])
def test_a_doubtful_catalogue_is_a_warning(runs, pair, level):
    changed = {"red": {"n_used": 0}, "amber": {"warnings": ["The scale is assumed."]}}
    change_summary(runs[1], **changed[level])
    found = cs.combine_catalogues(dict(zip(pair, runs, strict=True)))
    (text,) = found.warnings
    assert text.startswith(f"The verdict of second itself is {level}. ")
    assert found.level == level
    assert f"| second | {changed[level].get('n_used', 100)} | {level} |" in (
        found.markdown()
    )


def test_the_same_stars_are_refused(runs, pair):
    for run in runs:
        change_summary(run, provenance={"stars": "sha256 abc"})
    with pytest.raises(cs.InputError, match="first and second have the same stars"):
        cs.combine_catalogues(dict(zip(pair, runs, strict=True)))


def test_copies_of_stars():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(20, 8))
    other = rng.normal(size=(30, 8))
    other[:5] = values[7:12]
    other[5:7, 3:] = np.nan  # three abundances are too few to recognise a star
    values[:2], values[:2, 3:] = other[5:7], np.nan
    both = [
        Catalogue(
            name,
            np.zeros((1, 2)),
            {},
            1.0,
            About(abundances=x, ids=tuple(f"{name}{i}" for i in range(len(x)))),
        )
        for name, x in (("a", values), ("b", other))
    ]
    pairs, share = copies(*both)
    assert pairs == [(f"a{i + 7}", f"b{i}") for i in range(5)]
    assert share == 5 / 18


def test_a_few_common_stars_are_a_warning(runs, pair):
    stars = np.random.default_rng(0).normal(size=(2, 30, 8))
    stars[1, :2] = stars[0, 5:7]
    for run, values in zip(runs, stars, strict=True):
        write_stars(run, values)
    found = cs.combine_catalogues(dict(zip(pair, runs, strict=True)))
    (text,) = found.warnings
    assert text.startswith("2 of 30 compared stars of first have the abundances of ")
    assert "(s5 = s0, s6 = s1)" in text
    assert found.level == "amber"
    stars[1, :5] = stars[0, :5]
    write_stars(runs[1], stars[1])
    with pytest.raises(cs.InputError, match=r"5 stars .*\(s0 = s0, .*, \.\.\.\)"):
        cs.combine_catalogues(dict(zip(pair, runs, strict=True)))


def test_stars_that_can_not_be_compared_are_a_warning(runs, pair):
    path = runs[1] / "posterior.nc"
    path.write_bytes(b"cut off")
    found = cs.combine_catalogues(dict(zip(pair, runs, strict=True)))
    (text,) = found.warnings
    assert text.startswith(f"{path} can't be read (")
    assert "so that the stars of second were not compared" in text


def without_summary(run):
    (run / "summary.json").unlink()


def broken_summary(run):
    (run / "summary.json").write_text("{")


def list_as_summary(run):
    (run / "summary.json").write_text("[]")


def no_stars(run):
    change_summary(run, n_used=None)


def without_table(run):
    (run / "posterior_shared.ecsv").unlink()


def not_converged(run):
    change_summary(run, shared_errors={"converged": False})


def null_block(run):
    change_summary(run, shared_errors=None)


def without_scales(run):
    change_table(run, "prior_scales", "something")


def unknown_factor(run):
    change_table(run, "sn2_o_slope", "sn2_x_slope")


def truncated(run):
    path = run / "posterior_shared.ecsv"
    path.write_text(path.read_text()[:-40])


def empty_cell(run):
    table = Table(Table.read(run / "posterior_shared.ecsv"), masked=True)
    table["sn2_o"].mask = np.arange(len(table)) == 3
    table.write(run / "posterior_shared.ecsv", overwrite=True)


def fewer_rows(run):
    table = Table.read(run / "posterior_shared.ecsv")[:2000]
    table.write(run / "posterior_shared.ecsv", overwrite=True)


def constant(run):
    table = Table.read(run / "posterior_shared.ecsv")
    table["sn2_o"] = 0.1
    table.write(run / "posterior_shared.ecsv", overwrite=True)


def far_away(run):
    table = Table.read(run / "posterior_shared.ecsv")
    table["alpha_imf"][7] = 50.0
    table.write(run / "posterior_shared.ecsv", overwrite=True)


def list_as_block(run):
    change_summary(run, shared_errors=[1])


def no_number_of_draws(run):
    change_summary(run, shared_errors={"checks": {"sampler": "nuts"}})


def few_draws(run):
    checks = {"sampler": "nuts", "n_effective": 30.0}
    change_summary(run, shared_errors={"checks": checks})


NONE = "Expected a second interval of each catalogue; "


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (without_summary, "with summary.json; got "),
        (broken_summary, "summary.json: expected the summary of a run"),
        (list_as_summary, "summary.json: expected the summary of a run"),
        (no_stars, "got ValueError: no number of stars n_used. Repeat"),
        (list_as_block, "got ValueError: no block shared_errors. Repeat"),
        (no_number_of_draws, "got KeyError: 'n_effective'. Repeat"),
        (without_table, "; there is no such file. Repeat"),
        (not_converged, NONE),
        (null_block, NONE),
        (without_scales, "expected draws with prior_scales in the meta"),
        (unknown_factor, "got ['sn2_x_slope']. Repeat"),
        (truncated, "posterior_shared.ecsv: expected draws with prior_scales"),
        (fewer_rows, "got ValueError: 2000 of 3000 draws: the file is cut off. Repeat"),
        (constant, "got 0.1 in all rows, column sn2_o. Repeat"),
        (far_away, "got 50 in row 8, column alpha_imf. Repeat"),
        (
            empty_cell,
            "posterior_shared.ecsv: expected finite draws; got nan, or an",
        ),
        (few_draws, "expected at least 95 effective draws; got 30. Repeat"),
    ],
)
def test_command_refuses_with_one_sentence(runs, tmp_path, capsys, spoil, says):
    spoil(runs[0])
    words = ["combine", *map(str, runs), "--out", str(tmp_path / "out")]
    assert chemsbi(words) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1
    assert said.endswith(".\n")
    assert ".." not in said.replace(str(tmp_path), "")
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def test_what_is_no_folder_of_a_run(runs, tmp_path, pair):
    (tmp_path / "stars.csv").write_text("id,fe_h\n")
    cs.combine_catalogues(pair).save(tmp_path / "both")
    for path, says in (
        (runs[0] / "summary.json", "which is a file. Give the folder"),
        (tmp_path / "stars.csv", "which is a file. Give the folder"),
        (tmp_path / "none", "which does not exist. Check the path"),
        (tmp_path / "both", "a result of `chemsbi combine`. Give the runs of all"),
        (tmp_path, "which has none. Run `chemsbi infer`"),
    ):
        with pytest.raises(cs.InputError, match=says):
            read_catalogue("a", path)


def test_the_reason_of_a_missing_interval_is_repeated(runs):
    note = "The interval with shared errors was not made: it needs 5 stars; got 4."
    change_summary(runs[0], shared_errors=None, shared_errors_note=note)
    with pytest.raises(cs.InputError, match="has none. The interval with .* got 4"):
        read_catalogue("a", runs[0])


def test_an_empty_cell_is_named(runs):
    empty_cell(runs[0])
    with pytest.raises(cs.InputError, match="in row 4, column sn2_o"):
        read_catalogue("first", runs[0])


def test_the_folder_of_a_run_takes_no_other_results(runs, capsys):
    before = sorted(path.name for path in runs[1].iterdir())
    assert chemsbi(["combine", *map(str, runs), "--out", str(runs[1])]) == 2
    assert "a folder of its own for the common interval" in capsys.readouterr().err
    assert sorted(path.name for path in runs[1].iterdir()) == before
