"""Prior of the yield factors, from the differences between published yield sets.

The yields of a galaxy are taken as far from those of the model as published sets are
from one another: the scale of a factor is the root mean square of log10 of the newly
made mass over that of TNG (averaged over the IMF), and the factors of a channel have
the correlation of these differences. Elements that the same layers of a star make, such
as O, Ne and Mg, differ together.
"""

import functools
import json
from collections.abc import Sequence
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Float

from chemsbi_jax.constants import ABUNDANCES, YIELD_FACTORS
from chemsbi_jax.emulator import YieldEmulator, emulate, with_factors
from chemsbi_jax.types import AnyArray

SLOPE = "_slope"  # end of the name of a slope
DEFAULT_YIELDS = 0.15  # dex, of a factor without published differences
SN2_IRON = 0.05  # dex, from observed explosions (Weinberg+ 2024: 12 %)
# dex per dex of [Fe/H]: about the rms that experiments/yields.py --slopes prints
SLOPES = {"c": 0.20, "n": 0.30, "o": 0.12, "ne": 0.15, "mg": 0.17, "si": 0.19}
SHRINK = 0.7  # of the correlations: the sets are few
CHANNELS = {"sn2": "sn2", "agb": "agb", "snia": "sn_ia"}  # names in the file
SPREAD_FILE = Path(__file__).parents[2] / "pretrained" / "yield_spread.json"
IRON = ABUNDANCES.index("fe_h")
LOWEST_IRON, HIGHEST_IRON = -1.5, 0.75  # dex; the slopes end there


def default_scale(factor: str) -> float:
    """Prior scale of a yield factor [dex], or of a slope [dex per dex]."""
    if factor.endswith(SLOPE):
        return SLOPES[factor.split("_")[1]]
    if factor == "sn2_fe":
        return SN2_IRON
    away = _differences(factor)
    return float(np.sqrt(np.mean(away**2))) if len(away) else DEFAULT_YIELDS


def mixing_matrix(factors: Sequence[str]) -> Float[np.ndarray, "factor factor"]:
    """Lower triangle that turns independent latents into correlated ones.

    Rows have unit length, so that a factor in units of its scale is standard normal.
    """
    correlation = np.eye(len(factors))
    for i, first in enumerate(factors):
        for j, second in enumerate(factors[:i]):
            correlation[i, j] = correlation[j, i] = SHRINK * _correlation(first, second)
    return np.linalg.cholesky(correlation)


def _correlation(first: str, second: str) -> float:
    is_plain = not any(f == "sn2_fe" or f.endswith(SLOPE) for f in (first, second))
    if not is_plain or first.split("_")[0] != second.split("_")[0]:
        return 0.0
    x, y = _differences(first), _differences(second)
    return float(np.mean(x * y) / np.sqrt(np.mean(x**2) * np.mean(y**2)))


def _differences(factor: str) -> Float[np.ndarray, " set"]:
    """log10 of the newly made mass of each other published set over the reference's."""
    channel, element = factor.split("_")
    masses = _published().get((CHANNELS[channel], element.capitalize()), {})
    reference = masses.get("tng")
    if reference is None:
        return np.zeros(0)
    return np.array([m - reference for name, m in masses.items() if name != "tng"])


@functools.cache
def _published() -> dict[tuple[str, str], dict[str, float]]:
    """(channel, element) -> set -> log10 newly made mass, of the shipped file."""
    content = json.loads(SPREAD_FILE.read_text(encoding="utf-8"))
    return {(d["channel"], d["element"]): d["sets"] for d in content["details"]}


def forward_with_slopes(emulator: YieldEmulator) -> Partial:
    """(theta, factors and slopes) -> abundances [dex], of one conditional emulator."""
    return Partial(emulate_with_slopes, emulator=emulator)


def emulate_with_slopes(
    theta: Float[AnyArray, "*#batch param"],
    shared: Float[AnyArray, "*#batch shared"],
    emulator: YieldEmulator,
) -> Float[AnyArray, "*batch element"]:
    """Abundances [dex] with factors that depend on [Fe/H], as `emulate_yields`.

    The metallicity that counts is [Fe/H] of the star by the yields of the emulator
    alone. Factors beyond the training of the emulator (0.9 dex for most) are taken as
    its end.

    Args:
        theta: parameters (..., 6).
        shared: in the order of `SHARED_FACTORS`, (..., 17); leading axes broadcast
            with those of `theta`.
        emulator: `load_yield_emulator`.
    """
    n = len(YIELD_FACTORS)
    base = emulate(theta, emulator.base)  # once: the compiler does not merge two calls
    iron = jnp.nan_to_num(base[..., IRON, None])
    iron = jnp.clip(iron, LOWEST_IRON, HIGHEST_IRON)
    slopes = shared[..., n:]
    rest = jnp.zeros((*slopes.shape[:-1], n - slopes.shape[-1]), slopes.dtype)
    factors = shared[..., :n] + iron * jnp.concatenate([slopes, rest], axis=-1)
    limit = emulator.factor_limit
    return with_factors(base, theta, jnp.clip(factors, -limit, limit), emulator)
