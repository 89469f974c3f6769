"""Comparison of methods, and a warning for each check that fails."""

from dataclasses import replace

import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.diagnostics.misfit import misfit_test
from chemsbi_jax.galaxy.agreement import compare
from chemsbi_jax.galaxy.hierarchical import HierarchicalPosterior
from chemsbi_jax.galaxy.hierarchical.shared import psi_names
from chemsbi_jax.inference.problem import unread_times
from chemsbi_jax.results.warnings import list_warnings, of_place


@pytest.mark.parametrize(
    ("shift", "width", "n_weak", "agrees"),
    [
        (0.5, 1.1, 0, True),
        (0.5, 1.5, 0, False),  # wider
        (2.5, 1.0, 0, False),  # elsewhere
        (2.5, 1.5, 3, True),  # has fewer stars, so it may be both
        (3.5, 1.5, 3, False),
        (0.5, 0.7, 3, False),  # but not narrower
    ],
)
def test_methods_are_compared_by_their_information(shift, width, n_weak, agrees):
    sd = np.array([0.01, 0.02])
    draws = np.zeros((1, 2))
    mean = np.array([-2.3, -2.9])
    exact = cs.GalaxyPosterior("exact", draws, mean, np.diag(sd**2), {})
    flow = cs.GalaxyPosterior(
        "flow",
        draws,
        mean + shift * sd,
        np.diag((width * sd) ** 2),
        {"weak_stars": n_weak},
    )
    found = compare(exact, flow)
    assert found.agree == agrees
    widened = compare(exact, flow._replace(checks={}), n_weak)  # has less information
    assert widened.agree == agrees
    assert (found.weak_stars, widened.widened_stars) == (n_weak, n_weak)
    assert found.width_ratio == pytest.approx([width, width])


@pytest.mark.parametrize(
    ("checks", "says"),
    [
        ({"prior_widths": 1.0}, []),
        ({"prior_widths": 1.0, "weak_stars": 3}, ["3 stars"]),
        (
            {"prior_widths": 0.0, "weak_stars": 3, "is_prior": True},
            ["3 stars are excluded", "this is the prior"],
        ),
        ({"prior_widths": 4.5}, ["4.5 prior widths"]),
        ({"prior_widths": np.nan}, ["nan prior widths"]),
    ],
)
def test_warnings_of_where_a_result_lies(checks, says):
    found = of_place(checks)
    assert len(found) == len(says)
    for warning, words in zip(found, says, strict=True):
        assert words in warning


def test_each_failed_check_has_a_warning(result):
    passed = result.checks.as_dict()
    assert list_warnings(passed) == []
    failures = {
        "at_rest": False,
        "halves": {"stable": False, "distance": 5.0},
        "mass_at_edge": 0.1,
        "no_exact": "It failed.",
        "left_out": ["HIP 1"],
        "left_out_share": 0.4,
        "model_fit": {"flagged": True, "text": "It does not fit."},
        "model_error_dex": {"o_fe": 0.1, "c_fe": 0.2},
    }
    for name, value in failures.items():
        assert len(list_warnings(passed | {name: value})) == 1, name


def test_birth_times_that_no_network_reads_are_named(result):
    stars = result.stars
    times = np.where(np.arange(len(stars.ids)) < 7, 9.0, np.nan)
    dated = stars._replace(birth_time=times, e_birth_time=times)
    shipped = {name: cs.load_npe(name).reader for name in ("tng", "tng-any")}
    assert unread_times(shipped["tng"], stars, "flow") == []  # there are none
    (warning,) = unread_times(shipped["tng"], dated, "flow")
    assert "7 stars" in warning
    assert "--weights tng-any" in warning
    assert unread_times(shipped["tng"], dated, "exact") == []
    assert unread_times(shipped["tng-any"], dated, "flow") == []
    assert result.posterior.method == "exact"
    with_times = replace(result, stars=dated)
    assert with_times.warnings == result.warnings  # exact uses them
    flow = replace(with_times, posterior=result.posterior._replace(method="flow"))
    assert warning in flow.warnings


def test_a_misfit_of_the_first_interval_names_it(result):
    random = np.random.default_rng(0)
    noise, model = random.normal(size=(200, 8)), random.normal(size=(2000, 8))
    text = misfit_test(noise + 1.0, model).text
    fit = {"flagged": True, "text": text}
    alone = replace(result, checks=result.checks._replace(model_fit=fit))
    assert alone.warnings == [text]
    names = psi_names(SHARED_FACTORS)
    some = np.zeros((4, len(names)))
    posterior = cs.GalaxyPosterior(
        "hierarchical", np.zeros((4, 2)), np.zeros(2), np.eye(2), {"converged": True}
    )
    second = HierarchicalPosterior(posterior, names, some, some, some[0], {})
    both = replace(alone, shared_errors=second)
    assert both.warnings == [f"Without shared errors: {text}"]
