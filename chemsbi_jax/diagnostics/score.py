r"""Where the product of many stars ends on average, by the score of a single one.

With :math:`s = \nabla_\Lambda [\log q(\Lambda|D) - \log p(\Lambda)]` of a star made at
:math:`\Lambda`, a right posterior has :math:`E[s] = 0`, and its curvature
:math:`H = -E[\nabla s]` is the covariance of the scores. Otherwise the product of N
stars peaks at :math:`H^{-1} E[s]` from the truth, whatever N: that is :math:`\sqrt N`
times `shift` in units of its own width, and its width is `width` times the true scatter
(White 1982, Econometrica 50, 1). A hundred thousand stars show what no number of
simulated galaxies could.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class ScoreTest(NamedTuple):
    """Coherent error of the posteriors of single stars."""

    shift: Float[np.ndarray, " p"]  # sigma of a product of one star; times sqrt(N)
    error: Float[np.ndarray, " p"]  # standard error of `shift`, from the stars
    width: Float[np.ndarray, " p"]  # width of the product over its true scatter


def score_test(
    scores: Float[np.ndarray, "n p"], curvatures: Float[np.ndarray, "n p p"]
) -> ScoreTest:
    """Shift and width of the product of stars that were all made at one truth.

    Args:
        scores: of the log likelihood of each star, at the truth.
        curvatures: minus its second derivatives there.

    Raises:
        ValueError: the shapes do not fit, or the mean curvature is not positive: the
            product has no maximum near the truth.
    """
    scores, curvatures = (np.asarray(x, float) for x in (scores, curvatures))
    n, p = scores.shape
    if curvatures.shape != (n, p, p):
        raise ValueError(
            f"Expected curvatures of shape {(n, p, p)}; got {curvatures.shape}."
        )
    mean = curvatures.mean(axis=0)
    if not np.linalg.eigvalsh(mean).min() > 0.0:
        raise ValueError(f"Expected a positive mean curvature; got {mean.tolist()}.")
    covariance = np.linalg.inv(mean)
    scatter = covariance @ np.cov(scores, rowvar=False).reshape(p, p) @ covariance
    sd, true_sd = np.sqrt(np.diag(covariance)), np.sqrt(np.diag(scatter))
    return ScoreTest(
        shift=covariance @ scores.mean(axis=0) / sd,
        error=true_sd / sd / np.sqrt(n),
        width=sd / true_sd,
    )
