"""One star given the shared parameters: readings, likelihood and population."""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from chemsbi_jax import priors
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.galaxy.hierarchical.settings import SharedErrors
from chemsbi_jax.galaxy.hierarchical.shared import Shared
from chemsbi_jax.galaxy.likelihood import IRON, observe
from chemsbi_jax.priors import Prior
from chemsbi_jax.types import AnyArray, Stars

FactorForward = Callable[
    [Float[AnyArray, "*batch param"], Float[AnyArray, "*batch factor"]],
    Float[AnyArray, "*batch element"],
]
"""(theta, log10 yield factors) -> abundances [dex]; a PyTree such as `Partial`."""

BAD = -1e10  # log likelihood where the forward model has no star
EDGE = 4.98  # prior widths of local latents: the emulators end at 5
BIRTH_TIME = PARAMETERS.index("birth_time")
LOG_2_PI = float(np.log(2.0 * np.pi))


class Star(NamedTuple):
    """What the likelihood needs of one star, or of all (leading axis)."""

    values: Float[AnyArray, "*star reading"]  # dex, then Gyr; 0 where not observed
    variance: Float[AnyArray, "*star reading"]  # dex^2, Gyr^2; 1 where not observed
    seen: Float[AnyArray, "*star reading"]  # 1 where observed, else 0
    log_broad: Float[AnyArray, "*star"]  # log density of the outliers at this star
    # 1 where a reading is that of [X/H], 0 where it is [X/Fe], [Fe/H] or the time
    over_h: Float[AnyArray, "*star reading"]


class Model(NamedTuple):
    """The forward model with the prior that its latents refer to."""

    forward: FactorForward
    prior: Prior


def make_stars(stars: Stars, settings: SharedErrors, prior: Prior) -> Star:
    """Arrays of the likelihood from a star table; the birth time is the last reading.

    Outliers are normal around the median star, with `outlier_width` and the star's
    own errors; the density of their birth times is uniform, over the width of the
    prior. Where the errors of [X/Fe] share that of [Fe/H] (`Stars.fe_covariance`), the
    reading is [X/H], as in `observe`; the model's scatter is then that of [X/H].
    """
    measured = observe(stars)
    seen = np.asarray(stars.observed)
    dated = np.isfinite(stars.birth_time) & np.isfinite(stars.e_birth_time)
    values = np.asarray(measured.values, float)
    variance = 1.0 / np.where(seen, np.asarray(measured.weight, float), 1.0)
    over_h = measured.over_h
    over_h = np.zeros(seen.shape) if over_h is None else np.asarray(over_h, float)
    middle = [
        np.median(column[good]) if good.any() else 0.0
        for column, good in zip(values.T, seen.T, strict=True)
    ]
    broad = variance + settings.outlier_width**2
    each = (values - middle) ** 2 / broad + np.log(2.0 * np.pi * broad)
    log_broad = -0.5 * np.where(seen, each, 0.0).sum(axis=1)
    birth = np.where(dated, stars.birth_time, 0.0)
    spread = float(prior[BIRTH_TIME].variance) ** 0.5 * np.sqrt(12.0)
    log_broad = log_broad - np.where(dated, np.log(spread), 0.0)
    e_birth = np.where(dated, stars.e_birth_time, 1.0)
    return Star(
        *(
            np.asarray(x, np.float32)
            for x in (
                np.concatenate([values, birth[:, None]], axis=1),
                np.concatenate([variance, e_birth[:, None] ** 2], axis=1),
                np.concatenate([seen, dated[:, None]], axis=1),
                log_broad,
                np.pad(over_h, ((0, 0), (0, 1))),
            )
        )
    )


def readings(
    star: Star, model: Model, inputs: Float[AnyArray, "*b input"]
) -> tuple[Float[AnyArray, "*b reading"], Bool[AnyArray, "*b"]]:
    """Abundances [dex] and birth time [Gyr] of the model, as they were measured.

    The second array is True where the model has no star; its abundances are 0 there.

    Args:
        star: which of its readings are [X/H].
        model: the forward model.
        inputs: two latents of the galaxy, four of the star, then the yield factors.
    """
    n = len(PARAMETERS)
    local = jnp.clip(inputs[..., N_GLOBAL:n], -EDGE, EDGE)
    latent = jnp.concatenate([inputs[..., :N_GLOBAL], local], axis=-1)
    theta = priors.from_normal(model.prior, latent)
    abundances = model.forward(theta, inputs[..., n:])
    bad = jnp.any(jnp.isnan(abundances), axis=-1)
    abundances = jnp.where(bad[..., None], 0.0, abundances)
    every = jnp.concatenate([abundances, theta[..., BIRTH_TIME:]], axis=-1)
    return _measured(star, every), bad


def _measured(
    star: Star, x: Float[AnyArray, "*b reading"]
) -> Float[AnyArray, "*star_b reading"]:
    """[X/H] = [X/Fe] + [Fe/H] where the reading is [X/H]."""
    return x + star.over_h * x[..., IRON : IRON + 1]


def offsets(star: Star, shared: Shared) -> Float[AnyArray, "*star reading"]:
    """Zero points of the readings."""
    return _measured(star, shared.zero_points)


def noise_variance(star: Star, shared: Shared) -> Float[AnyArray, "*star reading"]:
    """Squared errors of the readings: measured, and the scatter of the model."""
    return star.variance + shared.variance


def residuals(
    star: Star,
    shared: Shared,
    predicted: Float[AnyArray, "*b reading"],
    local: Float[AnyArray, "*b 4"],
) -> Float[AnyArray, "*b residual"]:
    """Standardised residuals of the readings and of the population."""
    rest = predicted + offsets(star, shared) - star.values
    rest = star.seen / jnp.sqrt(noise_variance(star, shared)) * rest
    units = (local - shared.mean) * jnp.exp(-shared.log_width)
    return jnp.concatenate([rest, units], axis=-1)


def log_likelihood(
    star: Star, shared: Shared, predicted: Float[AnyArray, "*b reading"]
) -> Float[AnyArray, "*b"]:
    """Normalised Gaussian log likelihood of one star at predicted readings."""
    variance = noise_variance(star, shared)
    norm = jnp.sum(star.seen * (jnp.log(variance) + LOG_2_PI))
    rest = predicted + offsets(star, shared) - star.values
    squares = jnp.sum(star.seen / variance * rest**2, axis=-1)
    return -0.5 * (squares + norm)


def log_population(
    shared: Shared, local: Float[AnyArray, "*b 4"]
) -> Float[AnyArray, "*b"]:
    """Log density of the local latents in the galaxy's population."""
    units = (local - shared.mean) * jnp.exp(-shared.log_width)
    norm = jnp.sum(shared.log_width) + 0.5 * LOG_2_PI * local.shape[-1]
    return -0.5 * jnp.sum(units**2, axis=-1) - norm


def with_outliers(
    star: Star, shared: Shared, inlier: Float[AnyArray, "*b"]
) -> Float[AnyArray, "*b"]:
    """Log of the mixture with the broad normal of the outliers."""
    inlier = inlier + jnp.log1p(-jnp.exp(shared.log_outliers))
    return jnp.logaddexp(inlier, shared.log_outliers + star.log_broad)
