"""`infer` with any yield set: the exact method alone, with a network as a guide."""

import os
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key

from chemsbi_jax import priors
from chemsbi_jax.catalog import Catalog
from chemsbi_jax.errors import InputError
from chemsbi_jax.galaxy.agreement import compare
from chemsbi_jax.galaxy.any_yields import (
    ForwardName,
    YieldModel,
    abundances_of,
    is_shipped,
    measured_in,
    model_of_yields,
    needed_elements,
    require_abundances,
)
from chemsbi_jax.galaxy.automatic import (
    Answer,
    Beside,
    describe_robust,
    robust_beside,
)
from chemsbi_jax.galaxy.checks import (
    N_CHECK_DRAWS,
    N_FIRST_DRAWS,
    Halves,
    StarDraws,
    describe_fit,
    leave_out,
)
from chemsbi_jax.galaxy.exact.star_draws import N_STAR_DRAWS, draw_other_stars
from chemsbi_jax.galaxy.guided import (
    Guided,
    check_guided_fit,
    guided_halves,
    infer_guided,
    joint_draws,
)
from chemsbi_jax.galaxy.infer import infer_galaxy
from chemsbi_jax.galaxy.networks import Networks
from chemsbi_jax.galaxy.shipped_sets import shipped_emulator
from chemsbi_jax.inference.checks import (
    Checked,
    Checks,
    Keys,
    Run,
    count_used,
    large_share,
    name_others,
    without_left_out,
)
from chemsbi_jax.options import Limits
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.types import AMORTISED, GalaxyPosterior, Method, Stars
from chemsbi_jax.yields import load_yields

N_PRIOR_DRAWS = 2000
NO_REPETITION = (
    "A repetition of the method exact with other draws found no posterior, so that the "
    "two were not compared. Repeat the run with another seed."
)
NO_HALF = (
    "The even or the odd rows of the table have no posterior by themselves, so that "
    "the halves were not compared: the stars are few, or the model does not fit them."
)


class GuidedAnswer(NamedTuple):
    """The answer of the chosen method, and that of `exact`."""

    answer: Answer
    guided: Guided


class YieldChoice(NamedTuple):
    """The arguments of `infer` that matter with yields."""

    yields: str | os.PathLike | None  # None: those of the weights
    forward: ForwardName
    method: Literal["auto"] | Method
    limits: Limits


def guided_model(
    choice: YieldChoice,
    stars: Stars | Catalog,
    has_weights: bool,
    watch: Stopwatch,
) -> YieldModel | None:
    """The model of the yields; None where the shipped networks are of these yields.

    Args:
        choice: yields, forward model, method and limits that the user gave.
        stars: the stars, which are not changed.
        has_weights: weights or networks are given, too.
        watch: times a training.

    Raises:
        InputError: the arguments contradict each other, the method needs a network of
            these yields, there are too many stars, or the set lacks an abundance.
    """
    yields, forward, method, limits = choice
    if yields is None:
        if forward != "emulator":
            raise InputError(
                "Expected --yields (in Python the argument yields), such as tng, with "
                f"forward {forward!r}; got none."
            )
        return None
    if has_weights:
        raise InputError(
            "Expected --yields or --weights (in Python yields, or weights or "
            f"networks); got both (yields {yields}). Remove one of them."
        )
    if is_shipped(yields, forward):
        return None
    stars = stars.stars if isinstance(stars, Catalog) else stars
    measured, n_stars = measured_in(stars), len(stars.values)
    if forward == "simulator" or not _has_network(yields, measured):
        require_method(method, str(yields), n_stars, limits.stream_from)
    require_abundances(stars, str(yields), abundances_of(yields))
    with watch("emulator of the yields"):
        return model_of_yields(yields, forward, measured=measured, quiet=watch.quiet)


def _has_network(yields: str | os.PathLike, measured: tuple[str, ...]) -> bool:
    """Whether a posterior network of the set, for these abundances, is shipped."""
    needed = needed_elements(load_yields(yields), measured)
    return shipped_emulator(yields, needed) is not None


def require_method(
    method: Literal["auto"] | Method, yields: str, n_stars: int, most: int
) -> None:
    """Refuse methods that need a network trained with these yields.

    Raises:
        InputError: the method is amortised, or the table has more than `most` stars.
    """
    if method in AMORTISED:
        raise InputError(
            f"Expected method auto, exact or robust with the yields {yields}, for "
            f"which no posterior network is trained; got {method}. Leave --method out, "
            "or train networks (docs/developing.md) and name them with --weights."
        )
    if n_stars > most:
        raise InputError(
            f"Expected at most {most} stars with the yields {yields}, as the exact "
            f"method takes every star; got {n_stars}. Use a random part of the table."
        )


