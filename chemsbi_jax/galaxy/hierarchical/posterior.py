"""Draws of psi from the network, the budget of the width, and a check of the stars."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, UInt32

from chemsbi_jax.compute.quick import quick_jit
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.galaxy.hierarchical.blocks import padded_length
from chemsbi_jax.galaxy.hierarchical.mock import (
    LIMIT,
    N_READINGS,
    draw_stars,
    is_population_held,
)
from chemsbi_jax.galaxy.hierarchical.moments import N_MOMENTS
from chemsbi_jax.galaxy.hierarchical.network import (
    SharedNetwork,
    sample,
    summarise,
)
from chemsbi_jax.galaxy.hierarchical.population_form import draw_form
from chemsbi_jax.galaxy.hierarchical.settings import BLOCKS
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star
from chemsbi_jax.types import AnyArray

N_AT_ONCE = 1000  # draws of one program
N_OF_WIDTH = 2000  # draws of each block's width
N_CHECKED = 128  # mock galaxies of a check
# MIN_CHECKS sets of N_CHECKED mock galaxies, as the directions of one set are too
# uncertain; up to MAX_CHECKS sets while p < CLEAR_P
CLEAR_P, MIN_CHECKS, MAX_CHECKS = 0.5, 2, 8
MAX_DISTANCE = 2.5  # beyond it, the network is not used
N_DIRECTIONS = 12  # of the summaries, those that vary most
# mean readings of a galaxy in its summary, which ends with the number of its stars
MEANS = slice(-1 - N_MOMENTS, -1 - N_MOMENTS + N_READINGS)
# of a feature; the features of a reading that no star has are equal in all galaxies
SMALLEST_WIDTH = 1e-6


class Galaxy(NamedTuple):
    """Stars, filled up to one of few numbers, and the priors of what they share."""

    stars: Star
    counts: Float[np.ndarray, " star"]  # 1, or 0 for a row that only fills up
    layout: Layout  # with the prior scales
    ratio: Float[np.ndarray, " psi"]  # prior scales over those of the training


def padded(stars: Star, layout: Layout, ratio: np.ndarray) -> Galaxy:
    """The galaxy with its stars filled up to one of few numbers by repeats."""
    n = len(stars.values)
    size = padded_length(n)
    rows = np.arange(size) % n
    counts = np.asarray(np.arange(size) < n, np.float32)
    return Galaxy(jax.tree.map(lambda x: x[rows], stars), counts, layout, ratio)


def draw_psi(
    key: Key[Array, ""], network: SharedNetwork, galaxy: Galaxy, n: int
) -> Float[np.ndarray, "draw psi"]:
    """Draws of the latents of all shared parameters, in float64.

    Each call of the one program makes `N_AT_ONCE` draws, for any `n`.
    """
    calls = np.arange(-(-n // N_AT_ONCE), dtype=np.uint32)
    parts = [
        _draw(key, np.asarray(i), network, galaxy)  # key reuse: `i` is folded into it
        for i in calls
    ]
    return np.concatenate([np.asarray(x, float) for x in parts])[:n]


@quick_jit
def _draw(
    key: Key[Array, ""], i: UInt32[AnyArray, ""], network: SharedNetwork, galaxy: Galaxy
) -> Float[Array, "draw psi"]:
    """Draws of call `i`. Its key is made here: outside it would take two programs."""
    summary = summarise(network, galaxy.stars, galaxy.counts)
    key = jax.random.fold_in(key, i)
    return sample(key, network, summary, galaxy.ratio, N_AT_ONCE)


def width_budget(key: Key[Array, ""], network: SharedNetwork, galaxy: Galaxy) -> dict:
    """Relative decrease of the width of each galaxy parameter if a block is held.

    The network has the prior scales as inputs, so each block is held in turn, and "all"
    of them together. All draws are made from the same deviates, so that most of their
    noise cancels: 0.005 is left.

    Args:
        key: determines the draws.
        network: of the shared parameters.
        galaxy: its stars and priors.
    """
    whole = _widths(key, network, galaxy)
    budget, at = {}, galaxy.layout.slices()
    scale = np.asarray(galaxy.layout.scale)
    indices = np.arange(len(scale))
    blocks = {name: (name,) for name in BLOCKS} | {"all": BLOCKS}
    for name, members in blocks.items():
        rows = np.concatenate([indices[at[member]] for member in members])
        if not scale[rows].any():  # held already
            budget[name] = dict.fromkeys(PARAMETERS[:N_GLOBAL], 0.0)
            continue
        ratio = np.array(galaxy.ratio)
        ratio[rows] = 0.0
        held = galaxy._replace(ratio=ratio)
        left = _widths(key, network, held)  # key reuse: the same deviates
        share = np.clip(1.0 - left / whole, 0.0, 1.0)
        budget[name] = dict(zip(PARAMETERS, share.tolist(), strict=False))
    return budget


def _widths(
    key: Key[Array, ""], network: SharedNetwork, galaxy: Galaxy
) -> Float[np.ndarray, " 2"]:
    """Standard deviations of the latents of the galaxy's parameters."""
    return draw_psi(key, network, galaxy, N_OF_WIDTH)[:, :N_GLOBAL].std(axis=0)


class Check(NamedTuple):
    """Are the stars like those of galaxies of the posterior?"""

    p: float  # twice the smaller share of mock galaxies that are farther, at most 1
    distance: float  # of the stars, over the median of the mock galaxies

    @property
    def is_near(self) -> bool:
        """Whether the network can be trusted for such stars."""
        return self.distance <= MAX_DISTANCE


