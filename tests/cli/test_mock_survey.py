"""The mock table of a survey is read as a table of this survey."""

import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.cli import mock
from chemsbi_jax.cli.flags import MockFlags
from helpers.paths import load_script

N = 300


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Path of the table, and the stars that were measured."""
    path = tmp_path_factory.mktemp("survey") / "survey.csv"
    flags = MockFlags(survey="galah", out=path, n=N, truth=(-2.6, -3.3), quiet=True)
    return path, mock.main(flags)


def test_the_table_is_recognised_and_its_rows_are_judged(written):
    path, stars = written
    assert len(stars.values) == N
    catalog = cs.read_catalog(path)
    report = catalog.report
    assert "Read by the rules of GALAH" in report.text()
    assert report.n_read == N
    by_survey = [n for why, n in report.reasons.items() if "earlier row" not in why]
    assert report.n_by_survey == sum(by_survey) == N - report.n_used - 1
    assert 0.7 * N < report.n_used < N
    reasons = " ".join(report.reasons)
    assert "flag_sp" in reasons
    assert "stands in an earlier row" in reasons


def test_values_of_the_used_rows_are_those_of_the_stars(written):
    path, stars = written
    found = cs.read_catalog(path).stars
    first = int(Table.read(path)["sobject_id"][0])
    rows = np.asarray(found.ids, dtype=np.int64) - first
    seen = found.observed
    assert 0.5 < seen.mean() < 1.0
    # four decimals in the file
    np.testing.assert_allclose(found.values[seen], stars.values[rows][seen], atol=1e-4)
    np.testing.assert_allclose(found.errors[seen], stars.errors[rows][seen], atol=1e-4)


def test_the_script_writes_the_same_table(written, tmp_path):
    script, path = load_script("make_survey"), tmp_path / "survey.csv"
    script.main(script.Config(path, (-2.6, -3.3), N, seed=2, quiet=True))
    assert path.read_text() == written[0].read_text()
