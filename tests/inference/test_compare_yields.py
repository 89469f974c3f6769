"""Comparison of yield sets: evidences, leave-one-out and stacking; files."""

import json

import arviz as az
import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal

import chemsbi_jax as cs
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.exact.polynomial import Design, interpolate, log_integral
from chemsbi_jax.galaxy.rows import random_rows
from chemsbi_jax.galaxy.set_fit import fit_set
from chemsbi_jax.inference.comparison import compare_yields
from chemsbi_jax.inference.comparison_result import SetRecord, YieldComparison
from chemsbi_jax.inference.loo import leave_one_out, stacking_weights
from helpers import linear_galaxy
from helpers.paths import TOY

N = 20
SLOPES, SIGMA = linear_galaxy.SLOPES, linear_galaxy.SIGMA


def log_z(values, columns=slice(None)):
    """Marginal likelihood of linear stars: a Gaussian of all readings at once."""
    slopes = np.tile(SLOPES[columns], (len(values), 1))
    covariance = slopes @ slopes.T + SIGMA**2 * np.eye(len(slopes))
    readings = values[:, columns].ravel()
    return multivariate_normal.logpdf(readings, np.zeros(len(slopes)), covariance)


@pytest.fixture(scope="module")
def stars():
    return linear_galaxy.make_stars(N)


@pytest.fixture(scope="module")
def fit(stars):
    networks = linear_galaxy.networks()
    return fit_set(jax.random.key(1), networks, stars, np.arange(N))


def test_the_evidence_is_the_closed_form(fit, stars):
    # 1 nat is what the comparison needs; the draws leave a few hundredths
    assert fit.evidence.value == pytest.approx(log_z(stars.values), abs=0.1)
    assert fit.evidence.error < 0.1


def test_the_density_of_a_left_out_star_is_the_closed_form(fit, stars):
    found = leave_one_out(fit.evidence.pointwise)
    full = log_z(stars.values)
    expected = [full - log_z(np.delete(stars.values, i, axis=0)) for i in range(N)]
    # 1000 draws of the galaxy
    np.testing.assert_allclose(found.elpd, expected, atol=0.05)
    assert found.k_hat.max() < 0.7


def test_the_density_of_a_left_out_abundance_is_the_closed_form(fit, stars):
    full = log_z(stars.values)
    for i, name in enumerate(cs.ABUNDANCES):
        others = np.delete(np.arange(8), i)
        expected = (full - log_z(stars.values, others)) / N
        assert fit.left_out_element[name] == pytest.approx(expected, abs=0.02)


def test_stars_of_the_model_raise_no_alarm(fit, stars):
    assert not fit.misfit.is_flagged
    assert fit.is_used.all()
    mean, covariance = linear_galaxy.closed_form(stars)
    sd = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((fit.posterior.mean - mean) / sd, 0.0, atol=0.05)


def test_the_integral_of_a_gaussian():
    """On a sheared design, with a likelihood whose evidence is known."""
    precision = np.array([[40.0, 12.0], [12.0, 90.0]])
    centre = np.array([0.4, -0.3])
    covariance = np.linalg.inv(precision + np.eye(2))
    mean = covariance @ precision @ centre
    design = Design(mean + 0.02, 5.0 * np.linalg.cholesky(covariance), 9)
    away = design.points - centre[:, None]
    log_likelihood = 7.0 - 0.5 * np.einsum("ip,ij,jp->p", away, precision, away)
    expected = 7.0 + 0.5 * np.log(np.linalg.det(2.0 * np.pi * np.linalg.inv(precision)))
    expected += multivariate_normal.logpdf(
        centre, np.zeros(2), np.linalg.inv(precision) + np.eye(2)
    )
    # within 5 sigma lies all but 4e-6
    assert log_integral(design, log_likelihood) == pytest.approx(expected, abs=1e-3)
    at = np.array([[0.37], [-0.28]])
    off = at[:, 0] - centre
    each = interpolate(design, log_likelihood, log_likelihood[None], at)[0, 0]
    assert each == pytest.approx(7.0 - 0.5 * off @ precision @ off, abs=1e-6)


