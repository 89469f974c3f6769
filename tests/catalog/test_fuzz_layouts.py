"""A known table in any layout: its numbers, or a refusal; never other numbers."""

import tempfile
import warnings
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings

from chemsbi_jax.catalog import CatalogOptions, read_catalog
from chemsbi_jax.errors import CatalogError
from helpers.drawn_layouts import READ, T_END, I, drawn_tables

LAYOUTS = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,  # the same examples in each run
    database=None,
    phases=[Phase.generate],  # shrinking takes long, and the layout is told
    suppress_health_check=list(HealthCheck),
)
seen = {"read": 0, "refused": 0}


@LAYOUTS
@given(drawn=drawn_tables())
def test_a_known_table_in_any_layout(drawn):
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy, of names in FITS
        path = Path(folder) / drawn.name
        path.write_bytes(drawn.content)
        found, refusal = None, ""
        try:
            found = read_catalog(path, CatalogOptions(**drawn.options))
        except CatalogError as error:
            refusal = str(error)
    seen["read" if found else "refused"] += 1
    if found is None:
        assert refusal.endswith("."), drawn.what
        assert drawn.name in refusal or "--" in refusal, drawn.what
        return
    stars, report = found
    assert len(stars.ids) == drawn.n_stars, drawn.what
    assert_values(stars, report.text(), drawn)
    assert_errors(stars, drawn)
    assert_times(stars, report.text(), drawn)


def assert_values(stars, said, drawn):
    """Each value is the known one; a column without any is named in the report."""
    known = drawn.known.values
    for name in READ:
        found = stars.values[:, I[name]]
        if not np.isfinite(found).any() and np.isfinite(known[:, I[name]]).any():
            assert drawn.columns[name] in said, f"{name} is dropped: {drawn.what}"
            continue
        np.testing.assert_allclose(
            found, known[:, I[name]], atol=2e-3, err_msg=f"{name}: {drawn.what}"
        )
    others = [i for name, i in I.items() if name not in READ]
    assert not stars.observed[:, others].any(), drawn.what


def assert_errors(stars, drawn):
    iron = drawn.known.errors[:, I["fe_h"]]
    for name in READ:
        seen_ones = stars.observed[:, I[name]]
        expected = drawn.known.errors[:, I[name]]
        if drawn.known.is_over_h and name != "fe_h":
            expected = np.hypot(expected, iron)
        found = stars.errors[seen_ones, I[name]]
        np.testing.assert_allclose(
            found, expected[seen_ones], atol=1.1e-3, err_msg=f"{name}: {drawn.what}"
        )


def assert_times(stars, said, drawn):
    """Times are the known ones, or named in the report as not read or not used."""
    ages, sigma = drawn.known.ages, drawn.known.e_ages
    is_known = np.isfinite(stars.birth_time)
    if ages is None:
        assert not is_known.any(), drawn.what
        return
    if not is_known.any():
        assert "age" in said.lower(), f"age is dropped: {drawn.what}"
        return
    np.testing.assert_allclose(
        stars.birth_time, T_END - ages, atol=2e-3, err_msg=drawn.what
    )
    is_used = np.isfinite(stars.e_birth_time)
    if sigma is None:
        assert not is_used.any(), drawn.what
        assert "have no error, and are not used" in said, drawn.what
        return
    np.testing.assert_allclose(stars.e_birth_time, sigma, atol=2e-3)


def test_both_answers_are_frequent():
    assert min(seen.values()) > LAYOUTS.max_examples / 8
