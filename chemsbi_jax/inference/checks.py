"""All checks of a result: run them, and their content for summary.json."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax.compute.quick import split_keys
from chemsbi_jax.diagnostics.misfit import Misfit, not_tested
from chemsbi_jax.galaxy.agreement import Agreement, compare
from chemsbi_jax.galaxy.amortised.flow import is_far
from chemsbi_jax.galaxy.amortised.table import StarTable
from chemsbi_jax.galaxy.automatic import (
    COMPARED,
    Answer,
    Beside,
    Subset,
    describe_robust,
    exact_beside,
    infer_subset,
    method_shift,
    robust_beside,
)
from chemsbi_jax.galaxy.checks import (
    Halves,
    LeaveOut,
    ModelFit,
    StarDraws,
    compare_halves,
    describe_fit,
    leave_out,
    sample_and_check,
)
from chemsbi_jax.galaxy.infer import infer_of_any_width, prepare
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.npe.reading import count_widened
from chemsbi_jax.options import Limits
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.storage.files import plain
from chemsbi_jax.types import GalaxyPosterior, Stars

NO_INFORMATION = (
    "The methods and the halves of the table were not compared: every star has too "
    "little information for the network, such as one abundance alone, or errors above "
    "0.3 dex."
)
MAX_LEFT_OUT = 0.25  # share of unexplained stars, above which the table is at fault


class Checks(NamedTuple):
    """All checks of a result; a field that is None was not needed or not possible."""

    method: Mapping  # numbers of the method itself, `GalaxyPosterior.checks`
    model_fit: ModelFit
    methods_agree: Agreement | None
    halves: Halves | None
    is_prior: bool  # no star had enough information
    left_out: list[str] | None = None  # ids of the stars that no parameters explain
    left_out_share: float | None = None  # of all stars, where it is above MAX_LEFT_OUT
    leave_out: LeaveOut | None = None
    subset: Subset | None = None
    no_exact: str | None = None  # why the exact method failed
    exact_subset: Mapping | None = None  # exact interval of some stars of a large table
    robust: Mapping | None = None  # interval with model errors, of some stars
    methods_differ_sigma_of_all: list[float] | None = None  # on the subset
    not_compared: str | None = None  # which comparisons failed, and why

    def as_dict(self) -> dict:
        """The block "checks" of summary.json: plain numbers, strings and lists."""
        fields = self._asdict()
        content = dict(fields.pop("method"))
        # "halves" stays as null, the other fields only exist if there is content
        content |= {k: v for k, v in fields.items() if v is not None or k == "halves"}
        return plain(content)


class Keys(NamedTuple):
    """Random keys of all steps of an inference."""

    answer: Key[Array, ""]
    subset: Key[Array, ""]
    fit: Key[Array, ""]
    exact: Key[Array, ""]
    robust: Key[Array, ""]
    other: Key[Array, ""]
    table: Key[Array, ""]
    halves: Key[Array, ""]
    leave_out: Key[Array, ""]
    figures: Key[Array, ""]
    shared: Key[Array, ""]


def split_key(key: Key[Array, ""]) -> Keys:
    """One key for each step."""
    return Keys(*split_keys(key, len(Keys._fields)))


class Run(NamedTuple):
    """What all steps of an inference share."""

    networks: Networks
    limits: Limits
    watch: Stopwatch  # times the stages; its `quiet` silences the progress bars


class Checked(NamedTuple):
    """The checks and what they were made with."""

    checks: Checks
    others: dict[str, GalaxyPosterior]  # label -> further posteriors
    stars: Stars  # of the checks
    draws: StarDraws  # of these stars
    table: StarTable | None  # for the amortised methods; None: they were not used


class Around(NamedTuple):
    """What decides which further methods run beside a result."""

    is_default: bool
    """Whether "auto" chose the method; then the exact method runs beside the flow's
    answer where that may be wrong."""
    has_second: Callable[[], bool]
    """Whether there is a second interval, which has a model error of each abundance,
    too: then the method robust does not run after an alarm."""


def run_checks(
    keys: Keys, run: Run, stars: Stars, answer: Answer, around: Around
) -> Checked:
    """Compare the result with the model, with another method, and with its halves.

    Args:
        keys: random keys.
        run: networks, numbers of stars of the subsets, and the clock.
        stars: all stars of the table.
        answer: the result.
        around: what else the inference has.
    """
    (networks, limits, watch), galaxy, quiet = run, answer.posterior, run.watch.quiet
    with watch("checks"):
        some, left_out = without_left_out(stars, galaxy)
        some, part = infer_subset(keys.subset, networks, some, answer, limits, quiet)
        n_draws, is_prior = limits.n_star_draws, count_used(stars, galaxy) == 0
        draws, misfit = sample_and_check(keys.fit, networks, some, galaxy, n_draws)
    misfit, share = not_tested() if is_prior else misfit, large_share(left_out, stars)
    is_large = around.is_default and len(stars.values) > limits.max_exact
    answer, exact = _exact_beside(keys.exact, run, some, answer, misfit, is_large)
    explained = misfit if share is None else None
    with watch("other method"):
        is_same = len(some.values) == len(stars.values) and answer.subset is None
        known = answer if is_same else Answer(galaxy)
        other = known.flow or _other_method(keys.other, run, some, galaxy.method)
    with watch("other checks"):
        table = known.table or prepare(keys.table, networks.npe, some)
        same = _consistency(keys, run, some, table, part, other, explained)
    # at the end: it waits for the second interval
    robust = _robust_beside(keys.robust, run, some, galaxy, explained, around)
    checks = Checks(
        method=galaxy.checks,
        model_fit=describe_fit(misfit),
        left_out=left_out,
        left_out_share=share,
        subset=answer.subset,
        no_exact=answer.no_exact or None,
        exact_subset=exact,
        robust=robust and describe_robust(robust),
        is_prior=is_prior,
        methods_differ_sigma_of_all=answer.subset and method_shift(galaxy, part, other),
        **same,
    )
    return Checked(
        checks, name_others(other, robust, answer.subset), some, draws, table
    )


def count_used(stars: Stars, galaxy: GalaxyPosterior) -> int:
    """Stars that the posterior used."""
    n_left_out = len(galaxy.checks.get("left_out", []))
    return len(stars.values) - n_left_out - galaxy.checks.get("weak_stars", 0)


def without_left_out(
    stars: Stars, galaxy: GalaxyPosterior
) -> tuple[Stars, list[str] | None]:
    """Stars that some parameters explain, and the ids of the others."""
    rows = galaxy.checks.get("left_out")
    if not rows:
        return stars, None if rows is None else []
    is_used = np.ones(len(stars.values), bool)
    is_used[rows] = False
    return stars.take(is_used), [str(name) for name in stars.ids[rows]]


def large_share(left_out: list[str] | None, stars: Stars) -> float | None:
    """Share of the stars that no parameters explain, if it is above `MAX_LEFT_OUT`.

    Then the columns or the errors of the table are wrong, and further intervals of the
    few other stars would take minutes and say nothing.
    """
    share = len(left_out or []) / len(stars.values)
    return share if share > MAX_LEFT_OUT else None


def name_others(
    other: GalaxyPosterior, robust: Beside | None, subset: Subset | None
) -> dict[str, GalaxyPosterior]:
    """Label of each further posterior, with its number of stars if it has only some."""
    n = f", {subset.n_stars} stars" if subset else ""
    others = {f"{other.method}{n}": other}
    if robust is not None:
        others[f"robust, {robust.n_stars} stars"] = robust.posterior
    return others


def _exact_beside(
    key: Key[Array, ""],
    run: Run,
    stars: Stars,
    answer: Answer,
    misfit: Misfit,
    is_wanted: bool,
) -> tuple[Answer, dict | None]:
    """The exact interval of some stars where the flow's answer may be wrong."""
    is_far_out = is_far(answer.posterior.checks["prior_widths"])
    if not (is_wanted and (misfit.is_flagged or is_far_out)):
        return answer, None
    why = "the result is far from the prior" if is_far_out else "the model does not fit"
    networks, limits, watch = run
    with watch(f"exact for some stars, as {why}"):
        exact, reason = exact_beside(key, networks, stars, limits, watch.quiet)
    return answer._replace(no_exact=reason), exact


