"""Can the model explain these stars at all? A calibrated test in abundance space."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy import stats

from chemsbi_jax.constants import ABUNDANCES
from chemsbi_jax.errors import counted
from chemsbi_jax.types import AnyArray, Forward

N_REFERENCE = 2000  # stars of the model that the observed ones are compared with
DOES_NOT_EXPLAIN = "The model does not explain these stars"
"""How each sentence about a misfit starts, but that of a scatter below the errors."""
OUTSIDE_ALL = (
    f"{DOES_NOT_EXPLAIN}: they, or the inferred parameters, lie outside its range. The "
    "interval has no meaning."
)
NOT_TESTED = "The fit of the model was not tested, as no star is used."
FEWEST = 30  # stars of the model with an abundance
TOO_FEW = (
    "The fit of the model was not tested, as each abundance is measured in too few of "
    "the stars."
)
ALARM = 0.01  # p-value below which the alarm is raised
LESS_SCATTER = "scatter less than their errors allow"  # the interval is too wide


class Misfit(NamedTuple):
    """Observed stars against stars of the model with the inferred parameters."""

    p_value: float  # that a galaxy of the model differs at least as much
    is_flagged: bool
    mean_residual: np.ndarray  # (element,) dex, observed minus expected
    mean_error: np.ndarray  # (element,) dex, its standard error
    text: str
    abundances: tuple[str, ...] = ABUNDANCES  # names of the elements' axis


def not_tested() -> Misfit:
    """What stands for the test where no star was used, and the result is the prior.

    The stars of the model are made at the mean of the result, which tests nothing then.
    """
    unknown = np.full(len(ABUNDANCES), np.nan)
    return Misfit(np.nan, False, unknown, unknown, NOT_TESTED)


def star_residuals(
    values: Float[AnyArray, "star element"],
    theta_draws: Float[Array, "star draw param"],
    forward: Forward,
) -> Float[AnyArray, "star element"]:
    """Observed abundances less the mean prediction of the star's posterior [dex].

    NaN in gaps, and for a star whose posterior lies where the forward model has none.
    """
    predicted = forward(theta_draws)
    known = jnp.isfinite(predicted)
    mean = jnp.sum(jnp.where(known, predicted, 0.0), axis=1) / jnp.sum(known, axis=1)
    return values - mean


def mean_residuals(
    values: Float[np.ndarray, "star element"],
    predicted: Float[np.ndarray, "star draw element"],
) -> Float[np.ndarray, "star element"]:
    """`star_residuals` of predictions that are there already [dex]."""
    known = np.isfinite(predicted)
    total = np.where(known, predicted, 0.0).sum(axis=1, dtype=float)
    with np.errstate(invalid="ignore"):  # 0 / 0: no prediction
        return values - total / known.sum(axis=1)


def misfit_test(
    observed: Float[AnyArray, "star element"],
    expected: Float[AnyArray, "reference element"],
    errors: tuple[AnyArray | float, AnyArray | float] = (1.0, 1.0),
    abundances: Sequence[str] = ABUNDANCES,
) -> Misfit:
    r"""Compare residuals of the observed stars with those of stars of the model.

    Three statistics, the smallest p-value tripled: Hotelling's :math:`T^2` of the mean
    residual (an offset that all stars share), the mean squared length of the residuals
    (stars that scatter too much or too little), and the number of stars that lie
    outside the model altogether (NaN in all columns). Residuals count in units of
    their errors, and not in gaps (NaN). A column that fewer than `FEWEST` stars of the
    model have does not count, as its covariance is not known.

    Args:
        observed: `star_residuals` of the stars.
        expected: the same for stars drawn from the model, with gaps alike.
        errors: of the values of both [dex]; (..., element) each.
        abundances: names of the columns.
    """
    observed, expected = np.asarray(observed, float), np.asarray(expected, float)
    known, model_known = (np.isfinite(x).any(axis=1) for x in (observed, expected))
    names = tuple(abundances)
    if not known.any() or model_known.sum() <= 2 * len(names):
        unknown = np.full(len(names), np.nan)
        return Misfit(0.0, True, unknown, unknown, OUTSIDE_ALL, names)
    rate = (1.0 + (~model_known).sum()) / (2.0 + len(expected))
    n_outside = int((~known).sum())
    p_outside = stats.binom.sf(n_outside - 1, len(observed), rate)
    dex, model_dex = observed[known], expected[model_known]
    unit = np.broadcast_to(errors[0], observed.shape)[known]
    model_unit = np.broadcast_to(errors[1], expected.shape)[model_known]
    seen = np.isfinite(dex).any(axis=0)
    seen &= np.isfinite(model_dex).sum(axis=0) >= FEWEST
    if not seen.any():
        return _without_residuals(float(min(1.0, 3.0 * p_outside)), names)
    observed = np.nan_to_num(dex / unit)[:, seen]
    expected = np.nan_to_num(model_dex / model_unit)[:, seen]
    centre, covariance = expected.mean(axis=0), np.cov(expected, rowvar=False)
    precision = np.linalg.pinv(np.atleast_2d(covariance), 1e-10, hermitian=True)
    share = 1.0 / len(observed) + 1.0 / len(expected)
    offset = observed.mean(axis=0) - centre
    t2 = offset @ precision @ offset / share
    p_offset = stats.chi2.sf(t2, offset.size)
    ratio, p_scatter = _scatter(observed - centre, expected - centre, precision)
    p_value = float(min(1.0, 3.0 * min(p_offset, p_scatter, p_outside)))
    mean, error = _mean_difference(dex, model_dex)
    is_flagged = p_value < ALARM
    text = _sentence(p_value, mean, error, n_outside, names)
    if is_flagged and 3.0 * min(p_offset, p_outside) >= ALARM:
        text = _scatter_alone(p_value, ratio)
    return Misfit(p_value, is_flagged, mean, error, text, names)


def _without_residuals(p_outside: float, names: tuple[str, ...]) -> Misfit:
    """Where no abundance can be compared, only stars outside the model count."""
    unknown, is_flagged = np.full(len(names), np.nan), p_outside < ALARM
    p_value = p_outside if is_flagged else np.nan
    text = OUTSIDE_ALL if is_flagged else TOO_FEW
    return Misfit(p_value, is_flagged, unknown, unknown, text, names)


def _mean_difference(
    dex: Float[np.ndarray, "star element"], model: Float[np.ndarray, "model element"]
) -> tuple[Float[np.ndarray, " element"], Float[np.ndarray, " element"]]:
    """Mean of what was observed minus that of the model, and its error [dex]."""
    n, n_model = (np.isfinite(x).sum(axis=0) for x in (dex, model))
    count, n_model = np.maximum(n, 1), np.maximum(n_model, 1)
    mean = np.nansum(dex, axis=0) / count
    centre = np.nansum(model, axis=0) / n_model
    variance = np.nansum((model - centre) ** 2, axis=0) / n_model
    error = np.sqrt(variance * (1.0 / count + 1.0 / n_model))
    gap = (n == 0) | (variance == 0.0)
    return np.where(gap, np.nan, mean - centre), np.where(gap, np.nan, error)


def _scatter(
    observed: Float[np.ndarray, "star element"],
    expected: Float[np.ndarray, "model element"],
    precision: Float[np.ndarray, "element element"],
) -> tuple[float, float]:
    """Scatter in units of the model's, and its two-sided p-value.

    From the distribution of means of as many model stars, with the error of the mean of
    all model stars.
    """
    length, model = (
        np.einsum("ni,ij,nj->n", x, precision, x) for x in (observed, expected)
    )
    model = _without_own(model)
    n, m = len(length), len(model)
    ratio, spread = float(np.sqrt(length.mean() / model.mean())), model.std()
    excess = length.mean() - model.mean()
    if n <= 500:
        draw = np.random.default_rng(0)
        groups = draw.choice(model, (2000, n)).mean(axis=1) - model.mean()
        groups += spread / np.sqrt(m) * draw.normal(size=len(groups))
        above = (groups >= excess).mean()
        tail = max(min(above, 1.0 - above), 0.5 / len(groups))
        if tail > 0.01:
            return ratio, float(2.0 * tail)
    z = excess / (spread * np.sqrt(1.0 / n + 1.0 / m))
    return ratio, float(2.0 * stats.norm.sf(abs(z)))


def _without_own(
    length: Float[np.ndarray, " model"],
) -> Float[np.ndarray, " model"]:
    """Squared lengths of stars by the mean and covariance of all *other* stars.

    Each star draws mean and covariance to itself, so that its length is too small by a
    factor of about 1 - (columns + 1) / stars, unlike the length of an observed star.
    From the Sherman-Morrison formula.
    """
    m = len(length)
    q = np.minimum(length / (m - 1), (m - 1) / m * (1.0 - 1e-6))  # at most (m - 1) / m
    return (m / (m - 1)) ** 2 * (m - 2) * q / (1.0 - m / (m - 1) * q)


def _chance(p_value: float) -> str:
    return f"p = {p_value:.1g}" if p_value > 0.0 else "p < 1e-300"


def _scatter_alone(p_value: float, ratio: float) -> str:
    """The only fault: the stars scatter less, or more, than their errors imply."""
    if ratio > 1.0:
        return (
            f"{DOES_NOT_EXPLAIN} ({_chance(p_value)}; their means "
            f"agree, but they scatter {ratio:.2f} times as much as stars of the model "
            "with these errors): the errors are underestimated, or the stars are not "
            "of one galaxy. The interval is too narrow."
        )
    return (
        f"The stars {LESS_SCATTER} ({_chance(p_value)}; "
        f"{ratio:.2f} times the scatter of stars of the model): their errors are "
        "overestimated, or hold a part that all values of a star share. The means "
        "agree with the model; the interval is too wide rather than too narrow."
    )


def _sentence(
    p_value: float,
    offset: np.ndarray,
    error: np.ndarray,
    n_outside: int,
    abundances: tuple[str, ...],
) -> str:
    if p_value >= ALARM:
        return f"The model explains the stars (p = {p_value:.2g})."
    worst = np.argsort(-np.nan_to_num(np.abs(offset / error)))[:3]
    worst = worst[np.isfinite(offset[worst])]
    names = ", ".join(
        f"{abundances[i]} {offset[i]:+.3f} +- {error[i]:.3f} dex" for i in worst
    )
    stars = counted(n_outside, "star")
    outside = f"; {stars} outside the range of the model" if n_outside else ""
    return (
        f"{DOES_NOT_EXPLAIN} ({_chance(p_value)}; mean residuals "
        f"{names}{outside}): the interval is not a measurement of the galaxy."
    )
