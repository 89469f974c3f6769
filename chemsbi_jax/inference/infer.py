"""`infer`: stars in, posterior with checks and warnings out."""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Literal

import jax
from jaxtyping import Array, Key

from chemsbi_jax.catalog import Catalog
from chemsbi_jax.galaxy.any_yields import ForwardName
from chemsbi_jax.galaxy.automatic import Answer, first_answer
from chemsbi_jax.galaxy.hierarchical import SharedErrors
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.galaxy.width import require_width
from chemsbi_jax.inference.call import python_call
from chemsbi_jax.inference.checks import (
    Around,
    Checked,
    Keys,
    Run,
    count_used,
    run_checks,
    split_key,
    without_left_out,
)
from chemsbi_jax.inference.guided import (
    YieldChoice,
    answer_guided,
    check_guided,
)
from chemsbi_jax.inference.problem import (
    Problem,
    describe,
    prepare,
    prepare_model,
    read_input,
    require_known,
    require_seed,
)
from chemsbi_jax.inference.result import Inference
from chemsbi_jax.inference.second import Pending, second_interval
from chemsbi_jax.inference.shared import require_settings
from chemsbi_jax.options import CatalogOptions, Limits
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.types import Method, Stars


def infer(
    stars: Stars | Catalog | str | os.PathLike,
    *,
    method: Literal["auto"] | Method = "auto",
    weights: str | os.PathLike = "auto",
    networks: Networks | None = None,
    yields: str | os.PathLike | None = None,
    forward: ForwardName = "emulator",
    seed: int = 0,
    key: Key[Array, ""] | None = None,
    limits: Limits = Limits(),
    shared_errors: bool | SharedErrors = True,
    options: CatalogOptions = CatalogOptions(),
    path: Path | None = None,
    checkpoint: Path | None = None,
    quiet: bool = False,
    watch: Stopwatch | None = None,
    meanwhile: Callable[[Inference], object] | None = None,
) -> Inference:
    """Posterior of (alpha_imf, log10_n_ia), with all checks and warnings.

    Args:
        stars: stars, a catalogue, or the path of a table (`read_catalog`); "example"
            is the shipped mock galaxy.
        method: "auto" takes "exact" for up to 5000 stars and "flow" for more; see
            `infer_galaxy` for the others.
        weights: networks "tng-any", "tng", "tng-legacy", "nkt13-k10-w7" or a folder;
            "auto" takes "tng" if all stars have eight abundances, errors of 0.05 dex
            and no birth times, else "tng-any".
        networks: networks that are loaded already, in place of `weights`.
        yields: yield set of the model, as for `load_yields`, in place of `weights`: by
            the method "exact" on an emulator of the set, which is trained when it is
            first needed; or with the shipped networks of the set, if these have the
            abundances of the stars. None: that of the weights.
        forward: with `yields`, "simulator" takes the simulator itself: no training,
            but slow for more than a few stars.
        seed: determines all random numbers.
        key: the same as a random key, in place of `seed`.
        limits: numbers of stars at which methods change.
        shared_errors: make a second interval, with priors on the yields, the zero
            points and the population, which all stars share. A `SharedErrors` sets
            their scales; False leaves the interval out. Where the stars are unlike
            those of galaxies of this model, or the yields have no network of yield
            factors, the result states so in place of an interval.
        options: how a path is read, such as `CatalogOptions(default_error=0.07)` for a
            table without errors [dex].
        path: file of the stars where `stars` is no path, for provenance and messages.
        checkpoint: file that keeps the progress on a large table; not deleted here.
        quiet: no progress bars, and no stage names on stderr.
        watch: a running `Stopwatch`, whose stages join `Inference.seconds`.
        meanwhile: called once with the result without its second interval, if a thread
            is still computing that; for work that needs only the first interval.

    Raises:
        InputError: the table or the networks can't be used, or the posterior is
            narrower than the errors of the stars allow; names the remedy.
        RuntimeError: called in a further process of several.
    """
    call = python_call(infer, locals())
    watch = Stopwatch(quiet) if watch is None else watch
    require_known(method)  # before anything long
    require_seed(seed)
    require_settings(shared_errors)
    with watch("read"):
        stars, path = read_input(stars, path, options, (yields, weights))
    choice = YieldChoice(yields, forward, method, limits)
    problem = prepare_model(stars, (weights, networks), path, choice, watch)
    is_seeded = key is None  # key reuse: no random numbers
    keys = split_key(jax.random.key(seed) if is_seeded else key)
    run = Run(problem.networks, limits, watch)
    by = method, checkpoint
    answer, second, checked = _answer_and_check(keys, problem, run, by, shared_errors)
    about = describe(problem, seed if is_seeded else None)
    first = _first(answer, checked, problem, run, about, keys.figures)
    first = replace(first, call=call)
    if meanwhile is not None and second.is_running():
        meanwhile(first)
    return replace(first, **second.take()._asdict())