def _robust_beside(
    key: Key[Array, ""],
    run: Run,
    stars: Stars,
    galaxy: GalaxyPosterior,
    misfit: Misfit | None,
    around: Around,
) -> Beside | None:
    """The robust posterior of some stars where the model does not fit."""
    is_wanted = run.limits.n_robust > 0 and galaxy.method != "robust"
    if misfit is None or not misfit.is_flagged or not is_wanted:
        return None
    if around.has_second():
        return None
    with run.watch("robust, as the model does not fit"):
        return robust_beside(key, run.networks, stars, run.limits)


def _other_method(
    key: Key[Array, ""], run: Run, stars: Stars, method: str
) -> GalaxyPosterior:
    npe, forward = run.networks
    quiet, other = run.watch.quiet, COMPARED[method]
    return infer_of_any_width(key, npe, stars, other, forward=forward, quiet=quiet)


def _consistency(
    keys: Keys,
    run: Run,
    stars: Stars,
    table: StarTable,
    part: GalaxyPosterior,
    other: GalaxyPosterior,
    misfit: Misfit | None,
) -> dict:
    """Checks of a result against itself: fields of `Checks`."""
    culprits = None
    halves = compare_halves(keys.halves, run.networks, table)
    if misfit is not None and part.method == "exact" and misfit.is_flagged:
        culprits = leave_out(
            keys.leave_out, run.networks, stars, run.limits.n_leave_out
        )
    if other.checks.get("weak_stars", 0) == len(stars.values):  # `other` is the prior
        found = {"methods_agree": None, "not_compared": NO_INFORMATION}
    else:
        n_widened = count_widened(run.networks.npe.reader, stars)
        found = {"methods_agree": compare(part, other, n_widened)}
    return {**found, "halves": halves, "leave_out": culprits}
