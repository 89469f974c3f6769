"""How much the factors between published yield sets change with [Fe/H]."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key
from scipy.optimize import least_squares

from chemsbi_jax import priors
from chemsbi_jax.constants import ABUNDANCES, SHARED_FACTORS, YIELD_FACTORS
from chemsbi_jax.emulator import YieldEmulator
from chemsbi_jax.galaxy.hierarchical.yield_prior import emulate_with_slopes
from chemsbi_jax.priors import Prior
from chemsbi_jax.simulator import CLEAN, Yields
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.types import AnyArray

FARTHEST = 2.5  # prior widths of the drawn parameters
INSIDE = 0.999  # of the emulator's box
LARGEST_SLOPE = 1.0  # dex per dex
NOT_FITTED = ("he_fe",)  # no factor makes helium


class SlopeFit(NamedTuple):
    """Factors and slopes that turn the emulator's yields into those of a set."""

    factors: Float[np.ndarray, " shared"]  # in the order of `SHARED_FACTORS`
    constant_rms: float  # dex, of the abundances with constant factors
    sloped_rms: float  # dex, with slopes


def fit_slopes(
    key: Key[Array, ""],
    yields: Yields,
    emulator: YieldEmulator,
    prior: Prior,
    n_stars: int = 1500,
    quiet: bool = True,
) -> SlopeFit:
    """Least squares over simulated stars of one set, drawn from the prior.

    Args:
        key: determines the stars.
        yields: the other set.
        emulator: of the yields that are corrected.
        prior: of the six parameters.
        n_stars: simulated stars.
        quiet: no progress bar.
    """
    latents = jax.random.truncated_normal(key, -FARTHEST, FARTHEST, (n_stars, 6))
    theta = np.asarray(priors.from_normal(prior, latents))
    columns = [yields.abundances.index(a) for a in ABUNDANCES]
    made = simulate_blocks(theta, yields, CLEAN, quiet)[:, columns]
    zero = np.zeros(len(SHARED_FACTORS), np.float32)
    good = np.isfinite(made).all(axis=1)
    good &= np.isfinite(np.asarray(_predict(theta, zero, emulator))).all(axis=1)
    theta, made = jnp.asarray(theta[good]), made[good]
    box = INSIDE * np.asarray(emulator.factor_limit, float)
    constant = _solve(theta, made, emulator, zero[: len(box)], box)
    slopes = np.full(len(zero) - len(box), LARGEST_SLOPE)
    start = np.append(constant[0], 0.0 * slopes)
    sloped = _solve(theta, made, emulator, start, np.append(box, slopes))
    return SlopeFit(sloped[0], constant[1], sloped[1])


def _solve(
    theta: AnyArray,
    made: np.ndarray,
    emulator: YieldEmulator,
    start: np.ndarray,
    box: np.ndarray,
) -> tuple[np.ndarray, float]:
    """The best factors inside a box around zero, and the rms of the rest [dex]."""
    used = [i for i, a in enumerate(ABUNDANCES) if a not in NOT_FITTED]
    fill = len(SHARED_FACTORS) - len(start)

    def pad(x: np.ndarray) -> np.ndarray:
        return np.append(x, np.zeros(fill)).astype(np.float32)

    def rest(x: np.ndarray) -> np.ndarray:
        away = np.asarray(_predict(theta, pad(x), emulator)) - made
        return away[:, used].ravel().astype(float)

    def slope(x: np.ndarray) -> np.ndarray:
        found = np.asarray(_slope(theta, pad(x), emulator), float)[:, used]
        return found.reshape(-1, len(SHARED_FACTORS))[:, : len(start)]

    jac: Any = slope  # scipy's types allow a name alone
    found = least_squares(rest, start, jac=jac, bounds=(-box, box))
    return found.x, float(np.sqrt(np.mean(found.fun**2)))


_predict = jax.jit(emulate_with_slopes)
_slope = jax.jit(jax.jacfwd(emulate_with_slopes, argnums=1))


def slope_scales(fits: list[SlopeFit]) -> dict[str, float]:
    """Slope -> its root mean square over the sets [dex per dex]."""
    found = np.array([fit.factors[len(YIELD_FACTORS) :] for fit in fits])
    names = SHARED_FACTORS[len(YIELD_FACTORS) :]
    return dict(zip(names, np.sqrt((found**2).mean(axis=0)).tolist(), strict=True))