@pytest.mark.filterwarnings("ignore::UserWarning")  # of large k-hat
def test_stacking_is_that_of_arviz():
    """From the densities of each star as from the likelihoods."""
    random = np.random.default_rng(0)
    each = {
        name: random.normal(shift, 1.0, (30, 400))
        for name, shift in (("one", 0.0), ("two", 0.1), ("three", -2.0))
    }
    ours = stacking_weights({k: leave_one_out(v).elpd for k, v in each.items()})
    data = {
        k: az.from_dict(
            posterior={"x": np.zeros((1, 400))}, log_likelihood={"star": v.T[None]}
        )
        for k, v in each.items()
    }
    theirs = az.compare(data, ic="loo", method="stacking")["weight"]
    for name, weight in ours.items():
        assert weight == pytest.approx(theirs[name], abs=0.02)
    assert stacking_weights({"alone": np.zeros(3)}) == {"alone": 1.0}


def make_record(name, mean, ln_z, flagged=True, left_out=(), n=6):
    elpd = np.full(n, ln_z / n)
    elpd[list(left_out)] = np.nan
    random = np.random.default_rng(len(name))
    return SetRecord(
        name=name,
        sha256="0",
        mean=mean,
        covariance=[[1e-4, 0.0], [0.0, 4e-4]],
        draws=random.normal(mean, [0.01, 0.02], (200, 2)).tolist(),
        ln_z=ln_z,
        ln_z_error=0.1,
        elpd=(elpd + 0.01 * random.normal(size=n)).tolist(),
        k_hat=np.full(n, 0.1).tolist(),
        element={"mg_fe": -0.5, "o_fe": None},
        flagged=flagged,
        p_value=1e-9 if flagged else 0.4,
        text="",
        residual={"mg_fe": 0.12, "o_fe": -0.02},
        residual_error={"mg_fe": 0.01, "o_fe": 0.01},
        left_out=list(left_out),
    )


@pytest.fixture
def comparison():
    records = (
        make_record("one", [-2.5, -2.9], 10.0),
        make_record("second", [-2.1, -3.0], -20.0, left_out=[2]),
        SetRecord(name="third", sha256="0", failed="It did not converge."),
    )
    return YieldComparison(records, {"seed": 0}, 6)


def test_sets_are_compared_with_the_same_stars(comparison):
    assert comparison.is_common.sum() == 5
    one = comparison.records[0]
    assert comparison.ln_z["one"] == pytest.approx(10.0 - one.elpd[2])
    assert comparison.ln_z["second"] == pytest.approx(-20.0)
    assert sum(comparison.probability.values()) == pytest.approx(1.0)


def test_the_mixture_has_both_widths(comparison):
    mixture = comparison.mixture
    share = comparison.weights["one"]
    assert share > 0.5
    between = share * (1.0 - share) * 0.4**2
    assert mixture.covariance[0, 0] == pytest.approx(1e-4 + between)
    assert len(mixture.draws) == 4000


def test_the_table_says_what_evidences_are_worth(comparison):
    text = comparison.table()
    assert "should not be quoted" in text
    assert "no posterior: It did not converge." in text
    assert "At least one set does not explain 1 star; this star does not" in text
    assert "0.283 in alpha_imf" in text  # scatter of the sets
    assert "0.010 in alpha_imf" in text  # formal width
    silent = YieldComparison(
        tuple(r._replace(flagged=False) for r in comparison.records), {}, 6
    )
    assert "should not be quoted" not in silent.table()


def test_the_files(comparison, tmp_path):
    comparison.save(tmp_path)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        "comparison.md", "comparison.json", "posteriors.png", "residuals.png",
    }  # fmt: skip
    summary = json.loads((tmp_path / "comparison.json").read_text())
    assert summary["n_common"] == 5
    assert summary["sets"][2]["failed"] == "It did not converge."


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ("tng,tng", "tng twice"),
        ("tng,,nkt13+k10+w7", "an empty name"),
        ((), "an empty name"),
        ("tng,unheard", "Unknown yields 'unheard'"),
    ],
)
def test_bad_names(sets, message):
    stars = cs.Stars.complete(np.zeros((2, 8)))
    with pytest.raises(InputError, match=message):
        compare_yields(stars, sets, quiet=True)


