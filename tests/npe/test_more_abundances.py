"""Networks for any star of a yield set with more than the default abundances."""

import json

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.constants import ALL_ABUNDANCES
from chemsbi_jax.emulator import save_emulator
from chemsbi_jax.errors import CatalogError, WeightsError
from chemsbi_jax.galaxy.amortised.score_correction import n_normals
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.npe import AnyErrors, NpeConfig, load_npe, save_npe
from chemsbi_jax.npe.measurements import APOGEE
from chemsbi_jax.npe.reading import as_table
from chemsbi_jax.types import EIGHT
from helpers.networks import SMALL_FLOW, untrained

PRIOR = priors.paper_prior()
MEASURE = AnyErrors(abundances=ALL_ABUNDANCES)
N = len(ALL_ABUNDANCES)


@pytest.fixture(scope="module")
def readings():
    """Correlated noise-free readings of 15 abundances and a birth time; observed."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(N + 1, N + 1)) * 0.2
    clean = rng.normal(size=(3000, N + 1)) @ mix.T + np.array([0.1] * N + [7.0])
    values, time = jnp.float32(clean[:, :N]), jnp.float32(clean[:, N])
    inputs = jax.jit(MEASURE.observe)(jax.random.key(0), values, time)
    return clean, np.asarray(inputs)


def test_the_estimate_uses_every_abundance(readings):
    """Against the closed form of the linear model, by matrices in float64."""
    clean, inputs = readings
    reader = MEASURE.make_reader(inputs, clean[:, :N], clean[:, N])
    assert reader.n_features == 5 * (N + 1)
    basis, read = np.asarray(reader.basis, float), eqx.filter_jit(reader)
    for row in inputs[:20].astype(float):
        value = np.r_[row[:N], row[-2]]
        error = np.r_[row[N:-2], row[-1]]
        seen = error > 0
        z = ((value - reader.centre) / reader.scale)[seen]
        tells = basis[seen].T / (error / np.asarray(reader.scale))[seen] ** 2
        covariance = np.linalg.inv(np.eye(N + 1) + tells @ basis[seen])
        known = covariance @ tells @ z / np.sqrt(1 - np.diag(covariance) + 1e-3)
        found = np.asarray(read(jnp.asarray(row, jnp.float32)))
        np.testing.assert_allclose(found[: N + 1], known, atol=5e-3)


def test_a_table_keeps_its_columns(readings):
    """Stars to inputs and back; a star with other columns is refused."""
    reader, clean = MEASURE.blank_reader(), jnp.float32(readings[0][:50])
    like = AnyErrors("galah", True, ALL_ABUNDANCES)  # no error at the ends of the range
    inputs = np.asarray(like.observe(jax.random.key(2), clean[:, :N], clean[:, N]))
    stars = as_table(inputs, ALL_ABUNDANCES)
    assert stars.abundances == ALL_ABUNDANCES
    np.testing.assert_allclose(reader.inputs(stars), inputs, rtol=1e-6)
    # the order of the columns does not matter, and absent columns are gaps
    other = stars.select(ALL_ABUNDANCES[::-1])
    np.testing.assert_array_equal(reader.inputs(other), reader.inputs(stars))
    eight = reader.inputs(stars.select(cs.ABUNDANCES))
    np.testing.assert_array_equal(eight[:, N + 8 : -2], 0.0)
    np.testing.assert_allclose(eight[:, :8], inputs[:, :8], rtol=1e-6)
    with pytest.raises(CatalogError, match="got na_fe"):
        AnyErrors().blank_reader().inputs(stars)


def test_kinds_of_stars_have_the_further_abundances_of_the_surveys():
    errors, _ = AnyErrors("apogee", False, ALL_ABUNDANCES).draw_errors(
        jax.random.key(0), 3
    )
    seen = np.asarray(errors)[0] > 0.0
    names = [a for a, s in zip(ALL_ABUNDANCES, seen, strict=True) if s]
    assert set(names) == {*APOGEE, *set(ALL_ABUNDANCES) - set(cs.ABUNDANCES)}
    errors, _ = MEASURE.draw_errors(jax.random.key(1), 4000)
    share = (np.asarray(errors) > 0.0).mean(axis=0)
    of = dict(zip(ALL_ABUNDANCES, share, strict=True))
    assert of["he_fe"] == pytest.approx(of["ne_fe"], abs=0.05)
    assert of["na_fe"] > of["he_fe"] + 0.1
    assert (share > 0.3).all()


def test_weights_survive_a_round_trip_and_name_their_abundances(tmp_path):
    npe = untrained(PRIOR, measure=MEASURE)
    config = NpeConfig(flow=SMALL_FLOW, measure=MEASURE)
    save_npe(tmp_path, npe, config, {})
    again = load_npe(tmp_path)
    assert again.reader.abundances == ALL_ABUNDANCES
    for x, y in zip(jax.tree.leaves(npe), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(x, y)
    assert n_normals(again) == 1 + 6 + N + 1
    path = tmp_path / "npe.json"
    spec = json.loads(path.read_text())
    path.write_text(json.dumps(spec | {"abundances": list(EIGHT)}))
    with pytest.raises(WeightsError, match="abundances is"):
        load_npe(tmp_path)


def test_a_network_and_an_emulator_of_other_abundances_are_refused(tmp_path):
    npe = untrained(PRIOR, measure=MEASURE)
    save_npe(tmp_path, npe, NpeConfig(flow=SMALL_FLOW, measure=MEASURE), {})
    save_emulator(tmp_path, cs.load_emulator("tng"), {})
    with pytest.raises(WeightsError, match="npe reads .*na_fe.*the emulator has"):
        load_networks(tmp_path)
