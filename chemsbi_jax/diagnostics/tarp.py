r"""TARP: coverage of balls around reference points, for a joint test of all parameters.

Lemos+ 2023 (arXiv:2302.03026): the share of draws that are nearer to a reference point
than the truth is uniform for a right posterior, for any reference that does not depend
on the truth. The choice of reference decides what the test can see:

- Points independent of the data (from the prior, say) lie on all sides of a posterior,
  so a shift cancels to first order. They can't see a posterior that ignores the data.
- The default puts a point beside each posterior, always on the same side, at the radius
  of a typical draw; a set of p such points in orthogonal directions, in a basis turned
  at random, gives p curves. A shift moves at least one curve, a wrong width all.
- A posterior that ignores the data passes these too, because then the points carry no
  data. Pass `references` made from the data (the observation itself, or a regression
  on it) to see that failure.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from chemsbi_jax.diagnostics.bands import Curve, check_confidence, uniform_curve
from chemsbi_jax.diagnostics.coverage import LEVELS
from chemsbi_jax.diagnostics.pooled import check_draws, count_below, standardize
from chemsbi_jax.types import AnyArray


def tarp(
    key: Key[Array, ""],
    truths: Float[AnyArray, "n p"],
    draws: Float[AnyArray, "n draw p"],
    references: Float[AnyArray, "*set n p"] | None = None,
    scale: Float[AnyArray, " p"] | None = None,
    levels: tuple[float, ...] = LEVELS,
    confidence: float = 0.99,
) -> Curve:
    """Expected coverage probability with random reference points; regions = sets.

    `confidence` holds for all sets of references together (Bonferroni). Distances are
    in units of `scale`, for example of the prior, or else of each posterior's scatter.

    Args:
        key: Determines the directions of the default references.
        truths: One for each posterior.
        draws: Independent draws from each posterior.
        references: In the units of the truths; may depend on the data, not the truth.
        scale: Unit of distance of each parameter.
        levels: Rising credibilities between 0 and 1.
        confidence: Of the simultaneous band.
    """
    truths, draws = check_draws(truths, draws)
    check_confidence(confidence)
    n, p = truths.shape
    if references is not None:
        references = _as_sets(jnp.asarray(references), n, p)
    if scale is not None:
        scale = jnp.asarray(scale)
        if scale.shape != (p,) or not bool(jnp.all(scale > 0)):
            raise ValueError(f"Expected {p} positive scales; got {scale}.")
    rank = _ball_ranks(key, truths, draws, references, scale)
    each = 1 - (1 - confidence) / rank.shape[1]
    return uniform_curve(rank, draws.shape[1], levels, each)


def _as_sets(references: AnyArray, n: int, p: int) -> Float[AnyArray, "set n p"]:
    if references.ndim not in (2, 3) or references.shape[-2:] != (n, p):
        raise ValueError(
            f"Expected references of shape ({n}, {p}) or (set, {n}, {p}); "
            f"got {references.shape}."
        )
    return references.reshape(-1, n, p)


@jax.jit
def _ball_ranks(
    key: Key[Array, ""],
    truths: Float[AnyArray, "n p"],
    draws: Float[AnyArray, "n draw p"],
    references: Float[AnyArray, "set n p"] | None,
    scale: Float[AnyArray, " p"] | None,
) -> Int[AnyArray, "n set"]:
    """Number of draws nearer to each reference than the truth is."""
    both, center, scatter = standardize(truths, draws)
    if references is None:
        references = beside(key, truths.shape[-1])[:, None]
    else:
        references = (references - center[:, 0]) / scatter[:, 0]
    stretch = 1.0 if scale is None else (scatter / scale)  # (n, 1, p)

    def rank(reference: Float[AnyArray, "_ p"]) -> Int[AnyArray, " n"]:
        distance = ((stretch * (both - reference[:, None])) ** 2).sum(-1)
        return count_below(distance[:, 0], distance[:, 1:])

    return jax.lax.map(rank, references).T  # one set at a time, for memory


def beside(key: Key[Array, ""], p: int) -> Float[AnyArray, "set p"]:
    """Orthogonal offsets in a random basis, as long as a typical standard draw."""
    basis, _ = jnp.linalg.qr(jax.random.normal(key, (p, p)))
    return jnp.sqrt(1.0 * p) * basis
