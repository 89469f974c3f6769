"""The second interval of `infer`: with errors that all stars share."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeGuard

import numpy as np
from jaxtyping import Array, Float, Key

from chemsbi_jax.constants import SHARED_FACTORS
from chemsbi_jax.diagnostics.misfit import DOES_NOT_EXPLAIN
from chemsbi_jax.errors import InputError, counted
from chemsbi_jax.galaxy.checks import describe_fit
from chemsbi_jax.galaxy.hierarchical import (
    BLOCKS,
    HierarchicalPosterior,
    SharedErrors,
    hierarchical_posterior,
    load_shared_network,
)
from chemsbi_jax.galaxy.hierarchical.same_model import factor_forward, is_same_prior
from chemsbi_jax.galaxy.hierarchical.settings import MOST_DRAWS, SAMPLERS
from chemsbi_jax.galaxy.hierarchical.shared import LARGEST_SHARE, make_layout
from chemsbi_jax.galaxy.hierarchical.trained import prior_ratio
from chemsbi_jax.inference.checks import Run
from chemsbi_jax.types import AnyArray, GalaxyPosterior, Stars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_NETWORK = (
    "The interval with shared errors was not made: there is no network of yield "
    "factors for these yields. The first interval takes the yields as exactly known."
)
OTHER_PRIOR = (
    "The interval with shared errors was not made: the posterior network has another "
    "prior than the network of shared errors. The first interval takes the yields as "
    "exactly known."
)
TOO_FEW = 5  # stars; the population of fewer is its prior


class SharedAnswer(NamedTuple):
    """The second interval, or why there is none."""

    shared_errors: HierarchicalPosterior | None
    shared_note: str  # a sentence about it; empty: nothing to say

    @property
    def is_interval(self) -> bool:
        """Whether there is a second interval that can be quoted."""
        return self.shared_errors is not None and self.shared_errors.is_converged


def infer_shared(
    key: Key[Array, ""], run: Run, stars: Stars, settings: SharedErrors
) -> SharedAnswer:
    """Posterior with priors on yields, zero points, population, scatter and outliers.

    Args:
        key: determines all random numbers.
        run: networks, numbers of stars, and the clock.
        stars: those that the model explains.
        settings: prior scales, and blocks that are held.
    """
    networks, limits, watch = run
    forward = factor_forward(networks.forward)
    if forward is None:
        return SharedAnswer(None, NO_NETWORK)
    trained = load_shared_network()
    if not is_same_prior(networks.npe.prior, trained.prior):
        return SharedAnswer(None, OTHER_PRIOR)
    n_stars = len(stars.values)
    if n_stars < TOO_FEW:
        return SharedAnswer(
            None,
            f"The interval with shared errors was not made: it needs {TOO_FEW} stars; "
            f"got {n_stars}. The first interval takes the yields as exactly known.",
        )
    found = hierarchical_posterior(
        key,
        trained,
        forward,
        stars,
        settings,
        most_stars=limits.n_shared,
        quiet=watch.quiet,
    )
    if not found.is_converged:
        return SharedAnswer(found, found.why_not())
    return SharedAnswer(found, _how_drawn(found.posterior.checks, n_stars))


def _how_drawn(checks: Mapping, n_stars: int) -> str:
    """Sentence about the sampler and the stars; empty for all stars by the network."""
    is_nuts = checks.get("sampler") == "nuts"
    n_subset = (checks.get("n_nuts") if is_nuts else None) or checks.get("n_subset")
    which = f"{n_subset} random stars of {n_stars}" if n_subset else f"{n_stars} stars"
    if not is_nuts:
        note = f"The interval with shared errors is from {which}."
        return note if n_subset else ""
    note = (
        f"NUTS drew the interval with shared errors from {which} (r-hat "
        f"{checks['r_hat']:.2f}, {checks['n_effective']:.0f} effective draws, "
        f"{counted(checks['divergences'], 'divergence')})."
    )
    if "counted_stars" in checks:
        note += (
            f" Their likelihood has the weight of {checks['counted_stars']:.0f} stars, "
            "because the assumed form of the population is an approximation."
        )
    return note


def say_which(warning: str) -> str:
    """A warning of the first interval, which names it if it is about the misfit."""
    is_misfit = warning.startswith(DOES_NOT_EXPLAIN)
    return f"Without shared errors: {warning}" if is_misfit else warning


def shared_block(found: HierarchicalPosterior) -> dict:
    """Content of `shared_errors` in summary.json, with the alarm at this answer."""
    block = found.summary()
    if found.misfit is not None:
        block["model_fit"] = describe_fit(found.misfit)
    return block


def shared_draws(
    found: HierarchicalPosterior | None,
) -> dict[str, Float[np.ndarray, " draw"]] | None:
    """Name -> draws of every shared parameter that is free, for posterior.nc."""
    if found is None or not found.is_converged:
        return None
    each = zip(found.names, found.draws.T, strict=True)
    return {name: draws for name, draws in each if np.ptp(draws) > 0.0}


def shared_figures(
    statistical: GalaxyPosterior,
    found: HierarchicalPosterior,
    truth: Sequence[float] | Float[AnyArray, " 2"] | None,
) -> Iterator[tuple[str, "Figure"]]:
    """Both intervals in one plane, the yield factors, and the budget of the width."""
    from chemsbi_jax.plots import shared_errors as plots

    first, second = ((p.mean, p.covariance) for p in (statistical, found.posterior))
    known = None if truth is None else np.asarray(truth)
    yield "shared_errors", plots.plot_both_intervals(first, second, known)
    yields = found.summary()["yields"]
    if yields:
        yield "yield_factors", plots.plot_yield_factors(yields, found.prior_scales())
    yield "width_budget", plots.plot_budget(found.budget)


def read_settings(
    hold: str, path: Path | None, sampler: str | None = None
) -> SharedErrors:
    """Prior scales from flags: blocks to hold, and a JSON file of `SharedErrors`.

    Args:
        hold: names of blocks with commas between them, such as yields,zero-points.
        path: a JSON object with fields of `SharedErrors`, such as
            {"yields": {"sn2_fe": 0.1}, "scatter": 0.02}; None for the defaults.
        sampler: of `SAMPLERS`; None takes that of the file.

    Raises:
        InputError: the file or a name in it can't be read.
    """
    names = [n.strip() for n in hold.split(",") if n.strip()]
    known = [block.replace("_", "-") for block in BLOCKS]
    unknown = sorted(set(names) - set(known) - set(BLOCKS))
    if unknown:
        raise InputError(
            f"Expected --hold with names from {', '.join(known)}; got "
            f"{', '.join(unknown)}."
        )
    content = {} if path is None else _read_priors(path)
    held = [n.replace("-", "_") for n in (*content.pop("hold", ()), *names)]
    if sampler is not None:
        content["sampler"] = sampler
    settings = SharedErrors(**content, hold=tuple(held))
    try:
        require_settings(settings)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return settings


def require_settings(settings: bool | SharedErrors) -> None:
    """Raise where a second interval can't be made with these settings.

    Raises:
        InputError: an unknown name, or priors that the network was not trained for.
    """
    # with the defaults, the network is not loaded without need
    if isinstance(settings, SharedErrors) and settings != SharedErrors():
        layout = make_layout(settings, SHARED_FACTORS)
        prior_ratio(load_shared_network(), settings, layout, SHARED_FACTORS)


def _read_priors(path: Path) -> dict:
    known = [field.name for field in fields(SharedErrors)]
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, object_pairs_hook=_each_once)
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(
            f"{path}: expected a JSON file with priors of shared errors; got {error}."
        ) from None
    if not isinstance(content, dict) or set(content) - set(known):
        is_object = isinstance(content, dict)
        got = sorted(set(content) - set(known)) if is_object else content
        raise InputError(
            f"{path}: expected a JSON object with keys of {known}; got {got}."
        )
    for name, value in content.items():
        expected = _EXPECTED.get(name, "a number")
        if not _is_allowed(name, value):
            raise InputError(f"{path}: expected {expected} for {name}; got {value!r}.")
    return content


def _each_once(pairs: Sequence[tuple[str, object]]) -> dict:
    """A JSON object; of a repeated key, JSON would take the last value silently."""
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{', '.join(repeated)} more than once")
    return dict(pairs)


_EACH = "a number [dex], or an object of name: number"
_EXPECTED = {
    "yields": f"{_EACH}, or null",
    "zero_points": _EACH,
    "scatter": _EACH,
    "outlier_share": f"a share from 0 to {LARGEST_SHARE}",
    "outlier_width": "a number above 0 [dex]",
    "hold": f"a list of names from {', '.join(BLOCKS)}",
    "sampler": " or ".join(SAMPLERS),
    "model_stars": "a number above 0, or null",
    "effective_draws": f"a whole number from 1 to {MOST_DRAWS}",
}
"""Field of `SharedErrors` -> its values in JSON, where it is not one number."""


def _is_allowed(name: str, value: object) -> bool:
    """Whether a value of the JSON file has the type that its field needs."""
    if name == "hold":
        return isinstance(value, list) and all(isinstance(n, str) for n in value)
    if name == "sampler":
        return value in SAMPLERS
    if name == "outlier_share":
        return _is_number(value) and 0.0 <= value <= LARGEST_SHARE
    if name == "outlier_width":
        return _is_number(value) and value > 0.0
    if name == "effective_draws":
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return is_whole and value in range(1, MOST_DRAWS + 1)
    if name == "model_stars":
        return value is None or (_is_number(value) and value > 0.0)
    if isinstance(value, dict) and name in _EXPECTED:
        return all(_is_number(scale) for scale in value.values())
    return _is_number(value) or (name == "yields" and value is None)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)
