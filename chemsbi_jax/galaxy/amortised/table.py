"""A padded star table with the moments of its stars, which all its products share."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.galaxy.amortised.flow import grid_posterior
from chemsbi_jax.galaxy.amortised.gaussian import (
    GaussianProduct,
    moments_of_stars,
    multiply_stars,
)
from chemsbi_jax.galaxy.amortised.padding import padded_share
from chemsbi_jax.galaxy.amortised.score_correction import mean_score, table_score
from chemsbi_jax.galaxy.amortised.uninformative import pad_informative
from chemsbi_jax.galaxy.grid import draw_from_grid
from chemsbi_jax.galaxy.result import grid_checks, mean_error, to_posterior
from chemsbi_jax.npe.model import Npe
from chemsbi_jax.types import AnyArray, Forward, GalaxyChecks, GalaxyPosterior, Stars

Rows = Bool[np.ndarray, " row"]


class StarTable(NamedTuple):
    """Stars as the amortised products need them; rows beyond them are padding."""

    inputs: Float[Array, "row input"]
    is_star: Rows  # False: padding, or an uninformative star
    means: Float[Array, "row 2"]  # of each star's global latents
    covariances: Float[Array, "row 2 2"]
    n_stars: int
    share: Float[np.ndarray, "row element"]  # `iron_share`; 0 in rows without it

    @property
    def n_weak(self) -> int:
        """Stars that are too uninformative for a network."""
        return self.n_stars - int(self.is_star.sum())

    def part(self, rows: Rows) -> "StarTable":
        """The table with only some of its stars, for the same compiled programs."""
        n = int(rows[: self.n_stars].sum())
        return self._replace(is_star=self.is_star & rows, n_stars=n)

    def in_order(self, order: Int[np.ndarray, " star"]) -> "StarTable":
        """The table with its stars in this order of their row numbers."""
        rows = np.arange(len(self.is_star))
        rows[: self.n_stars] = order
        names = ("inputs", "is_star", "means", "covariances", "share")
        return self._replace(**{k: np.asarray(getattr(self, k))[rows] for k in names})

    def first(self, n: int) -> "StarTable":
        """The table with only its first stars."""
        return self.part(np.arange(len(self.is_star)) < n)


def prepare_table(key: Key[Array, ""], npe: Npe, stars: Stars) -> StarTable:
    """Pad a table and draw from each star's posterior.

    Args:
        key: determines the draws; those of a star depend on its row alone.
        npe: the network.
        stars: what `npe` can read.

    Raises:
        CatalogError: the network is for one error, and a star has another or gaps.
    """
    inputs, is_star = pad_informative(npe, npe.reader.inputs(stars))
    moments = moments_of_stars(key, npe, inputs)
    share = padded_share(npe, stars, len(inputs))
    return StarTable(inputs, np.asarray(is_star), *moments, len(stars.values), share)


def multiply_gaussians(
    key: Key[Array, ""], npe: Npe, table: StarTable, n_draws: int
) -> GalaxyPosterior:
    """Method "gaussian" of a prepared table."""
    product = product_of(table)
    noise = np.asarray(jax.random.normal(key, (n_draws, N_GLOBAL)))
    root = np.linalg.cholesky(np.asarray(product.covariance))
    latent = np.asarray(product.mean) + noise @ root.T
    checks: GalaxyChecks = {
        "guarded_stars": int(np.asarray(product.is_guarded).sum()),
        "weak_stars": table.n_weak,
    }
    return to_posterior("gaussian", npe, latent, product, checks)


def multiply_flows(
    key: Key[Array, ""],
    npe: Npe,
    table: StarTable,
    n_draws: int,
    forward: Forward | None,
    score: Float[AnyArray, " 2"] | None = None,
) -> GalaxyPosterior:
    """Method "flow" of a prepared table.

    Args:
        key: determines the simulated stars and the draws.
        npe: the network.
        table: `prepare_table`, or a part of it.
        n_draws: draws from the result.
        forward: theta (..., 6) -> abundances [dex], for the mean score of the network;
            None: it is taken as zero.
        score: the mean score, if it is known.
    """
    key_model, key_draws = jax.random.split(key)
    guess = product_of(table)
    if score is None and forward is not None:
        score = score_of(key_model, npe, table, forward, guess)
    grid = grid_posterior(npe, table.inputs, table.is_star, guess, score)
    checks = grid_checks(grid, n_draws)
    checks |= mean_error(grid, score, int(table.is_star.sum()))
    grid = jax.tree.map(np.asarray, grid)  # as the exact method has it
    latent = draw_from_grid(key_draws, grid, n_draws)
    checks |= {"weak_stars": table.n_weak}
    return to_posterior("flow", npe, latent, grid, checks)


def product_of(table: StarTable) -> GaussianProduct:
    """Product of the Gaussians of a table's stars, in latents."""
    return multiply_stars(table.means, table.covariances, table.is_star)


def score_of(
    key: Key[Array, ""],
    npe: Npe,
    table: StarTable,
    forward: Forward,
    place: GaussianProduct,
) -> Float[np.ndarray, " 2"]:
    """`table_score` of a table's stars at a first estimate."""
    of_table = npe, forward, table.inputs, table.is_star, place

    def one(key: Key[Array, ""]) -> Array:
        return mean_score(key, *of_table, share=table.share)

    return table_score(key, one, int(table.is_star.sum()))
