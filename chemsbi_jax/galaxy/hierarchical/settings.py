"""Priors of the shared parameters: one scale a block, or one a parameter."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chemsbi_jax.constants import ABUNDANCES, N_GLOBAL, PARAMETERS, YIELD_SLOPES
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.hierarchical.yield_prior import default_scale

BLOCKS = ("yields", "zero_points", "population", "scatter", "outliers")
"""Blocks of shared parameters beside the galaxy's, in the order of the latents."""
LOCAL = PARAMETERS[N_GLOBAL:]
SAMPLERS = ("network", "nuts")
ENOUGH_POINTS = 10.0  # effective ones, of a precise star, for NUTS
MIN_P = 0.05  # of the predictive check: below it, there is a warning
MODEL_STARS = 20.0  # chosen with stars of IllustrisTNG: docs/shared_errors.md
ENOUGH_DRAWS = 100  # effective ones, of NUTS: the error of the mean is 0.1 widths
MOST_DRAWS = 10_000
FAR_MODE = 1.5  # widths of the network's interval, of the mode from its middle


@dataclass(frozen=True)
class SharedErrors:
    """Prior scales of what all stars of a galaxy share; 0 holds a parameter."""

    yields: Mapping[str, float] | float | None = None
    """Log10 yield factors [dex]: one scale, or factor -> scale; None takes the
    differences of the published sets (`yield_prior`). The factors of SN II have slopes
    with [Fe/H] [dex per dex]; one scale for all factors leaves the default scales of
    the slopes, and 0 holds factors and slopes."""
    zero_points: Mapping[str, float] | float = 0.05
    """Offsets of the abundances [dex]: one scale, or abundance -> scale; an abundance
    that is not named has the default."""
    population_mean: float = 1.0
    """Mean of each local latent in units of its prior width."""
    population_width: float = 0.5
    """Natural log of the width of each local latent over its prior width."""
    scatter: Mapping[str, float] | float = 0.05
    """Half-normal model error of the abundances [dex], drawn for each star; one scale,
    or abundance -> scale, as above."""
    outlier_share: float = 0.01
    """Median share of stars from a broad normal. The shipped network has this one."""
    outlier_width: float = 0.5
    """Width of that normal around the median star [dex]."""
    outlier_share_dex: float = 0.0
    """Prior scale of log10 of the share of outliers [dex]; 0 holds it, as the shipped
    network does."""
    hold: tuple[str, ...] = ()
    """Blocks (of `BLOCKS`) that are held at their default values. The outliers are
    always held."""
    sampler: str = "network"
    """How the posterior is drawn. "network" takes seconds. "nuts" samples the
    likelihood of at most 256 stars in up to half an hour (two runs of the chains);
    where it does not converge, the draws are those of the network."""
    model_stars: float | None = MODEL_STARS
    """Number m of stars whose noise is as large as the error of the model's form, for
    NUTS: n stars count as m n / (m + n), the factor of their log likelihood being
    m / (m + n) (coarsened posterior, Miller & Dunson 2019). None: the form is exact,
    and all stars count."""
    effective_draws: int = ENOUGH_DRAWS
    """Effective draws of the galaxy's parameters by NUTS, at most 10,000. The chains go
    on until they have so many, in at most `effective_draws` / 50 runs, or two if that
    is more. The error of a mean is 1/sqrt(effective_draws) widths."""

    def likelihood_power(self, n_stars: int) -> float:
        """Factor of the log likelihood of that many stars, at most 1."""
        m = self.model_stars
        return 1.0 if m is None else m / (m + n_stars)


def prior_scales(
    settings: SharedErrors, factors: Sequence[str]
) -> dict[str, tuple[float, ...]]:
    """Scale of each shared parameter by block, in the order of the latents.

    Args:
        settings: the user's.
        factors: names of the yield factors.

    Raises:
        InputError: an unknown block, name or sampler, a scale that is negative, or
            `model_stars` or `effective_draws` that are not positive.
    """
    if settings.sampler not in SAMPLERS:
        raise InputError(
            f"Expected a sampler from {SAMPLERS}; got {settings.sampler!r}."
        )
    m = settings.model_stars
    if m is not None and not 0.0 < m < math.inf:
        raise InputError(
            f"Expected a positive number of model_stars, or none; got {m}."
        )
    if not 0.0 < settings.effective_draws <= MOST_DRAWS:
        raise InputError(
            f"Expected effective_draws above 0, and at most {MOST_DRAWS}; got "
            f"{settings.effective_draws}."
        )
    unknown = set(settings.hold) - set(BLOCKS)
    if unknown:
        raise InputError(
            f"Expected blocks to hold from {BLOCKS}; got {sorted(unknown)}."
        )
    default = {f: default_scale(f) for f in factors}
    yields = default if settings.yields is None else settings.yields
    if not isinstance(yields, Mapping) and yields > 0.0:
        yields = {f: yields for f in factors if f not in YIELD_SLOPES}
    offset = dict.fromkeys(ABUNDANCES, SharedErrors.zero_points)
    scatter = dict.fromkeys(ABUNDANCES, SharedErrors.scatter)
    scales = {
        "yields": _each("yields", yields, factors, default),
        "zero_points": _each("zero_points", settings.zero_points, ABUNDANCES, offset),
        "population": (settings.population_mean,) * len(LOCAL)
        + (settings.population_width,) * len(LOCAL),
        "scatter": _each("scatter", settings.scatter, ABUNDANCES, scatter),
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
