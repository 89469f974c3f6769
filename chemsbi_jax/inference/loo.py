"""Leave-one-out cross-validation and stacking by ArviZ."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

BAD_K = 0.7  # Pareto k above which the estimate of a star is not reliable


class Loo(NamedTuple):
    """PSIS-LOO of the stars of a galaxy."""

    elpd: Float[np.ndarray, " star"]  # log predictive density of each star left out
    k_hat: Float[np.ndarray, " star"]  # Pareto shape of its weights
    p_loo: float  # effective number of parameters


def leave_one_out(log_likelihood: Float[np.ndarray, "star draw"]) -> Loo:
    """Log density of each star given the others (Vehtari+ 2017), by `arviz.loo`.

    Args:
        log_likelihood: of each star at independent draws of the global parameters, its
            local parameters integrated out.
    """
    import arviz as az  # loads slowly

    data = az.from_dict(log_likelihood={"star": log_likelihood.T[None]})
    found = _quietly(az.loo, data, pointwise=True, reff=1.0)
    each = np.asarray(found.loo_i, float)
    return Loo(each, np.asarray(found.pareto_k, float), float(found.p_loo))


def stacking_weights(
    elpd: Mapping[str, Float[np.ndarray, " star"]],
) -> dict[str, float]:
    """Weights of the mixture with the best predictive density, by `arviz.compare`.

    Yao, Vehtari, Simpson & Gelman 2018, Bayesian Analysis 13, 917.

    Args:
        elpd: model -> log predictive density of each star left out.
    """
    import arviz as az

    if len(elpd) < 2:
        return dict.fromkeys(elpd, 1.0)
    models = {name: _as_elpd_data(each) for name, each in elpd.items()}
    table = _quietly(az.compare, models, ic="loo", method="stacking")
    return {name: float(table.loc[name, "weight"]) for name in elpd}


def _as_elpd_data(each: Float[np.ndarray, " star"]) -> Any:
    """What `arviz.loo` returns, from its pointwise part."""
    import arviz as az
    import xarray as xr

    n = len(each)
    content = {
        "elpd_loo": each.sum(),
        "se": np.sqrt(n * each.var()),
        "p_loo": 0.0,
        "n_samples": n,
        "n_data_points": n,
        "warning": False,
        "loo_i": xr.DataArray(each, dims="star", name="loo_i"),
        "scale": "log",
    }
    return az.ELPDData(data=list(content.values()), index=list(content))


def _quietly(function: Any, *args: Any, **options: Any) -> Any:
    """A call without ArviZ's warnings of large k-hat, which the tables show."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        return function(*args, **options)
