"""An interval that no stars can give is no answer: "+- 0.0000" ends with an error."""

import json

import numpy as np
import pytest
from astropy.table import Table

import chemsbi_jax as cs
from chemsbi_jax.cli.run import run_script
from chemsbi_jax.errors import InputError, WidthError
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.galaxy.width import narrowest, require_width
from chemsbi_jax.inference.text import _interval
from chemsbi_jax.types import GalaxyPosterior
from helpers.paths import EXAMPLE, load_script

N = 200
THOROUGH = pytest.mark.thorough


@pytest.fixture(scope="module")
def networks():
    return load_networks("tng-any")


@pytest.fixture(scope="module")
def stars():
    return cs.read_stars(EXAMPLE).take(slice(N))


def posterior(sd, mean=-2.3):
    means = np.array([mean, -2.9])
    sd = np.broadcast_to(sd, 2)
    return GalaxyPosterior("flow", means[None], means, np.diag(sd**2), {})


BAD = {
    "no width": (0.0, -2.3),
    "rounds to 0.0000": (4e-6, -2.3),
    "one of the two": ((0.02, 4e-6), -2.3),
    "width is not a number": (np.nan, -2.3),
    "no mean": (0.02, np.nan),
    "no end": (np.inf, -2.3),
}


@pytest.mark.parametrize(("sd", "mean"), BAD.values(), ids=BAD)
def test_a_width_that_the_stars_can_not_give_is_refused(networks, stars, sd, mean):
    with pytest.raises(WidthError) as info:
        require_width(posterior(sd, mean), networks.npe.prior, stars, "a.csv", "Why.")
    for part in ("a.csv", "method flow", "Why.", "--columns", "--solar-from"):
        assert part in str(info.value)
    assert isinstance(info.value, InputError)  # exit code 2


def test_a_width_that_the_stars_can_give_passes(networks, stars):
    for sd in (1e-3, 0.02, 0.3):
        require_width(posterior(sd), networks.npe.prior, stars)


def test_the_bound_follows_from_the_errors(networks, stars):
    """1 / sqrt(sum (3 / e)^2) of the observed abundances, but at most the prior's."""
    prior = networks.npe.prior
    one = stars.take(slice(1))
    for n_seen in (1, 8):
        observed = np.arange(8)[None] < n_seen
        some = one._replace(observed=observed, errors=np.where(observed, 0.06, np.nan))
        of_data = 0.06 / 3.0 / np.sqrt(n_seen)
        expected = (of_data**-2 + 0.3**-2) ** -0.5
        np.testing.assert_allclose(narrowest(prior, some), expected, rtol=1e-5)
    exact = one._replace(errors=np.full((1, 8), 1e-12))
    np.testing.assert_allclose(narrowest(prior, exact), 3e-7, rtol=1e-5)


@pytest.mark.parametrize(
    "weights",
    ["tng-any", *(pytest.param(w, marks=THOROUGH) for w in ("tng", "tng-legacy"))],
)
def test_no_emulator_is_steeper_than_the_bound(weights):
    """Up to four prior widths from the mean of the prior."""
    import jax

    from chemsbi_jax import priors
    from chemsbi_jax.galaxy.width import STEEPEST

    npe, forward = load_networks(weights)
    latent = jax.random.normal(jax.random.key(0), (2000, 6))
    for scale in (1.0, 4.0):
        theta = priors.from_normal(npe.prior, latent.at[:, :2].multiply(scale))
        slopes = jax.jit(jax.vmap(jax.jacfwd(forward)))(theta)[..., :2]
        assert np.abs(slopes).max() < STEEPEST


def absurd(folder):
    """A table that passes each check of its columns, and that no model can make."""
    table = Table.read(EXAMPLE)[[0, *range(N)]]  # one row is dropped
    table["mg_fe"] = 5.0
    path = folder / "absurd.csv"
    table.write(path, format="ascii.csv")
    return path


def test_infer_galaxy_and_infer_refuse_it(networks, tmp_path, key):
    table = cs.read_stars(EXAMPLE).take(slice(N))
    values = table.values.copy()
    values[:, cs.ABUNDANCES.index("mg_fe")] = 5.0
    table = table._replace(values=values)
    with pytest.raises(WidthError, match="can't give less than"):
        cs.infer_galaxy(key, networks.npe, table, "flow", forward=networks.forward)
    with pytest.raises(WidthError, match="can't give less than"):
        cs.infer(table, method="flow", networks=networks, quiet=True)


@pytest.mark.parametrize("has_results", [pytest.param(False, marks=THOROUGH), True])
def test_the_script_ends_with_code_2_and_writes_nothing(
    tmp_path, monkeypatch, capsys, has_results
):
    path, out = absurd(tmp_path), tmp_path / "out"
    if has_results:  # of an earlier run
        out.mkdir()
        for name in ("summary.json", "dropped_rows.csv"):
            (out / name).write_text(json.dumps({"earlier": name}))
    before = {p: p.read_bytes() for p in out.rglob("*")}
    flags = [str(path), "--out", str(out), "--quiet", "--method", "flow"]
    flags += ["--weights", "tng-any"]
    monkeypatch.setattr("sys.argv", ["infer.py", *flags])
    module = load_script("infer")
    assert run_script(module.main, module.Config) == 2
    said = capsys.readouterr()
    assert said.err.startswith("error: ")
    assert str(path) in said.err
    assert "can't give less than" in said.err
    assert "0.0000" not in said.err + said.out
    assert {p: p.read_bytes() for p in out.rglob("*")} == before


def test_a_narrow_interval_is_printed_with_its_digits():
    lines = _interval(posterior((3.1e-5, 0.012)))
    assert lines[0].endswith("-2.300000 +- 0.000031")
    assert lines[1].endswith("-2.9000 +- 0.0120")