def _first(
    answer: Answer,
    checked: Checked,
    problem: Problem,
    run: Run,
    about: Mapping,
    key: Key[Array, ""],
) -> Inference:
    """The result without its second interval."""
    return Inference(
        posterior=answer.posterior,
        **checked._asdict(),
        networks=problem.networks,
        n_stars=len(problem.stars.values),
        n_used=count_used(problem.stars, answer.posterior),
        report=problem.report,
        provenance=about,
        limits=run.limits,
        key=key,
        watch=run.watch,
    )


def infer_as_worker(
    stars: Stars | Catalog,
    *,
    method: Literal["auto"] | Method = "auto",
    weights: str | os.PathLike = "auto",
    seed: int = 0,
    limits: Limits = Limits(),
    path: Path | None = None,
    quiet: bool = False,
) -> None:
    """Share of a further process (`devices.join_processes`) in the call of process 0.

    All processes need the same arguments.
    """
    problem = prepare(stars, weights, None, path)
    watch, keys = Stopwatch(quiet), split_key(jax.random.key(seed))
    _answer(keys, problem, method, limits, None, watch)


def _answer_and_check(
    keys: Keys,
    problem: Problem,
    run: Run,
    by: tuple[Literal["auto"] | Method, Path | None],
    wanted: bool | SharedErrors,
) -> tuple[Answer, Pending, Checked]:
    (method, checkpoint), stars = by, problem.stars
    is_small = len(stars.values) <= run.limits.max_exact  # the flow may exclude stars
    early = is_small and not problem.is_guided
    second = second_interval(keys.shared, run, stars, wanted, early=early)
    if problem.is_guided:
        with run.watch("inference"):
            found = answer_guided(keys.answer, run, stars, method)
        _require_width(found.answer, problem)
        shared = second.of(without_left_out(stars, found.answer.posterior)[0]).take()
        made = Pending(lambda: shared, lambda: False)
        return found.answer, made, check_guided(keys, run, stars, found)
    answer = _answer(keys, problem, method, run.limits, checkpoint, run.watch)
    if answer is None:
        raise RuntimeError("Only process 0 may call `infer`; use `infer_as_worker`.")
    _require_width(answer, problem)
    used, _ = without_left_out(stars, answer.posterior)
    second = second.of(used)
    shared = cache(second.take)
    if not second.is_begun:
        shared()
    around = Around(method == "auto", lambda: shared().is_interval)
    checked = run_checks(keys, run, stars, answer, around)
    return answer, Pending(shared, lambda: second.is_running), checked


def _require_width(answer: Answer, problem: Problem) -> None:
    """Refuse a width that the stars can't give, before anything is written."""
    prior, table = problem.networks.npe.prior, str(problem.path or "stars")
    require_width(answer.posterior, prior, problem.stars, table, answer.no_exact)


def _answer(
    keys: Keys,
    problem: Problem,
    method: Literal["auto"] | Method,
    limits: Limits,
    checkpoint: Path | None,
    watch: Stopwatch,
) -> Answer | None:
    with watch("inference"):
        return first_answer(
            keys.answer,
            problem.networks,
            problem.stars,
            None if method == "auto" else method,
            limits,
            checkpoint=checkpoint,
            quiet=watch.quiet,
        )