def predictive_check(
    key: Key[Array, ""],
    network: SharedNetwork,
    model: Model,
    galaxy: Galaxy,
    psi: Float[np.ndarray, "draw psi"],
    outlier_width: float | Float[AnyArray, ""],
    parts: Star | None = None,
) -> Check:
    """Posterior predictive check in the features of the network and in mean readings.

    Galaxies of drawn psi, with the errors and gaps of the stars, show which features
    the stars of such a galaxy have. A network can't be trusted beyond them. The mean
    readings have a check of their own: the network may cut off what is far from its
    training. The larger distance counts, and twice the smaller p. There are
    `MIN_CHECKS` sets of `N_CHECKED` mock galaxies, and more while p is below `CLEAR_P`,
    up to `MAX_CHECKS`.

    Args:
        key: determines the mock galaxies.
        network: of the shared parameters.
        model: forward model and prior.
        galaxy: its stars and priors; the mock galaxies have as many stars, with the
            errors and gaps of these.
        psi: draws of the latents, of which evenly spread ones are taken.
        outlier_width: of the outliers' abundances [dex].
        parts: of a larger galaxy, random stars (part, star): as many a part as `galaxy`
            has. Their median distance counts, as that of one part depends on which
            stars it has. Default: the stars of `galaxy`.
    """
    if parts is None:
        parts = jax.tree.map(lambda x: x[None], galaxy.stars)
    args = model, galaxy.layout, galaxy.stars, parts, galaxy.counts, outlier_width
    some = np.linspace(0, len(psi) - 1, MAX_CHECKS * N_CHECKED).round().astype(int)
    drawn = np.clip(psi[some], -LIMIT, LIMIT).astype(np.float32)
    check, mocks = Check(0.0, np.inf), []
    for i in range(MAX_CHECKS):
        if i >= MIN_CHECKS and check.p >= CLEAR_P:
            break
        part = drawn[i::MAX_CHECKS]
        task = np.asarray(i, np.uint32), network, part, *args
        found = _summaries(key, *task)  # key reuse: `i` is folded into it
        mocks.append(np.asarray(found[1]))
        check = _check_both(np.asarray(found[0]), np.concatenate(mocks))
    return check


def _check_both(own: np.ndarray, mocks: np.ndarray) -> Check:
    """The checks in all features but the number of stars, and in the mean readings."""
    kinds = slice(None, -1), MEANS
    checks = [_compare(own[:, kind], mocks[:, kind]) for kind in kinds]
    p = min(1.0, len(checks) * min(check.p for check in checks))
    return Check(p, max(check.distance for check in checks))


def _compare(own: np.ndarray, mocks: np.ndarray) -> Check:
    """Mahalanobis distances in the directions in which half of the mocks vary most.

    Args:
        own: features of the parts of the galaxy, whose median distance is taken.
        mocks: those of the mock galaxies.
    """
    half = len(mocks) // 2
    varies = mocks[:half].std(axis=0) > SMALLEST_WIDTH
    own, mocks = own[:, varies], mocks[:, varies]
    centre, width = mocks[:half].mean(axis=0), mocks[:half].std(axis=0)
    units = (mocks - centre) / width
    _, values, axes = np.linalg.svd(units[:half], full_matrices=False)
    scale = values[:N_DIRECTIONS] / np.sqrt(half)
    place = units[half:] @ axes[:N_DIRECTIONS].T / scale
    mine = ((own - centre) / width) @ axes[:N_DIRECTIONS].T / scale
    others = np.sqrt((place**2).sum(axis=1))
    distance = float(np.median(np.sqrt((mine**2).sum(axis=1))))
    p = (1 + int((others >= distance).sum())) / (1 + len(others))
    return Check(p, distance / float(np.median(others)))


@quick_jit
def _summaries(
    key: Key[Array, ""],
    i: UInt32[AnyArray, ""],
    network: SharedNetwork,
    psi: Float[AnyArray, "galaxy psi"],
    model: Model,
    layout: Layout,
    like: Star,
    parts: Star,
    counts: Float[AnyArray, " star"],
    outlier_width: float | Float[AnyArray, ""],
) -> tuple[Float[Array, "part feature"], Float[Array, "galaxy feature"]]:
    """Summaries of the parts, and of mock galaxies at each psi, for check `i`.

    All galaxies at once: a loop over them takes three times as long.
    """

    def draw(key: Key[Array, ""], psi: AnyArray) -> tuple[AnyArray, AnyArray]:
        key_form, key_stars = jax.random.split(key)
        form = draw_form(key_form, is_population_held(layout))
        task = model, layout, psi, like, outlier_width
        stars, born = draw_stars(key_stars, *task, form)
        return stars.values, born

    keys = jax.random.split(jax.random.fold_in(key, i), len(psi))
    values, born = jax.vmap(draw)(keys, psi)
    mocks = jax.tree.map(lambda x: jnp.broadcast_to(x, (len(psi), *x.shape)), like)
    mocks = mocks._replace(values=values)
    # the parts are further galaxies, so that the networks are compiled once
    stars = jax.tree.map(lambda *x: jnp.concatenate(x), parts, mocks)
    n = len(parts.values)
    counted = jnp.concatenate([jnp.tile(counts, (n, 1)), born * counts])
    found = jax.vmap(summarise, in_axes=(None, 0, 0))(network, stars, counted)
    return found[:n], found[n:]
