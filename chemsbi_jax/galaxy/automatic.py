"""The method "auto": exact where it can run, its fallback, subsets of large tables."""

from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax.compute.devices import leave_processes
from chemsbi_jax.compute.quick import split_keys
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.amortised.flow import is_far
from chemsbi_jax.galaxy.amortised.stream import stream_galaxy
from chemsbi_jax.galaxy.amortised.table import StarTable
from chemsbi_jax.galaxy.infer import (
    infer_exact,
    infer_galaxy,
    infer_of_any_width,
    infer_table,
    prefixes_of_table,
    prepare,
)
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.galaxy.rows import host_generator, random_rows
from chemsbi_jax.options import Limits
from chemsbi_jax.types import AMORTISED, GalaxyPosterior, Method, Stars

COMPARED: dict[str, Method] = {
    "flow": "gaussian",
    "gaussian": "flow",
    "exact": "flow",
    "robust": "exact",
}
"""Method of the result -> the method that it is compared with."""


class Subset(NamedTuple):
    """Random stars of a large table, for the checks and figures."""

    n_stars: int  # of the subset
    of: int  # of the table
    text: str  # the same as a sentence


class Answer(NamedTuple):
    """The posterior of all stars by the chosen method."""

    posterior: GalaxyPosterior
    subset: Subset | None = None  # None: the checks use all stars
    no_exact: str = ""  # why the exact method could not run; "" if it did
    flow: GalaxyPosterior | None = None  # first estimate of the exact method
    table: StarTable | None = None  # the stars as the flow had them


class Beside(NamedTuple):
    """A further posterior of some of the stars."""

    posterior: GalaxyPosterior
    n_stars: int


def first_answer(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    method: Method | None,
    limits: Limits,
    *,
    checkpoint: Path | None = None,
    quiet: bool = True,
) -> Answer | None:
    """The posterior by one method.

    Args:
        key: determines the draws.
        networks: posterior network and forward model.
        stars: all stars.
        method: None chooses: exact for up to `limits.max_exact` stars, or the flow if
            exact fails; the flow for more.
        limits: numbers of stars at which methods change.
        checkpoint: file that keeps the sums of a large table, see `stream_galaxy`.
        quiet: no progress bars.

    Returns:
        None in a further process (`devices.join_processes`) that is not needed.
    """
    rest = {"checkpoint": checkpoint, "quiet": quiet}
    if method == "exact" and len(stars.values) <= limits.stream_from:
        key_flow, key_exact = jax.random.split(key)
        flow, table = first_estimate(key_flow, networks, stars)
        start = None if is_far(flow.checks["prior_widths"]) else flow
        npe, forward = networks
        exact = infer_exact(key_exact, npe, stars, forward, quiet=quiet, start=start)
        return Answer(exact, flow=flow, table=table)
    if method is not None:
        return infer_all(key, networks, stars, method, limits, **rest)
    if len(stars.values) > limits.max_exact:
        return infer_all(key, networks, stars, "flow", limits, **rest)
    is_worker = jax.process_index() > 0
    leave_processes()  # process 0 alone is fast enough for so few stars
    if is_worker:
        return None
    key_flow, key_exact = jax.random.split(key)
    flow, table = first_estimate(key_flow, networks, stars)
    exact, why = try_exact(key_exact, networks, stars, quiet, flow)
    if exact is not None:
        return Answer(exact, flow=flow, table=table)
    why = f"The exact method failed; this is the result of the method flow. {why}"
    return Answer(flow, no_exact=why, table=table)


def first_estimate(
    key: Key[Array, ""], networks: Networks, stars: Stars
) -> tuple[GalaxyPosterior, StarTable]:
    """The flow's answer, with the table for further products of the same stars."""
    key_table, key_flow = jax.random.split(key)
    npe, forward = networks
    table = prepare(key_table, npe, stars)
    return infer_table(key_flow, npe, table, forward=forward), table


def infer_all(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    method: Method,
    limits: Limits,
    *,
    checkpoint: Path | None = None,
    quiet: bool = True,
) -> Answer:
    """The posterior of all stars by a named method; arguments as `first_answer`.

    A repeated call on a large table resumes at the checkpoint of an interrupted one.
    """
    npe, forward = networks
    n_all = len(stars.values)
    is_large = n_all > limits.stream_from
    if method in AMORTISED and (is_large or jax.process_count() > 1):
        posterior = stream_galaxy(
            key, npe, stars, method, forward=forward, checkpoint=checkpoint, quiet=quiet
        )
        leave_processes()
    else:
        posterior = infer_of_any_width(
            key, npe, stars, method, forward=forward, quiet=quiet
        )
    if not is_large:
        return Answer(posterior)
    n = _n_checked(method, limits)
    text = f"{n} of {n_all} stars, drawn at random, for checks, figures, posterior.nc"
    return Answer(posterior, Subset(n, n_all, text))