def test_a_done_set_is_not_repeated(stars, tmp_path):
    """Its record is read; other stars, another seed or other yields are refused."""
    from chemsbi_jax.galaxy.any_yields import yields_checksum
    from chemsbi_jax.inference import comparison as module

    settings = module._settings(stars, 0, "simulator", 0)
    record = make_record(str(TOY), [-2.5, -2.9], 10.0, n=N)
    record = record._replace(sha256=yields_checksum(TOY), settings=settings)
    path = module._path(tmp_path, str(TOY))
    path.write_text(json.dumps(record._asdict()))
    options = {"forward": "simulator", "folder": tmp_path, "n_element_stars": 0}
    found = compare_yields(stars, [TOY], **options, quiet=True)
    assert found.records[0].ln_z == 10.0
    with pytest.raises(InputError, match="seed was 0, is 1"):
        compare_yields(stars, [TOY], seed=1, **options, quiet=True)
    path.write_text(json.dumps(record._replace(sha256="1")._asdict()))
    with pytest.raises(InputError, match="yields .checksum. was 1"):
        compare_yields(stars, [TOY], **options, quiet=True)


@pytest.fixture
def done(stars, tmp_path):
    """Folder of a comparison of the stars, whose record has one abundance more."""
    from chemsbi_jax.galaxy.any_yields import yields_checksum
    from chemsbi_jax.inference import comparison as module

    def write(stars: cs.Stars, measured: list[str]) -> None:
        settings = module._settings(stars, 0, "simulator", 0)
        record = make_record(str(TOY), [-2.5, -2.9], 10.0, n=N)._replace(
            sha256=yields_checksum(TOY),
            settings=settings,
            residual=dict.fromkeys(measured, 0.0),
        )
        path = module._path(tmp_path, str(TOY))
        path.write_text(json.dumps(record._asdict()))

    return write


def test_further_columns_without_values_are_no_other_stars(stars, done, tmp_path):
    """One set alone has 15 columns, and together with another one eight."""
    options = {"forward": "simulator", "folder": tmp_path, "n_element_stars": 0}
    done(stars.select((*cs.ABUNDANCES, "na_fe", "s_fe")), list(cs.ABUNDANCES))
    found = compare_yields(stars, [TOY], **options, quiet=True)
    assert found.records[0].ln_z == 10.0


def test_the_refusal_names_the_abundances_that_differ(stars, done, tmp_path):
    options = {"forward": "simulator", "folder": tmp_path, "n_element_stars": 0}
    fewer = stars.observed.copy()
    fewer[:, 4] = False  # n_fe
    without = stars._replace(observed=fewer)
    measured = [a for a in cs.ABUNDANCES if a != "n_fe"]
    done(without, measured)
    with pytest.raises(InputError, match="uses n_fe, too; --without n_fe leaves"):
        compare_yields(stars, [TOY], **options, quiet=True)
    done(stars, list(cs.ABUNDANCES))
    with pytest.raises(InputError, match="That one used n_fe, too"):
        compare_yields(without, [TOY], **options, quiet=True)
    with pytest.raises(InputError) as error:  # nothing about abundances
        compare_yields(stars, [TOY], seed=1, **options, quiet=True)
    assert "abundances" not in str(error.value)


def test_random_rows(key):
    assert random_rows(key, 5, 9).tolist() == [0, 1, 2, 3, 4]
    rows = random_rows(key, 50, 9)
    assert len(set(rows.tolist())) == 9
    assert (np.diff(rows) > 0).all()


@pytest.mark.slow  # programs for the simulator
def test_the_right_set_wins(tmp_path):
    """Stars of the toy yields, and the same yields with less iron of SNe Ia."""
    content = json.loads(TOY.read_text())
    content["sn_ia"]["ejecta"]["Fe"] *= 0.7
    content["sn_ia"]["ejecta"]["Si"] *= 2.0
    other = tmp_path / "other.json"
    other.write_text(json.dumps(content))
    random = np.random.default_rng(3)
    theta = np.tile([-2.2, -2.8, -0.3, 0.55, 0.5, 6.0], (10, 1))
    theta[:, 2] += 0.3 * random.normal(size=10)
    theta[:, 5] = random.uniform(3.0, 12.0, 10)
    clean = np.asarray(cs.simulate(theta, cs.load_yields(TOY)))
    stars = cs.Stars.complete(clean + 0.05 * random.normal(size=clean.shape))
    found = compare_yields(
        stars, [TOY, other], forward="simulator", n_element_stars=0, quiet=True
    )
    assert found.probability[str(TOY)] > 0.99
    assert found.weights[str(TOY)] > 0.8
