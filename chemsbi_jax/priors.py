"""One prior object decides simulation, training, NUTS and checks."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeGuard

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax.scipy.special import erfc, ndtri
from jaxtyping import Array, Float, Key

from chemsbi_jax.compute.describe import NoDescriptionError, of_tree, special
from chemsbi_jax.constants import T_END
from chemsbi_jax.types import AnyArray

PEAK_MIN = 0.294  # dex of Gyr; below, star formation ends before the last stars
N_SIGMA_WIDE = 5.0


class Prior(NamedTuple):
    """Independent numpyro distributions with `cdf` and `icdf`, one a parameter."""

    alpha_imf: dist.Distribution
    log10_n_ia: dist.Distribution
    log10_sfe: dist.Distribution
    log10_sfr_peak: dist.Distribution
    outflow_fraction: dist.Distribution
    birth_time: dist.Distribution


@special.register
def _of_distribution(d: dist.Distribution) -> list:
    # numpyro orders its numbers by the hash of their names, which each process salts
    if any(eqx.is_array(x) for x in jax.tree.leaves(d)):
        raise NoDescriptionError(f"arrays in {d}")
    names = {*d.gather_pytree_data_fields(), *d.gather_pytree_aux_fields()}
    return [[name, of_tree(d.__dict__.get(name))] for name in sorted(names)]


def paper_prior() -> Prior:
    """The prior of Philcox & Rybizki 2019 and Buck+ 2025; birth_time in Gyr."""
    return Prior(
        alpha_imf=dist.Normal(-2.3, 0.3),
        log10_n_ia=dist.Normal(-2.89, 0.3),
        log10_sfe=dist.Normal(-0.3, 0.3),
        log10_sfr_peak=dist.TruncatedNormal(0.55, 0.1, low=PEAK_MIN),
        outflow_fraction=dist.TruncatedNormal(0.5, 0.1, low=0.0, high=1.0),
        birth_time=dist.Uniform(2.0, 12.8),
    )


def wide_prior() -> Prior:
    """Uniform boxes of +-5 sigma around the paper prior, for training emulators."""

    def around(mean: float, sigma: float) -> dist.Distribution:
        half = N_SIGMA_WIDE * sigma
        return dist.Uniform(mean - half, mean + half)

    return Prior(
        alpha_imf=around(-2.3, 0.3),
        log10_n_ia=around(-2.89, 0.3),
        log10_sfe=around(-0.3, 0.3),
        log10_sfr_peak=dist.Uniform(PEAK_MIN, 0.55 + N_SIGMA_WIDE * 0.1),
        outflow_fraction=dist.Uniform(0.0, 1.0),
        birth_time=dist.Uniform(1.0, T_END),
    )


def broad_prior() -> Prior:
    """The paper prior with wider normals and all birth times, for emulators."""
    return Prior(
        alpha_imf=dist.Normal(-2.3, 0.5),
        log10_n_ia=dist.Normal(-2.89, 0.5),
        log10_sfe=dist.Normal(-0.3, 0.5),
        log10_sfr_peak=dist.TruncatedNormal(0.55, 0.15, low=PEAK_MIN, high=1.05),
        outflow_fraction=dist.TruncatedNormal(0.5, 0.15, low=0.0, high=1.0),
        birth_time=dist.Uniform(1.0, T_END),
    )


def sample_mixture(key: Key[Array, ""], n: int) -> Float[Array, "n param"]:
    """Theta for training emulators: 55 % paper, 30 % broad and 15 % wide prior.

    The wide box alone would spend the network on stars that no galaxy has ([Fe/H] up
    to 5.6); the paper prior alone would leave its edge to guesses.
    """
    n_broad, n_wide = int(0.3 * n), int(0.15 * n)
    keys = jax.random.split(key, 4)
    parts = [
        sample(keys[0], paper_prior(), n - n_broad - n_wide),
        sample(keys[1], broad_prior(), n_broad),
        sample(keys[2], wide_prior(), n_wide),
    ]
    return jax.random.permutation(keys[3], jnp.concatenate(parts))


def box(prior: Prior) -> tuple[Float[Array, " param"], Float[Array, " param"]]:
    """Lowest and highest theta of uniform distributions, (6,) each."""
    numbers = [_arguments(d) for d in prior]
    low = jnp.array([float(each["low"]) for each in numbers])
    return low, jnp.array([float(each["high"]) for each in numbers])


def sample(key: Key[Array, ""], prior: Prior, n: int) -> Float[Array, "n param"]:
    """Draw `n` theta vectors."""
    keys = jax.random.split(key, len(prior))
    draws = [d.sample(k, (n,)) for k, d in zip(keys, prior, strict=True)]
    return jnp.stack(draws, axis=-1)


def log_prob(prior: Prior, theta: Float[Array, "*b param"]) -> Float[Array, "*b"]:
    """Natural log of the prior density, -inf outside the support."""
    total = jnp.zeros(theta.shape[:-1], theta.dtype)
    for i, d in enumerate(prior):
        inside = d.support(theta[..., i])  # pyright: ignore[reportOptionalCall]
        safe = jnp.where(inside, theta[..., i], d.icdf(jnp.asarray(0.5)))
        total = total + jnp.where(inside, d.log_prob(safe), -jnp.inf)
    return total


def is_normal(d: dist.Distribution) -> TypeGuard[dist.Normal]:
    """Whether latents are an affine function of this parameter."""
    return isinstance(d, dist.Normal)


def moments(prior: Sequence[dist.Distribution]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each distribution, (param,) float64.

    >>> mean, sd = moments(paper_prior()[:2])
    >>> mean.round(2).tolist(), sd.round(2).tolist()
    ([-2.3, -2.89], [0.3, 0.3])
    """
    mean = np.array([float(d.mean) for d in prior])
    return mean, np.array([float(d.variance) ** 0.5 for d in prior])


