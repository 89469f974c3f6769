"""The posterior density of psi alone, with the stars integrated out by sampling.

Each star has a set of fixed points in its coordinates (`JointDensity`), which move with
psi as the mode of the linearised star does. The mean of its density over them, by
importance, is its marginal likelihood: a smooth function of psi, as the points do not
change. Their number sets the error; other points show how large it is.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import logsumexp
from jaxtyping import Array, Float, Key
from scipy.special import ndtri
from scipy.stats import norm, qmc

from chemsbi_jax.galaxy.hierarchical.blocks import padded_length
from chemsbi_jax.galaxy.hierarchical.joint_density import (
    JointDensity,
    make_joint_density,
)
from chemsbi_jax.galaxy.hierarchical.local_modes import N_LOCAL
from chemsbi_jax.galaxy.hierarchical.place import Place, look_at
from chemsbi_jax.galaxy.hierarchical.shared import Layout
from chemsbi_jax.galaxy.hierarchical.star import Model, Star, with_outliers
from chemsbi_jax.galaxy.hierarchical.tangent import Line
from chemsbi_jax.types import AnyArray

SPREAD = 1.2  # of the points, in widths of a linearised star: for heavy tails
SMALLEST = 1e-4  # probability of the outermost points
BLOCK = 8  # stars at once: the layers of the emulator then fit into the cache


class Nodes(NamedTuple):
    """Points of the stars in their coordinates, and weights of importance sampling."""

    at: Float[AnyArray, "*block 4 node star"]
    log_weight: Float[AnyArray, "*block node star"]  # standard normal over their own


class MarginalDensity(NamedTuple):
    """Posterior density of the coordinates of psi; the stars are in blocks."""

    blocks: JointDensity  # leaves that belong to stars have a leading axis of blocks
    nodes: Nodes
    counts: Float[AnyArray, "block star"]  # 1, or 0 for a row that only fills up

    @property
    def n_psi(self) -> int:
        """Number of coordinates."""
        return len(self.blocks.centre)

    def value(self, at: Float[AnyArray, " psi"]) -> Float[AnyArray, ""]:
        """Log density of the coordinates, up to a constant."""
        psi = self.blocks.psi(at)
        return _sum_of_stars(at, self) - 0.5 * jnp.sum(psi**2)

    def of_stars(self, at: Float[AnyArray, " psi"]) -> Float[AnyArray, " star"]:
        """Log marginal likelihood of each star, with outliers and rows that fill up."""
        each = lax.map(lambda block: _of_block(at, self.blocks, block), self.parts())
        return each.ravel()

    def parts(self) -> "Part":
        """What differs between blocks of stars."""
        d = self.blocks
        return Part(d.stars, d.lines, self.nodes, self.counts)

    def renewed(self, key: Key[Array, ""], n_nodes: int) -> "MarginalDensity":
        """The same density with other points."""
        return self._replace(nodes=make_nodes(key, self.counts.shape, n_nodes))


class Part(NamedTuple):
    """One block of stars, or all of them (leading axis)."""

    stars: Star
    lines: Line
    nodes: Nodes
    counts: Float[AnyArray, "*block star"]


def _of_block(
    at: Float[AnyArray, " psi"], density: JointDensity, part: Part
) -> Float[AnyArray, " star"]:
    joint = density._replace(stars=part.stars, lines=part.lines)
    relative = jax.vmap(joint.relative, in_axes=(None, 1))(at, part.nodes.at)
    terms = relative + part.nodes.log_weight
    inlier = logsumexp(terms, axis=0) - np.log(len(terms))
    mixed = jax.vmap(with_outliers, in_axes=(0, None, 0))
    return mixed(joint.stars, joint.shared(at), inlier)


@jax.custom_jvp
def _sum_of_stars(at: Array, density: MarginalDensity) -> Array:
    def add(total: Array, part: Part) -> tuple[Array, None]:
        return total + _counted(at, density.blocks, part), None

    return lax.scan(add, jnp.zeros_like(at[0]), density.parts())[0]


def _counted(at: Array, density: JointDensity, part: Part) -> Array:
    return jnp.sum(part.counts * _of_block(at, density, part))


def _slope_of_sum(primals: tuple, tangents: tuple) -> tuple[Array, Array]:
    """Each block gives its gradient at once, so that no layers have to be kept."""
    at, density = primals
    away = tangents[0]  # the density is data
    one = jax.value_and_grad(_counted)

    def add(total: tuple[Array, Array], part: Part):
        value, slope = one(at, density.blocks, part)
        return (total[0] + value, total[1] + slope), None

    start = jnp.zeros_like(at[0]), jnp.zeros_like(at)
    (value, slope), _ = lax.scan(add, start, density.parts())
    return value, jnp.sum(slope * away)


_sum_of_stars.defjvp(_slope_of_sum, symbolic_zeros=True)


def place_density(
    key: Key[Array, ""],
    stars: Star,
    local: Float[AnyArray, "star 4"],
    model: Model,
    layout: Layout,
    psi: Float[np.ndarray, " psi"],
    n_nodes: int,
) -> tuple[MarginalDensity, Float[np.ndarray, "star 4"]]:
    """The density in coordinates around one psi, and the stars' modes there.

    Galaxies of similar numbers of stars share one program: rows are filled up.

    Args:
        key: determines the points.
        stars: `make_stars`.
        local: first guesses of the modes of the local latents.
        model: forward model and prior.
        layout: of psi.
        psi: latents of the shared parameters.
        n_nodes: points of a star, an even number.
    """
    n = len(stars.values)
    place = look_at(stars, local, model, layout, psi)
    rows = (np.arange(padded_length(n)) % n).reshape(-1, BLOCK)
    counts = np.float32(np.arange(rows.size) < n).reshape(rows.shape)
    blocks = [_block(stars, model, layout, place, r) for r in rows]
    first = blocks[0]
    stacked = {
        k: jax.tree.map(lambda *x: np.stack(x), *(getattr(b, k) for b in blocks))
        for k in ("stars", "lines")
    }
    nodes = make_nodes(key, counts.shape, n_nodes)
    density = MarginalDensity(first._replace(**stacked), nodes, counts)
    return density, np.asarray(place.stars.line.local)


def _block(stars, model, layout, place: Place, rows: np.ndarray) -> JointDensity:
    some = place._replace(stars=jax.tree.map(lambda x: x[rows], place.stars))
    stars = jax.tree.map(lambda x: np.asarray(x)[rows], stars)
    return make_joint_density(stars, model, layout, some)


def with_covariance(
    density: MarginalDensity, covariance: Float[np.ndarray, "psi psi"]
) -> MarginalDensity:
    """The same density in coordinates that whiten another covariance of psi."""
    factor = np.linalg.cholesky(covariance).astype(np.float32)
    return density._replace(blocks=density.blocks._replace(factor=factor))


def make_nodes(key: Key[Array, ""], shape: tuple[int, ...], n_nodes: int) -> Nodes:
    """Sobol' points with a random shift for each star, and their mirror images.

    The mirror images remove the error of all odd terms of the density.

    Args:
        key: determines the shifts.
        shape: leading axes, the last of them that of the stars.
        n_nodes: points of a star, an even number.
    """
    shift = np.asarray(jax.random.uniform(key, (*shape, 1, N_LOCAL)), float)
    points = qmc.Sobol(N_LOCAL, scramble=False).random(n_nodes // 2)
    uniform = np.clip((points + shift) % 1.0, SMALLEST, 1.0 - SMALLEST)
    half = ndtri(uniform)
    unit = np.concatenate([half, -half], axis=-2)
    log_weight = norm.logpdf(SPREAD * unit) - norm.logpdf(unit) + np.log(SPREAD)
    return Nodes(
        np.ascontiguousarray(SPREAD * np.moveaxis(unit, -3, -1).swapaxes(-3, -2), "f4"),
        np.ascontiguousarray(log_weight.sum(axis=-1).swapaxes(-2, -1), "f4"),
    )
