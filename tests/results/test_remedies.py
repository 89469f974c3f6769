"""Each warning of the package has its own remedy."""

import numpy as np
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.diagnostics.misfit import misfit_test
from chemsbi_jax.galaxy.hierarchical.doubt import TOO_NARROW, doubts
from chemsbi_jax.galaxy.hierarchical.settings import BLOCKS
from chemsbi_jax.results.remedies import FALLBACK, remedy
from chemsbi_jax.results.warnings import list_warnings, of_place
from helpers.report_pages import MISFIT, made, write

# Warnings

DOUBTFUL = (
    {"sampler": "network", "r_hat": 1.3},
    {"held_blocks": list(BLOCKS)},
    {"held_blocks": list(TOO_NARROW)},
    {"sampler": "nuts", "n_effective": 64.0, "wanted_draws": 100},
    {"mode_distance": 3.0},
    {"predictive_p": 0.01, "predictive_distance": 2.0},
    {"far_population": {"mean_birth_time": 3.2}},
    {"far_errors": {"scatter_mg_fe": 5.7}},
    {"sampler": "nuts", "effective_points": 3.0},
)
"""Checks of an interval with shared errors, each with one doubt that has a remedy."""


def every_warning(tmp_path):
    """Sentences that the package writes about a result."""
    number = {"mean": -2.3, "sd": 0.01}
    robust = {"alpha_imf": number, "log10_n_ia": number, "n_stars": 10}
    checks = made()["checks"] | {
        "no_exact": "The exact method failed; this is the result of the flow. Why.",
        "left_out": ["7"],
        "left_out_share": 0.4,
        "model_fit": MISFIT
        | {"text": "The model does not explain these stars (p = 1e-09): ..."},
        "robust": robust,
        "model_error_dex": {"c_fe": 0.1},
        "halves": {"stable": False, "distance": 3.4},
        "at_rest": False,
        "weak_stars": 3,
        "is_prior": True,
        "network_error_sigma": 3.0,
        "prior_widths": 5.0,
        "mass_at_edge": 1.0,
        "methods_differ_sigma_of_all": [3.0, 0.0],
        "subset": {"n_stars": 10, "of": 100},
        "exact_subset": robust,
    }
    checks["methods_agree"] = checks["methods_agree"] | {"agree": False}
    table = Table({"fe_h": [0.0], "e_fe_h": [0.1], "c_fe": [0.1], "logg": [1.0]})
    table["e_c_fe"] = 0.1
    table.write(tmp_path / "giants.csv", format="ascii.csv")
    random = np.random.default_rng(0)
    noise, model = random.normal(size=(200, 8)), random.normal(size=(2000, 8))
    off, quiet = (misfit_test(x, model).text for x in (noise + 1.0, 0.6 * noise))
    return [
        *list_warnings(checks),
        f"With shared errors: {off}",  # as `HierarchicalPosterior.misfit_text`
        quiet,
        *(warning for checks in DOUBTFUL for warning in doubts(checks)),
        *cs.read_catalog(tmp_path / "giants.csv").report.warnings,
    ]


def test_every_warning_has_its_own_remedy(tmp_path):
    found = every_warning(tmp_path)
    assert len(found) == 28
    remedies = [remedy(warning) for warning in found]
    assert FALLBACK not in remedies
    assert len(set(remedies)) == len(found)
    assert remedy("A new warning.") == FALLBACK


def test_one_star_has_the_remedy_of_several():
    place = {"prior_widths": 1.0, "weak_stars": 1}
    (one,), (several,) = of_place(place), of_place(place | {"weak_stars": 3})
    assert remedy(one) == remedy(several) != FALLBACK


def test_warnings_stand_with_what_to_do(tmp_path):
    warning = "Even and odd rows of the table differ by 3.4 sigma: ..."
    page = write(tmp_path / "report.html", made() | {"warnings": [warning]})
    assert f"{warning} What to do: Check that all rows are stars" in page.text
    page = write(tmp_path / "report.html", made())
    assert "There are no warnings." in page.text


def test_a_warning_about_the_table_leads_to_the_table(tmp_path):
    summary = made() | {"warnings": ["Twenty ages look like logarithms."]}
    summary["catalogue"]["notes"] = summary["warnings"]
    page = write(tmp_path / "report.html", summary)
    assert "What to do: Check this in the table." in page.text