def to_normal(
    prior: Sequence[dist.Distribution], theta: Float[Array, "*b param"]
) -> Float[Array, "*b param"]:
    """Latents in which the prior is a standard normal; inverse of `from_normal`.

    Both take any number of distributions, such as those of the two global parameters.
    """
    return jnp.stack(
        [_to_normal(d, theta[..., i]) for i, d in enumerate(prior)], axis=-1
    )


def from_normal(
    prior: Sequence[dist.Distribution], latent: Float[AnyArray, "*b param"]
) -> Float[Array, "*b param"]:
    """Theta from standard-normal latents: the bijection that keeps all bounds."""
    theta = [latent[..., i] for i in range(len(prior))]
    bounded = [i for i, d in enumerate(prior) if _has_bounds(d)]
    if bounded:
        latents = jnp.stack([theta[i] for i in bounded], axis=-1)
        inside = _inverse_cdf([prior[i] for i in bounded], _cdf(latents))
    for i, d in enumerate(prior):
        if is_normal(d):
            loc, scale = _loc_scale(d)
            theta[i] = loc + scale * theta[i]
        elif i in bounded:
            theta[i] = inside[..., bounded.index(i)]
        else:
            theta[i] = d.icdf(_cdf(jnp.asarray(theta[i])))
    return jnp.stack(theta, axis=-1)


def _has_bounds(d: dist.Distribution) -> bool:
    """Whether it is uniform or a truncated normal."""
    if type(d).__name__ in _TRUNCATED:
        return is_normal(getattr(d, "base_dist"))  # noqa: B009 (no public type has it)
    return isinstance(d, dist.Uniform)


def _cdf(x: Array) -> Array:
    """That of a standard normal, clipped to eps and 1 - eps.

    By one special function, as the compilation of each takes long.
    """
    eps = jnp.finfo(x.dtype).eps
    return jnp.clip(0.5 * erfc(-(0.5**0.5) * x), eps, 1.0 - eps)