def infer_subset(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    answer: Answer,
    limits: Limits,
    quiet: bool = True,
) -> tuple[Stars, GalaxyPosterior]:
    """Stars for the checks and their posterior: all of them if the table is small."""
    if answer.subset is None:
        return stars, answer.posterior
    key_rows, key_infer = jax.random.split(key)
    method = answer.posterior.method
    some = some_stars(key_rows, stars, _n_checked(method, limits))
    npe, forward = networks
    return some, infer_of_any_width(
        key_infer, npe, some, method, forward=forward, quiet=quiet
    )


def _n_checked(method: str, limits: Limits) -> int:
    return limits.n_checked if method in AMORTISED else limits.n_exact


def some_stars(key: Key[Array, ""], stars: Stars, n: int) -> Stars:
    """At most `n` random rows of a table, in its order."""
    n_all = len(stars.values)
    if n_all <= n:
        return stars
    return stars.take(random_rows(key, n_all, n))


def try_exact(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    quiet: bool = True,
    flow: GalaxyPosterior | None = None,
) -> tuple[GalaxyPosterior | None, str]:
    """(exact posterior, "") on success, (None, reason) on failure.

    It starts at the flow's answer, unless that is outside the training range.
    """
    npe, forward = networks
    is_lost = flow is None or is_far(flow.checks["prior_widths"])
    start = None if is_lost else flow
    try:
        exact = infer_exact(key, npe, stars, forward, quiet=quiet, start=start)
    except (InputError, np.linalg.LinAlgError) as error:
        return None, str(error)
    if not exact.checks["at_rest"]:
        return None, "The exact method did not converge."
    return exact, ""


def exact_beside(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    limits: Limits,
    quiet: bool = True,
) -> tuple[dict | None, str]:
    """The exact interval of some stars beside the flow's answer for all of them.

    Returns:
        (interval with "n_stars", "") on success, (None, reason) on failure.
    """
    key_rows, key_exact = jax.random.split(key)
    some = some_stars(key_rows, stars, limits.n_exact)
    exact, why = try_exact(key_exact, networks, some, quiet)
    n = len(some.values)
    if exact is None:
        return None, f"The exact method failed for {n} of the stars. {why}"
    return exact.interval() | {"n_stars": n}, ""


def robust_beside(
    key: Key[Array, ""], networks: Networks, stars: Stars, limits: Limits
) -> Beside | None:
    """The robust posterior of some stars; None if the model reproduces none of them."""
    key_rows, key_robust = jax.random.split(key)
    some = some_stars(key_rows, stars, limits.n_robust)
    npe, forward = networks
    try:
        robust = infer_galaxy(key_robust, npe, some, "robust", forward=forward)
    # the first warning of the result names the cause
    except (InputError, np.linalg.LinAlgError):
        return None
    return Beside(robust, len(some.values))


def describe_robust(robust: Beside) -> dict:
    """The robust interval and its model errors, as summary.json has them."""
    errors = robust.posterior.checks["model_error_dex"]
    sizes = {"n_stars": robust.n_stars, "model_error_dex": errors}
    return robust.posterior.interval() | sizes


def method_shift(
    galaxy: GalaxyPosterior, part: GalaxyPosterior, other: GalaxyPosterior
) -> list[float]:
    """Difference of two methods for the same subset, in sigma of the result for all.

    Both methods see the same stars, so most of the difference is no noise: it stays for
    any number of stars, while the interval of all stars narrows.
    """
    return ((np.asarray(other.mean) - np.asarray(part.mean)) / galaxy.sd).tolist()


def prefixes(
    key: Key[Array, ""],
    networks: Networks,
    stars: Stars,
    table: StarTable,
    galaxy: GalaxyPosterior,
    subset: Subset | None,
    limits: Limits,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of stars, means and widths of prefixes; the last entry is the result.

    Stars come in a random order: a table may be sorted. Large tables: a random subset.

    Args:
        key: determines the draws and the order.
        networks: posterior network and forward model.
        stars: the stars of the table.
        table: the same stars, prepared.
        galaxy: the result.
        subset: the stars of the checks of a large table, or None.
        limits: numbers of stars.
    """
    method = galaxy.method if galaxy.method in AMORTISED else "flow"
    key_rows, key_order, key_table, key_infer = split_keys(key, 4)
    npe, forward = networks
    if subset is None:
        table = table.in_order(host_generator(key_order).permutation(table.n_stars))
        n, means, sds = prefixes_of_table(key_infer, npe, table, method, forward)
        means[-1], sds[-1] = galaxy.mean, galaxy.sd
        return n, means, sds
    part = some_stars(key_rows, stars, limits.n_prefixes)
    part = part.take(host_generator(key_order).permutation(len(part.values)))
    table = prepare(key_table, npe, part)
    n, means, sds = prefixes_of_table(key_infer, npe, table, method, forward)
    means, sds = np.vstack([means, galaxy.mean]), np.vstack([sds, galaxy.sd])
    return np.append(n, subset.of), means, sds
