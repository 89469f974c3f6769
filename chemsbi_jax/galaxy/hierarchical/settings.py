"""Priors of the shared parameters: one scale a block, or one a parameter."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL, PARAMETERS
from chemsbi_jax.errors import InputError

BLOCKS = ("yields", "zero_points", "population", "scatter", "outliers")
"""Blocks of shared parameters beside the galaxy's, in the order of the latents."""
LOCAL = PARAMETERS[N_GLOBAL:]
DEFAULT_YIELDS = 0.15  # dex, of a factor without a published spread
SN2_IRON = 0.05  # dex, from observed explosions (Weinberg+ 2024: 12 %)
CHANNELS = {"sn2": "sn2", "agb": "agb", "snia": "sn_ia"}  # names in the spread's file
SPREAD_FILE = Path(__file__).parents[2] / "pretrained" / "yield_spread.json"


@dataclass(frozen=True)
class SharedErrors:
    """Prior scales of what all stars of a galaxy share; 0 holds a parameter."""

    yields: Mapping[str, float] | float | None = None
    """Log10 yield factors [dex]: one scale, or factor -> scale; None takes the spread
    of the published sets where it is known."""
    zero_points: Mapping[str, float] | float = 0.05
    """Offsets of the abundances [dex]: one scale, or abundance -> scale."""
    population_mean: float = 1.0
    """Mean of each local latent in units of its prior width."""
    population_width: float = 0.5
    """Natural log of the width of each local latent over its prior width."""
    scatter: Mapping[str, float] | float = 0.05
    """Half-normal model error of the abundances [dex], new for each star."""
    outlier_share: float = 0.01
    """Median share of stars from a broad normal; 0 for none."""
    outlier_width: float = 0.5
    """Width of that normal around the median star [dex]."""
    outlier_share_dex: float = 0.0
    """Log10 of the share of outliers [dex]; 0 holds it."""
    hold: tuple[str, ...] = ()
    """Blocks (of `BLOCKS`) that are held at their default values."""


def prior_scales(
    settings: SharedErrors, factors: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """Scale of each shared parameter by block, in the order of the latents.

    Args:
        settings: the user's.
        factors: names of the yield factors.

    Raises:
        InputError: an unknown block or name, or a scale that is negative.
    """
    unknown = set(settings.hold) - set(BLOCKS)
    if unknown:
        raise InputError(
            f"Expected blocks to hold from {BLOCKS}; got {sorted(unknown)}."
        )
    default = {f: _default_scale(f) for f in factors}
    yields = default if settings.yields is None else settings.yields
    scales = {
        "yields": _each("yields", yields, factors, default),
        "zero_points": _each("zero_points", settings.zero_points, ABUNDANCES),
        "population": (settings.population_mean,) * len(LOCAL)
        + (settings.population_width,) * len(LOCAL),
        "scatter": _each("scatter", settings.scatter, ABUNDANCES),
        "outliers": (settings.outlier_share_dex,),
    }
    bad = {k: v for k, v in scales.items() if not all(0.0 <= x < 1e3 for x in v)}
    if bad:
        raise InputError(f"Expected prior scales from 0 to 1000; got {bad}.")
    return {k: (0.0,) * len(v) if k in settings.hold else v for k, v in scales.items()}


def _each(block: str, given, names: Sequence[str], default=None) -> tuple[float, ...]:
    if not isinstance(given, Mapping):
        return (float(given),) * len(names)
    unknown = set(given) - set(names)
    if unknown:
        raise InputError(
            f"Expected scales of {block} for {tuple(names)}; got {sorted(unknown)}."
        )
    default = default or dict.fromkeys(names, 0.0)
    return tuple(float(given.get(n, default[n])) for n in names)


def _default_scale(factor: str) -> float:
    if factor == "sn2_fe":
        return SN2_IRON
    channel, element = factor.split("_")
    spread = _published_spread().get(CHANNELS[channel], {})
    return float(spread.get(element.capitalize(), DEFAULT_YIELDS))


def _published_spread() -> dict[str, dict[str, float]]:
    """Channel -> element -> dex: the shipped spread of the published sets, if any."""
    if not SPREAD_FILE.exists():
        return {}
    content = json.loads(SPREAD_FILE.read_text(encoding="utf-8"))
    return content["scales"]