def _inverse_cdf(
    prior: Sequence[dist.Distribution], q: Float[Array, "*b param"]
) -> Float[Array, "*b param"]:
    """Quantiles of uniform and truncated normal distributions, in one expression.

    A truncated normal is mirrored where its bounds are in the upper tail, as
    probabilities near 1 lose their digits.
    """
    place, scale, low, high = (
        jnp.stack([jnp.asarray(x, q.dtype) for x in column])
        for column in zip(*map(_bounds, prior), strict=True)
    )
    is_flat = np.array([isinstance(d, dist.Uniform) for d in prior])
    side = jnp.where(place >= low, 1.0, -1.0)
    ends = jnp.stack([low, high]) - place
    at_low, at_high = 0.5 * erfc(-(0.5**0.5) * side * ends / scale)
    smallest, largest = jnp.finfo(q.dtype).tiny, 1.0 - jnp.finfo(q.dtype).eps
    share = jnp.clip((1.0 - q) * at_low + q * at_high, smallest, largest)
    bent = place + side * scale * ndtri(share)
    # the scale of a uniform distribution is its length
    return jnp.where(is_flat, low + q * scale, bent)


def _bounds(d: dist.Distribution) -> tuple[Any, Any, Any, Any]:
    """Centre, scale, and bounds; of a uniform one the middle and the length."""
    low, high = (getattr(d, k, x) for k, x in (("low", -math.inf), ("high", math.inf)))
    if isinstance(d, dist.Uniform):
        return 0.5 * (low + high), high - low, low, high
    return (*_loc_scale(getattr(d, "base_dist")), low, high)  # noqa: B009


def _loc_scale(d: dist.Normal) -> tuple[Any, Any]:
    return d.loc, d.scale


def _to_normal(d: dist.Distribution, value: Array) -> Array:
    if is_normal(d):  # exact, and without the tails' rounding
        loc, scale = _loc_scale(d)
        return (value - loc) / scale
    tiny = jnp.finfo(value.dtype).eps
    return ndtri(jnp.clip(d.cdf(value), tiny, 1.0 - tiny))


def to_spec(prior: Prior) -> dict:
    """The prior as plain data: parameter -> distribution name and its numbers."""
    return {
        name: [type(d).__name__, {k: _number(v) for k, v in _arguments(d).items()}]
        for name, d in zip(Prior._fields, prior, strict=True)
    }


def from_spec(spec: dict) -> Prior:
    """Inverse of `to_spec`.

    Raises:
        ValueError: a parameter is missing, its distribution is not known here, or its
            numbers make none.
    """
    unknown = [f"{k} {v[0]}" for k, v in spec.items() if v[0] not in _KNOWN]
    if set(spec) != set(Prior._fields) or unknown:
        raise ValueError(
            f"Expected a prior of {Prior._fields} with distributions "
            f"{tuple(_KNOWN)}; got {spec}."
        )
    for name, (_, numbers) in spec.items():
        low, high = numbers.get("low", -math.inf), numbers.get("high", math.inf)
        is_finite = all(map(math.isfinite, numbers.values()))
        if not (is_finite and numbers.get("scale", 1.0) > 0.0 and low < high):
            raise ValueError(
                f"Expected finite numbers, a positive scale and low < high of {name}; "
                f"got {numbers}."
            )
    return Prior(**{k: _KNOWN[name](**numbers) for k, (name, numbers) in spec.items()})


_TRUNCATED = (
    "LeftTruncatedDistribution",
    "RightTruncatedDistribution",
    "TwoSidedTruncatedDistribution",
)
_KNOWN = {"Normal": dist.Normal, "Uniform": dist.Uniform}
_KNOWN |= dict.fromkeys(_TRUNCATED, dist.TruncatedNormal)


def _arguments(d: dist.Distribution) -> dict:
    base = getattr(d, "base_dist", d)
    names = ("loc", "scale") if hasattr(base, "loc") else ()
    numbers = {k: getattr(base, k) for k in names}
    return numbers | {k: getattr(d, k) for k in ("low", "high") if hasattr(d, k)}


def _number(value: Array | float) -> float:
    return float(f"{float(value):.7g}")  # the digits of float32, not its rounding
