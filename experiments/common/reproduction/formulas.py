"""The two formulas of the reference for many stars, both wrong; only to compare.

They are those of github.com/TobiBu/sbi-chempy (commit 1cf2341). The right product is in
`chemsbi_jax.galaxy`. Nothing but `reproduce.py` and its parts may use this module.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import ArrayLike, Float

from chemsbi_jax.types import GalaxyPosterior

N_DRAWS = 2  # only the moments count


def wrong_sign(
    draws: Float[ArrayLike, "star draw 2"],
    prior_mean: Float[ArrayLike, " 2"] | Sequence[float],
    prior_sd: Float[ArrayLike, " 2"] | Sequence[float],
) -> GalaxyPosterior:
    r"""Full matrices, but the prior is multiplied in N - 1 times, not divided out.

    :math:`P = \sum P_i + (N-1) P_0` where it should be minus, and the mean alike.

    Args:
        draws: of (alpha_imf, log10_n_ia) from the posterior of each star.
        prior_mean: of the two parameters.
        prior_sd: of the two parameters.
    """
    draws = np.asarray(draws, float)
    means = draws.mean(axis=1)
    precisions = np.linalg.inv([np.cov(star, rowvar=False) for star in draws])
    prior = (len(draws) - 1) * np.diag(1.0 / np.asarray(prior_sd, float) ** 2)
    total = precisions.sum(axis=0) + prior
    push = np.einsum("nab,nb->a", precisions, means) + prior @ np.asarray(prior_mean)
    covariance = np.linalg.inv(total)
    return _posterior("wrong sign", covariance @ push, covariance)


def marginal_product(draws: Float[ArrayLike, "star draw 2"]) -> GalaxyPosterior:
    """Inverse-variance mean of each parameter by itself; no prior, no covariance.

    The formula of the reference's headline numbers.

    Args:
        draws: of (alpha_imf, log10_n_ia) from the posterior of each star.
    """
    draws = np.asarray(draws, float)
    weights = 1.0 / draws.var(axis=1)
    mean = (weights * draws.mean(axis=1)).sum(axis=0) / weights.sum(axis=0)
    return _posterior("marginal product", mean, np.diag(1.0 / weights.sum(axis=0)))


def _posterior(
    method: str, mean: np.ndarray, covariance: np.ndarray
) -> GalaxyPosterior:
    draws = np.random.default_rng(0).multivariate_normal(mean, covariance, N_DRAWS)
    return GalaxyPosterior(method, draws, mean, covariance, {})
