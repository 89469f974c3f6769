"""Real Chempy and the clean reference, run by run and stage by stage.

Everything here needs the published tables. Double precision, unless a test says so:
the reference runs are in double precision, so what differs is the model.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from chemsbi_jax import simulator
from chemsbi_jax.constants import ABUNDANCES, ELEMENTS, SNIA_WD_MASS
from chemsbi_jax.simulator import CLEAN, LEGACY
from chemsbi_jax.simulator.delay_times import snia_numbers
from chemsbi_jax.simulator.imf import GRID_STEP, N_GRID, fraction_above, make_imf
from chemsbi_jax.simulator.lifetimes import log10_turnoff_mass
from chemsbi_jax.simulator.ssp import mass_bins, ssp_ejecta

NO_HYDROGEN = [i for i, e in enumerate(ELEMENTS) if e != "H"]
"""The reference has a column for H, which is -[Fe/H]."""

pytestmark = pytest.mark.tables


class Runs:
    """A file of reference runs."""

    def __init__(self, path):
        file = np.load(path)
        self.theta = file["theta"]
        self.abundances = file["abundances"][:, NO_HYDROGEN]
        status = file["status"] if "status" in file else np.full(len(self.theta), "ok")
        self.ok = status == "ok"
        assert tuple(file["elements"]) == ELEMENTS

    def difference(self, abundances):
        """|difference| [dex] of the runs that did not fail."""
        return np.abs(abundances - self.abundances)[self.ok]


@pytest.fixture(scope="module")
def tng(data):
    with jax.enable_x64(True):
        return simulator.load_yields("tng")


@pytest.fixture(scope="module")
def prior_runs(data):
    return Runs(data / "reference/chempy_tng_prior.npz")


@pytest.fixture(scope="module")
def box_runs(data):
    return Runs(data / "reference/chempy_tng_uniform5.npz")


@pytest.fixture(scope="module")
def alternative_runs(data):
    return Runs(data / "reference/chempy_alternative_prior.npz")


@pytest.fixture(scope="module")
def legacy(tng, prior_runs, box_runs):
    """Prior and box together, so that one compilation does for both."""
    theta = np.concatenate([prior_runs.theta, box_runs.theta])
    with jax.enable_x64(True):
        out = np.asarray(simulator.simulate(theta, tng, LEGACY))
    return np.split(out, [len(prior_runs.theta)])


@pytest.fixture(scope="module")
def clean(tng, prior_runs):
    with jax.enable_x64(True):
        return np.asarray(simulator.simulate(prior_runs.theta, tng, CLEAN))


def assert_like_chempy(abundances, runs):
    """The same runs fail, and the others agree.

    The accepted medians, 1e-7 dex, are what single-precision tables leave; a star in
    a few thousand may fall on the other side of a grid mass and differ by 1e-5.
    """
    np.testing.assert_array_equal(np.isfinite(abundances).all(axis=1), runs.ok)
    assert np.isnan(abundances[~runs.ok]).all()
    difference = runs.difference(abundances)
    assert np.median(difference, axis=0).max() <= 1e-7
    assert np.percentile(difference, 99, axis=0).max() <= 1e-6
    assert difference.max() <= 1e-4


@pytest.mark.thorough
def test_legacy_on_the_prior(legacy, prior_runs):
    assert (~prior_runs.ok).sum() == 6  # nitrogen below zero
    assert_like_chempy(legacy[0], prior_runs)


@pytest.mark.thorough
def test_legacy_on_the_wide_box(legacy, box_runs):
    assert (~box_runs.ok).sum() == 292  # N or H below zero, or the 5 % rule
    assert_like_chempy(legacy[1], box_runs)


@pytest.mark.thorough
def test_legacy_with_the_alternative_yields(data, alternative_runs):
    with jax.enable_x64(True):
        yields = simulator.load_yields("alternative-reference")
        out = simulator.simulate(alternative_runs.theta, yields, LEGACY)
    assert_like_chempy(np.asarray(out), alternative_runs)


def test_clean_agrees_with_the_clean_reference(data, clean):
    """The same formulas in another order: rounding alone, 1e-9 dex, is left."""
    runs = Runs(data / "reference/clean_tng_prior.npz")
    assert np.abs(clean - runs.abundances).max() <= 1e-8


@pytest.mark.thorough
def test_clean_stays_close_to_chempy(clean, prior_runs):
    """The accidents are small: what they amount to was measured in the original.

    Below 1.2 Gyr the first SN Ia step is all or nothing there, by up to 0.05 dex.
    """
    late = prior_runs.theta[prior_runs.ok, -1] > 1.2
    difference = prior_runs.difference(clean)[late]
    assert np.median(difference, axis=0).max() < 0.004
    assert np.percentile(difference, 99, axis=0).max() < 0.012
    assert np.median(difference, axis=0).min() > 1e-4  # it is not the legacy model


@pytest.mark.thorough
def test_clean_has_no_failures_in_the_prior(clean, prior_runs):
    assert np.isfinite(clean).all()
    assert not prior_runs.ok.all()


@pytest.mark.thorough
def test_clean_is_continuous_in_birth_time(tng, clean):
    """Neighbours 6 Myr apart; the grids of the original make steps of up to 6e-4."""
    theta = np.tile([-2.3, -2.89, -0.3, 0.55, 0.5, 0.0], (len(clean), 1))
    theta[:, -1] = np.linspace(1.2, 13.79, len(clean))
    with jax.enable_x64(True):
        steps = np.diff(np.asarray(simulator.simulate(theta, tng)), axis=0)
    windows = np.lib.stride_tricks.sliding_window_view(steps, 11, axis=0)
    jumps = np.abs(steps[5:-5] - np.median(windows, axis=-1))
    assert jumps.max() < 1e-4


@pytest.mark.thorough
def test_single_precision(clean, prior_runs):
    """A dozen roundings of 6e-8 in 27 steps: far below any measured error."""
    with jax.enable_x64(False):
        tng = simulator.load_yields("tng")
        single = np.asarray(simulator.simulate(prior_runs.theta, tng))
    assert single.dtype == np.float32
    difference = np.abs(single - clean)
    assert np.percentile(difference, 99, axis=0).max() <= 1e-5
    assert difference.max() <= 1e-4


# Stage by stage, legacy, for two birth times


class Stages:
    """One run of Chempy, and ours of the same theta."""

    def __init__(self, file, birth_time, tracks, index):
        prefix = f"T{birth_time}_"
        self.chempy = {
            k.removeprefix(prefix): file[k] for k in file if k.startswith(prefix)
        }
        self.track = jax.tree.map(lambda x: np.asarray(x[index]), tracks)
        self.theta = self.chempy["theta"]
        self.dt = self.theta[-1] / LEGACY.n_steps


@pytest.fixture(scope="module")
def all_stages(data, tng):
    file = np.load(data / "reference/chempy_intermediate.npz")
    times = (8, 13)
    with jax.enable_x64(True):
        theta = np.stack([file[f"T{t}_theta"] for t in times])
        tracks = simulator.simulate_track(theta, tng, LEGACY)
    return {t: Stages(file, t, tracks, i) for i, t in enumerate(times)}


@pytest.fixture(params=(8, 13), ids=("8 Gyr", "13 Gyr"))
def stages(request, all_stages):
    with jax.enable_x64(True):
        yield all_stages[request.param]


def test_imf_mass_fractions(data):
    """Euler-Maclaurin against the plain sum: 1e-8 by its next term."""
    file = np.load(data / "reference/chempy_intermediate.npz")
    grid, dm = file["imf_mass_grid"], file["imf_dm_alpha-2.3"]
    assert len(grid) == N_GRID
    assert np.diff(grid).mean() == pytest.approx(GRID_STEP, rel=1e-12)
    masses = np.array([1.0, 1.125, 1.95, 3.25, 8.0, 12.5, 27.5, 80.0])
    below_100 = dm[:-1]  # the last mass is in the norm only
    expected = [below_100[grid[:-1] >= m].sum() for m in masses]
    with jax.enable_x64(True):
        imf = make_imf(jnp.asarray(-2.3), LEGACY)
        got = fraction_above(jnp.log10(masses), imf, LEGACY)
    np.testing.assert_allclose(got, expected, rtol=2e-8)


def test_times_and_star_formation(stages):
    np.testing.assert_allclose(stages.track.time, stages.chempy["time"], rtol=1e-14)
    np.testing.assert_allclose(stages.track.formed, stages.chempy["sfr"], rtol=1e-14)


def test_sn_ia_numbers(stages):
    """The norm is a sum by Euler-Maclaurin, whose next term is 3e-12 of it."""
    numbers = snia_numbers(jnp.asarray(stages.theta[1]), jnp.asarray(stages.dt), LEGACY)
    expected = stages.chempy["ssp_snia_number"][0]
    assert expected[0] == 0.0  # nothing explodes at once
    np.testing.assert_allclose(numbers, expected[1:], rtol=1e-11)


def test_turnoff_masses(stages):
    """Chempy interpolates on its mass grid: the masses agree to a part of a step.

    What counts is the first grid mass above, and that is the same.
    """
    ages = jnp.log10(stages.dt * jnp.arange(1, LEGACY.n_steps + 1))
    grid = 0.1 + GRID_STEP * np.arange(N_GRID)
    n_other = 0
    for birth, metallicity in enumerate(stages.chempy["ssp_Z"]):
        log10_mass = log10_turnoff_mass(ages, jnp.asarray(metallicity), LEGACY)
        n_ages = LEGACY.n_steps - birth
        mass = 10.0 ** np.asarray(log10_mass)[:n_ages]
        expected = stages.chempy["ssp_turnoff_mass"][birth, 1 : n_ages + 1]
        np.testing.assert_allclose(mass, expected, atol=0.1 * GRID_STEP)
        n_other += (grid.searchsorted(mass) != grid.searchsorted(expected)).sum()
    assert n_other == 0


def test_ejecta_of_each_generation(stages, tng):
    imf = make_imf(jnp.asarray(stages.theta[0]), LEGACY)
    bins = tuple(mass_bins(s, imf, LEGACY) for s in (tng.sn2, tng.agb))
    ages = jnp.log10(stages.dt * jnp.arange(1, LEGACY.n_steps + 1))

    @jax.jit
    @jax.vmap
    def returned(metallicity, composition):
        so_far = ssp_ejecta(ages, metallicity, composition, imf, bins, tng, LEGACY)
        return jnp.diff(so_far, axis=0, prepend=0.0)

    chempy = stages.chempy
    got = returned(
        jnp.asarray(chempy["ssp_Z"]), jnp.asarray(chempy["ssp_birth_fractions"])
    )
    sn_ia = np.array(tng.sn_ia.ejecta)
    sn_ia[ELEMENTS.index("H")] += SNIA_WD_MASS - float(tng.sn_ia.mass)
    for birth in range(LEGACY.n_steps):
        n_ages = LEGACY.n_steps - birth
        numbers = chempy["ssp_snia_number"][birth, 1 : n_ages + 1]
        total = np.asarray(got[birth, :n_ages]) + numbers[:, None] * sn_ia
        expected = chempy["ssp_total_ejecta"][birth, 1 : n_ages + 1]
        # relative to all that a generation returns, not to cancelled differences
        np.testing.assert_allclose(total, expected, rtol=5e-8, atol=1e-10)


def test_infall_and_reservoir(stages):
    chempy, track = stages.chempy, stages.track
    np.testing.assert_allclose(track.infall[1:], chempy["infall"][1:], rtol=1e-8)
    reservoir = track.reservoir.sum(axis=-1)
    np.testing.assert_allclose(reservoir, chempy["reservoir_mass"], rtol=1e-9)
    fractions = track.reservoir / reservoir[:, None]
    np.testing.assert_allclose(
        fractions, chempy["reservoir_fraction"], rtol=5e-8, atol=1e-16
    )


def test_gas(stages):
    chempy, track = stages.chempy, stages.track
    np.testing.assert_allclose(track.gas_mass, chempy["gas_mass"], rtol=1e-8)
    np.testing.assert_allclose(
        track.composition, chempy["ism_fraction"], rtol=5e-8, atol=1e-16
    )
    ejecta = track.ejecta.sum(axis=-1)
    np.testing.assert_allclose(ejecta, chempy["feedback_total"], rtol=5e-8)


def test_abundances_over_time(stages):
    """From the second point on: before, there are no metals to compare."""
    expected = stages.chempy["abundances"][2:, NO_HYDROGEN]
    np.testing.assert_allclose(stages.track.abundances[2:], expected, atol=1e-7)
    assert stages.track.abundances.shape[-1] == len(ABUNDANCES)
