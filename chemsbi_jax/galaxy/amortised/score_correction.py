r"""Bias of the network: its mean score over simulated stars near the estimate.

The score of a right network, :math:`s = \nabla_\Lambda [\log q(\Lambda|D) - \log
p(\Lambda)]`, has mean zero over the stars that the model makes at :math:`\Lambda`.
For a trained network the mean is not exactly zero, and a product of N stars accumulates
that bias N times, while the width only shrinks with :math:`1/\sqrt N`. So stars are
simulated at the galaxy's parameters, with the errors and gaps of the table. Errors that
[X/Fe] of a star share with its [Fe/H] are shared here, too. Their mean score is
subtracted from each star's: an unbiased estimating equation for any
network (Godambe 1960, Ann. Math. Stat. 31, 1208).
"""

from collections.abc import Callable, Sequence
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Bool, Float, Key
from scipy.stats import qmc

from chemsbi_jax import priors
from chemsbi_jax.compute.quick import quick_jit, split_keys
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.galaxy.amortised.flow import FAR
from chemsbi_jax.galaxy.amortised.padding import quickly_on_all_devices
from chemsbi_jax.galaxy.result import Moments
from chemsbi_jax.npe.model import Npe, global_slope
from chemsbi_jax.types import AnyArray, Forward

LOG2_STARS, LOG2_MANY = 13, 17  # simulated stars of one call, base-2 logarithms
# simulated stars for each star of a table: the error of the mean score moves a result
# by 0.05 sigma where all stars have the same errors, and by 0.2 sigma where each value
# has another error (0.02 to 0.3 dex), as Sobol points are then no better than random
STARS_A_STAR = 16
CHUNK = 1024  # stars at a time: their arrays stay in the cache
N_OTHERS = 1 + len(PARAMETERS)  # which row of the table, and the parameters


def mean_score(
    key: Key[Array, ""],
    npe: Npe,
    forward: Forward,
    inputs: Float[AnyArray, "star input"],
    is_star: Bool[AnyArray, " star"],
    place: Moments,
    log2_stars: int = LOG2_STARS,
    *,
    share: Float[AnyArray, "star element"] | None = None,
    run: Callable[..., Array] | None = None,
) -> Float[Array, " 2"]:
    """Mean score of model stars with the errors and gaps of those of a table.

    Args:
        key: random key of the simulated stars.
        npe: the network.
        forward: theta (..., 6) -> abundances [dex].
        inputs: the table's stars; only their errors and gaps matter.
        is_star: which rows are stars.
        place: a first estimate with its width, in latents. For stars of the model it is
            within one width of the truth; the mean score changes over twenty widths.
        log2_stars: base-2 logarithm of the number of simulated stars.
        share: `iron_share` of the table's stars; None: their errors are independent.
        run: `model_scores`, or its version on all devices (None).
    """
    normals = even_normals(key, log2_stars, n_normals(npe), CHUNK)
    if share is None:  # zeros: the same program
        share = np.zeros((len(inputs), len(npe.reader.abundances)), np.float32)
    table = (inputs, is_star, share, place.mean, place.covariance)
    run = run or quickly_on_all_devices(model_scores)
    return _finite_mean(run(normals, npe, forward, *table))