def answer_guided(
    key: Key[Array, ""], run: Run, stars: Stars, method: Literal["auto"] | Method
) -> GuidedAnswer:
    """The posterior by `exact`, and by `robust` if that method was chosen."""
    key_exact, key_robust = jax.random.split(key)
    networks, _, watch = run
    guided = infer_guided(key_exact, networks, stars, quiet=watch.quiet)
    if method != "robust":
        return GuidedAnswer(Answer(guided.posterior), guided)
    npe, forward = networks
    robust = infer_galaxy(key_robust, npe, stars, "robust", forward=forward)
    return GuidedAnswer(Answer(robust), guided)


def check_guided(keys: Keys, run: Run, stars: Stars, found: GuidedAnswer) -> Checked:
    """All checks of the answer, none of which uses the flow's densities.

    Args:
        keys: random keys.
        run: networks, numbers of stars and the clock.
        stars: all stars of the table.
        found: the answer.
    """
    (networks, limits, watch), galaxy = run, found.answer.posterior
    some, left_out = without_left_out(stars, found.guided.posterior)
    with watch("checks"):
        draws, misfit = _draw_and_check(keys, run, some, found.guided)
    robust, share = None, large_share(left_out, stars)
    is_flagged = misfit.is_flagged and share is None
    if is_flagged and galaxy.method != "robust":
        with watch("robust, as the model does not fit"):
            robust = robust_beside(keys.robust, networks, some, limits)
    with watch("other checks"):
        other, halves, failed = _comparisons(keys, networks, (stars, some), found)
        culprits = None
        if galaxy.method == "exact" and is_flagged:
            culprits = leave_out(keys.leave_out, networks, some, limits.n_leave_out)
    agree = None if other is None else compare(galaxy, other)
    label = "exact, other draws" if galaxy.method == "exact" else "exact"
    checks = Checks(
        method=galaxy.checks,
        model_fit=describe_fit(misfit),
        methods_agree=agree and agree._replace(other=label),
        halves=halves,
        is_prior=count_used(stars, galaxy) == 0,
        left_out=left_out,
        left_out_share=share,
        leave_out=culprits,
        robust=robust and describe_robust(robust),
        not_compared=" ".join(failed) or None,
    )
    others = _named(other, label, robust)
    return Checked(checks, others, some, draws, None)


def _comparisons(
    keys: Keys, networks: Networks, stars: tuple[Stars, Stars], found: GuidedAnswer
) -> tuple[GalaxyPosterior | None, Halves | None, list[str]]:
    """The second posterior, the comparison of the halves, and why one failed.

    Args:
        keys: random keys.
        networks: guide and forward model.
        stars: all of the table, and those that the posterior used.
        found: the answer, which stays if a comparison has no posterior.
    """
    other, halves, failed = found.guided.posterior, None, []
    if found.answer.posterior.method != "robust":  # else "exact" is the other method
        try:  # independent draws from the same first guess
            other = infer_guided(keys.other, networks, stars[0]).posterior
        except InputError:
            other = None
            failed.append(NO_REPETITION)
    try:
        halves = guided_halves(keys.halves, networks, stars[1])
    except InputError:
        failed.append(NO_HALF)
    return other, halves, failed


def _draw_and_check(keys: Keys, run: Run, stars: Stars, guided: Guided) -> tuple:
    """Draws of the stars, of the first star and of the prior; the misfit."""
    key_fit, key_joint, key_first, key_prior = jax.random.split(keys.fit, 4)
    networks = run.networks
    joint = joint_draws(key_joint, networks, guided)
    misfit = check_guided_fit(key_fit, networks, stars, guided, joint)
    # the first star again and again: other rows have other random numbers
    first = stars.take(np.zeros(N_FIRST_DRAWS // N_STAR_DRAWS, int))
    npe, forward = networks
    of_first = draw_other_stars(key_first, guided.exact, npe, forward, first).theta
    prior = priors.sample(key_prior, npe.prior, N_PRIOR_DRAWS)
    draws = StarDraws(
        joint.theta,
        joint.predicted[:, :N_CHECK_DRAWS],
        of_first.reshape(-1, of_first.shape[-1]),
        np.asarray(prior),
    )
    return draws, misfit


def _named(
    other: GalaxyPosterior | None, label: str, robust: Beside | None
) -> dict[str, GalaxyPosterior]:
    if other is None:
        return {"robust": robust.posterior} if robust else {}
    others = name_others(other, robust, None)
    return {label if k == other.method else k: v for k, v in others.items()}
