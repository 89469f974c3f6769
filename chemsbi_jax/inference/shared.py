"""The second interval of `infer`: with errors that all stars share."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float, Key

from chemsbi_jax.emulator import emulate_yields, load_yield_emulator
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.checks import describe_fit
from chemsbi_jax.galaxy.hierarchical import (
    BLOCKS,
    HierarchicalPosterior,
    SharedErrors,
    hierarchical_posterior,
)
from chemsbi_jax.galaxy.hierarchical.star import FactorForward
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.inference.checks import Run
from chemsbi_jax.types import AnyArray, GalaxyPosterior, Stars

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NO_NETWORK = (
    "The interval with shared errors was not made: there is no network of yield "
    "factors for these yields. The interval takes the yields as exactly known."
)
TOO_FEW = 5  # stars; the population of fewer is its prior


class SharedAnswer(NamedTuple):
    """The second interval, or why there is none."""

    shared_errors: HierarchicalPosterior | None
    shared_note: str  # a sentence about it; empty: nothing to say


def infer_shared(
    key: Key[Array, ""], run: Run, stars: Stars, settings: SharedErrors
) -> SharedAnswer:
    """Posterior with priors on yields, zero points, population, scatter and outliers.

    Args:
        key: determines the subset and the draws.
        run: networks, numbers of stars, and the clock.
        stars: those that the model explains.
        settings: prior scales, and blocks that are held.
    """
    networks, limits, watch = run
    forward = factor_forward(networks)
    if forward is None:
        return SharedAnswer(None, NO_NETWORK)
    n_stars = len(stars.values)
    if n_stars < TOO_FEW:
        return SharedAnswer(
            None,
            f"The interval with shared errors was not made: it needs {TOO_FEW} stars; "
            f"got {n_stars}. The interval takes the yields as exactly known.",
        )
    key_subset, key_draws = jax.random.split(key)
    if n_stars > limits.n_shared:
        rows = jax.random.choice(key_subset, n_stars, (limits.n_shared,), replace=False)
        stars = stars.take(np.sort(np.asarray(rows)))
    prior = networks.npe.prior
    found = hierarchical_posterior(
        key_draws, forward, prior, stars, settings, quiet=watch.quiet
    )
    note = "" if found.is_converged else found.why_not()
    if not note and n_stars > limits.n_shared:
        note = (
            f"The interval with shared errors is from {limits.n_shared} random stars "
            f"of {n_stars}; its width is that of the shared errors rather than of the "
            "number of stars."
        )
    return SharedAnswer(found, note)


def factor_forward(networks: Networks) -> FactorForward | None:
    """The shipped emulator with yield factors, if it has the same yields."""
    emulator = load_yield_emulator()
    own = getattr(networks.forward, "keywords", {}).get("emulator")
    same_type = jax.tree.structure(own) == jax.tree.structure(emulator.base)
    if not same_type or not jax.tree.all(jax.tree.map(_is_equal, own, emulator.base)):
        return None
    return Partial(emulate_yields, emulator=emulator)


def _is_equal(a: Array, b: Array) -> bool:
    return jnp.shape(a) == jnp.shape(b) and bool(np.array_equal(a, b))


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


def read_settings(hold: str, path: Path | None) -> SharedErrors:
    """Prior scales from flags: blocks to hold, and a JSON file of `SharedErrors`.

    Args:
        hold: names of blocks with commas between them, as yields,zero-points.
        path: a JSON object with fields of `SharedErrors`, as
            {"yields": {"sn2_fe": 0.1}, "scatter": 0.02}; None for the defaults.

    Raises:
        InputError: the file or a name in it can't be read.
    """
    names = tuple(n.strip().replace("-", "_") for n in hold.split(",") if n.strip())
    unknown = sorted(set(names) - set(BLOCKS))
    if unknown:
        raise InputError(f"Expected --hold with names of {BLOCKS}; got {unknown}.")
    content = {} if path is None else _read_priors(path)
    held = tuple(content.pop("hold", ())) + names
    return SharedErrors(**content, hold=held)


def _read_priors(path: Path) -> dict:
    known = [field.name for field in fields(SharedErrors)]
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: expected a JSON file with priors of shared errors; got {error}."
        ) from None
    if not isinstance(content, dict) or set(content) - set(known):
        got = (
            sorted(set(content) - set(known)) if isinstance(content, dict) else content
        )
        raise InputError(
            f"{path}: expected a JSON object with keys of {known}; got {got}."
        )
    for name, value in content.items():
        scales = list(value.values()) if isinstance(value, dict) else [value]
        is_number = all(isinstance(s, int | float) and s >= 0.0 for s in scales)
        if name != "hold" and value is not None and not is_number:
            raise InputError(
                f"{path}: expected scales from 0 for {name} (a number, or name -> "
                f"number); got {value!r}."
            )
    return content
