"""Where the posterior of a table that is read in blocks is looked for first."""

import jax
import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax.compute.devices import of_all_processes
from chemsbi_jax.galaxy.amortised.flow import grid_posterior
from chemsbi_jax.galaxy.amortised.gaussian import gaussian_product
from chemsbi_jax.galaxy.amortised.padding import Blocks
from chemsbi_jax.galaxy.amortised.score_correction import (
    LOG2_MANY,
    mean_score,
    table_score,
)
from chemsbi_jax.galaxy.rows import random_rows
from chemsbi_jax.types import Forward

GUESS_STARS = 8192  # drawn from the table to place the first grid
GUESS_WIDTH = 2.0  # the first grid is this many times wider than their posterior


def first_grid(
    key: Key[Array, ""], blocks: Blocks, forward: Forward | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Origin, factor and mean score, from the flow's answer for some of the stars.

    Args:
        key: determines these stars, and the simulated stars of the mean score.
        blocks: the network, and all stars of the table.
        forward: theta (..., 6) -> abundances [dex]; None: no mean score.
    """
    key_rows, key_stars, key_model = jax.random.split(key, 3)
    # a table may be sorted, so not its first rows
    rows = random_rows(key_rows, blocks.n_stars, GUESS_STARS)
    inputs, is_star, share = blocks.some(rows)
    gaussian = gaussian_product(key_stars, blocks.npe, inputs, is_star)
    guess, score = grid_posterior(blocks.npe, inputs, is_star, gaussian), None
    if forward is not None:
        of_table = blocks.npe, forward, inputs, is_star, guess, LOG2_MANY

        def one(key: Key[Array, ""]) -> Array:
            return mean_score(key, *of_table, share=share)

        score = table_score(key_model, one, blocks.n_stars, LOG2_MANY)
        score = of_all_processes(score)[0]
    factor = np.linalg.cholesky(np.asarray(guess.covariance, float))
    return np.asarray(guess.mean, float), GUESS_WIDTH * factor, score