def table_score(
    key: Key[Array, ""],
    one: Callable[[Key[Array, ""]], Array],
    n_stars: int,
    log2_stars: int = LOG2_STARS,
) -> Float[np.ndarray, " 2"]:
    """Average of as many `mean_score` as a table of `n_stars` stars needs.

    A product of N stars multiplies the error of the mean score by N, and the width of
    the posterior by N^-1/2. So the number of simulated stars grows with N. The calls
    share one compiled program.

    Args:
        key: random key of the simulated stars.
        one: `mean_score` of a key, with 2^`log2_stars` simulated stars.
        n_stars: stars of the whole table.
        log2_stars: base-2 logarithm of the number of simulated stars of a call.
    """
    n_calls = max(1, -(-STARS_A_STAR * n_stars // 2**log2_stars))
    # one call at a time: those that wait would hold their random numbers in memory
    each = [np.asarray(one(k), float) for k in split_keys(key, n_calls)]
    return np.mean(each, axis=0)


@quick_jit
def _finite_mean(scores: Float[Array, "chunk star 2"]) -> Float[Array, " 2"]:
    """Mean over the stars; NaN marks those that the model does not have."""
    finite = jnp.isfinite(scores).all(axis=-1, keepdims=True)
    total = jnp.where(finite, scores, 0.0).sum(axis=(0, 1))
    return total / finite.sum().clip(1)


def model_scores(
    normals: Float[Array, "chunk row normal"],
    npe: Npe,
    forward: Forward,
    inputs: Float[Array, "star input"],
    is_star: Bool[Array, " star"],
    share: Float[AnyArray, "star element"],
    mean: Float[Array, " 2"],
    covariance: Float[Array, "2 2"],
) -> Float[Array, "chunk row 2"]:
    """Scores of model stars, each at its own parameters; NaN where there is no star."""
    root = jnp.linalg.cholesky(covariance)
    mean = mean * jnp.minimum(1.0, FAR / jnp.sqrt(jnp.sum(mean**2)))
    order = jnp.cumsum(is_star)

    def of_chunk(z: Array) -> Array:
        place = ndtr(z[:, 0]) * order[-1]
        row = jnp.searchsorted(order, jnp.floor(place) + 1.0).clip(0, len(order) - 1)
        first, rest = z[:, 1 : 1 + N_GLOBAL], z[:, 1 + N_GLOBAL : N_OTHERS]
        latent = jnp.concatenate([mean + first @ root.T, rest], axis=1)
        theta = priors.from_normal(npe.prior, latent)
        noise = _with_iron(z[:, N_OTHERS:], share[row], npe.reader.abundances)
        made = npe.reader.measure(inputs[row], forward(theta), theta[:, -1], noise)
        exists = jnp.isfinite(made).all(axis=1, keepdims=True)
        safe = jnp.where(exists, made, npe.reader.blank())
        score = global_slope(npe, latent[:, :N_GLOBAL], safe)
        return jnp.where(exists, score, jnp.nan)

    return lax.map(of_chunk, normals)


def _with_iron(
    noise: Float[Array, "star reading"],
    share: Float[AnyArray, "star element"],
    abundances: Sequence[str],
) -> Float[Array, "star reading"]:
    """Standard normals, of which those of [X/Fe] have the error of [Fe/H] in them."""
    if "fe_h" not in abundances:
        return noise
    n, iron = len(abundances), list(abundances).index("fe_h")
    own = jnp.sqrt(1.0 - share) * noise[:, :n]
    mixed = own - jnp.sqrt(share) * noise[:, [iron]]  # [X/Fe] = [X/H] - [Fe/H]
    return jnp.concatenate([mixed, noise[:, n:]], axis=1)


def n_normals(npe: Npe) -> int:
    """Random numbers of one model star; each abundance and the birth time has noise."""
    return N_OTHERS + len(npe.reader.abundances) + 1


def even_normals(
    key: Key[Array, ""], log2_n: int, n: int, chunk: int
) -> Float[Array, "chunk star normal"]:
    """Even standard normals, `n` a star: a Sobol sequence, shifted at random.

    Args:
        key: decides the shift.
        log2_n: base-2 logarithm of the number of stars.
        n: numbers a star.
        chunk: stars of a chunk.
    """
    return _shifted(key, _sobol(log2_n, n), chunk)


@quick_jit
def _shifted(
    key: Key[Array, ""], points: Float[AnyArray, "n normal"], chunk: int
) -> Float[Array, "chunk star normal"]:
    shift = jax.random.uniform(key, points.shape[1:])
    inside = (jnp.asarray(points) + shift) % 1.0
    normals = ndtri(jnp.clip(inside, 1e-6, 1.0 - 1e-6))
    return normals.reshape(-1, chunk, points.shape[1])


@cache
def _sobol(log2_n: int, n: int) -> np.ndarray:
    points = qmc.Sobol(n, scramble=True, rng=0).random_base2(log2_n)
    return points.astype(np.float32)
