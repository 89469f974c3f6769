"""Galaxies of published yield sets, made by the simulator."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.mock import LIMIT
from chemsbi_jax.galaxy.hierarchical.shared import Shared, unpack
from chemsbi_jax.galaxy.hierarchical.star import EDGE
from chemsbi_jax.simulator.blocks import simulate_blocks
from common.shared_galaxies import Galaxies, default_model, empty_stars, like_stars


class Keys(NamedTuple):
    """One key for each random step."""

    galaxy: Key[Array, ""]
    local: Key[Array, ""]
    noise: Key[Array, ""]
    errors: Key[Array, ""]


class Size(NamedTuple):
    """How many galaxies, and of which stars."""

    n_galaxies: int
    n_stars: int  # of each
    error: float  # of the abundances [dex]


def simulate_galaxies(
    key: Key[Array, ""],
    names: list[str],
    size: Size,
    *,
    with_errors: bool = False,
    quiet: bool = False,
) -> Galaxies:
    """Galaxies of published yield sets, in equal shares.

    Args:
        key: determines everything random.
        names: of the sets.
        size: of the sample.
        with_errors: zero points, scatter, and the means and widths of the populations
            come from the default priors; else there are none, and the local parameters
            come from their prior. There are no outliers.
        quiet: no progress bars.
    """
    sets = {name: cs.load_yields(name) for name in names}  # refuses unknown names
    keys = Keys(*jax.random.split(key, len(Keys._fields)))
    galaxy = jax.random.normal(keys.galaxy, (size.n_galaxies, 1, N_GLOBAL))[:, 0]
    shared = _draw_errors(keys.errors, galaxy, with_errors)
    theta = _parameters(keys.local, shared, size.n_stars)
    labels = np.array([names[i % len(names)] for i in range(size.n_galaxies)])
    clean = np.empty((*theta.shape[:2], len(cs.ABUNDANCES)))
    for name, yields in sets.items():
        columns = [yields.abundances.index(a) for a in cs.ABUNDANCES]
        rows = theta[labels == name].reshape(-1, theta.shape[-1])
        made = simulate_blocks(rows, yields, cs.CLEAN, quiet)
        clean[labels == name] = made[:, columns].reshape(-1, *clean.shape[1:])
    return _measure(keys.noise, clean, shared, size.error, labels)


def _draw_errors(
    key: Key[Array, ""], galaxy: Float[Array, "galaxy 2"], with_errors: bool
) -> Shared:
    """Shared parameters (galaxy, ...) of these two latents, without yield factors."""
    _, layout = default_model()
    psi = jax.random.normal(key, (len(galaxy), len(layout.scale)))
    psi = jnp.clip(psi, -LIMIT, LIMIT)
    psi = psi.at[:, layout.slices()["yields"]].set(0.0)
    shared = jax.vmap(unpack, in_axes=(0, None))(psi, layout)
    if not with_errors:
        shared = jax.tree.map(jnp.zeros_like, shared)
    return shared._replace(galaxy=galaxy)


def _parameters(
    key: Key[Array, ""], shared: Shared, n_stars: int
) -> Float[np.ndarray, "galaxy star param"]:
    """Physical parameters of the stars."""
    shape = len(shared.galaxy), n_stars
    units = jax.random.normal(key, (*shape, N_LOCAL))
    local = shared.mean[:, None] + jnp.exp(shared.log_width)[:, None] * units
    local = jnp.clip(local, -EDGE, EDGE)  # as in the mock galaxies of the network
    galaxy = jnp.broadcast_to(shared.galaxy[:, None], (*shape, N_GLOBAL))
    latents = jnp.concatenate([galaxy, local], axis=-1)
    return np.asarray(priors.from_normal(cs.paper_prior(), latents))


def _measure(
    key: Key[Array, ""],
    clean: Float[np.ndarray, "galaxy star abundance"],
    shared: Shared,
    error: float,
    labels: np.ndarray,
) -> Galaxies:
    """Stars with noise, scatter and zero points, from abundances without."""
    n = clean.shape[-1]
    offset = np.asarray(shared.zero_points)[:, None, :n]
    sd = np.sqrt(error**2 + np.asarray(shared.variance)[:, None, :n])
    noise = sd * np.asarray(jax.random.normal(key, clean.shape))
    born = np.all(np.isfinite(clean), axis=-1)
    values = np.where(np.isfinite(clean), clean + offset + noise, 0.0)
    values = np.pad(values, ((0, 0), (0, 0), (0, 1))).astype(np.float32)
    like = like_stars(empty_stars(clean.shape[1], error))
    stars = jax.tree.map(lambda x: np.broadcast_to(x, (len(clean), *x.shape)), like)
    stars = stars._replace(values=values)
    truth = np.asarray(shared.galaxy)
    return Galaxies(truth, stars, np.asarray(born, np.float32), labels)
