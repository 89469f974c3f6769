"""Which yield set has the largest marginal likelihood of a galaxy."""

from collections import Counter
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Key
from scipy.special import softmax

import chemsbi_jax as cs
from chemsbi_jax.galaxy.any_yields import YieldModel
from chemsbi_jax.galaxy.guided import infer_guided
from chemsbi_jax.galaxy.set_fit import RoughFit, evidence_of, rough_fit


class FitsOfSets(NamedTuple):
    """Evidences of all sets for one galaxy; natural logs."""

    best: str  # set with the largest `ln_z`; "" if no set explains the stars
    # set -> `exact`; -inf if it leaves stars out or has no posterior, and for a set
    # that is not fitted
    ln_z: dict[str, float]
    rough: dict[str, float]  # set -> Laplace's method
    is_fitted: dict[str, bool]  # set -> whether its `rough` is near the largest one


def fits_of_sets(
    key: Key[Array, ""], models: dict[str, YieldModel], stars: cs.Stars, margin: float
) -> FitsOfSets:
    """`exact` for the sets that come into question by Laplace's method.

    A fit of a set that misfits takes several times as long as one of the right set.

    Args:
        key: determines the draws; the same for all sets.
        models: set -> its model.
        stars: any.
        margin: largest distance of a fitted set from the largest ln Z [nat].
    """
    fits = {name: rough_fit(m.networks, stars) for name, m in models.items()}
    rough = {name: fit.ln_z for name, fit in fits.items()}
    near = within_margin(rough, margin)
    ln_z = {name: -np.inf for name in models}
    for n, fit in fits.items():
        if near[n]:
            ln_z[n] = _ln_z(key, models[n], stars, fit)  # key reuse: same for all sets
    return FitsOfSets(best_of(ln_z), ln_z, rough, near)


def within_margin(rough: dict[str, float], margin: float) -> dict[str, bool]:
    """Set -> whether its ln Z is at most `margin` [nat] below the largest one."""
    least = max(rough.values()) - margin
    return {name: value >= least for name, value in rough.items()}


def best_of(ln_z: dict[str, float]) -> str:
    """The set with the largest ln Z; "" if none is finite."""
    best = max(ln_z, key=lambda n: ln_z[n])
    return best if np.isfinite(ln_z[best]) else ""


def _ln_z(
    key: Key[Array, ""], model: YieldModel, stars: cs.Stars, fit: RoughFit
) -> float:
    """Evidence of the stars; -inf if the set leaves some out or has no posterior."""
    key_infer, key_evidence = jax.random.split(key)
    try:
        guided = infer_guided(key_infer, model.networks, stars, start=fit.guess)
    except cs.InputError:
        return -np.inf
    if not guided.exact.is_used.all():
        return -np.inf
    return evidence_of(key_evidence, model.networks, guided).value


def recovery_table(rows: list[dict]) -> list[str]:
    """How often each set has the largest ln Z of its galaxies, and by how much.

    Args:
        rows: one a galaxy: its set under "true", and the fields of `FitsOfSets`.

    Returns:
        Lines of Markdown. A set that is not fitted counts with its "rough" ln Z.
    """
    lines = [
        "| true set | largest ln Z | median lead [nat] | least lead [nat] "
        "| closest set (times) |",
        "|---|---|---|---|---|",
    ]
    for name in dict.fromkeys(r["true"] for r in rows):
        own = [r for r in rows if r["true"] == name]
        right = sum(r["best"] == name for r in own)
        seconds = [_closest(r) for r in own]
        lead = [
            _all_ln_z(r)[name] - ln_z for r, (_, ln_z) in zip(own, seconds, strict=True)
        ]
        often, times = Counter(n for n, _ in seconds).most_common(1)[0]
        lines.append(
            f"| {name} | {right} of {len(own)} | {np.median(lead):.1f} "
            f"| {min(lead):.1f} | {often} ({times}) |"
        )
    n_right = sum(r["true"] == r["best"] for r in rows)
    share = f"{n_right} of {len(rows)} ({n_right / len(rows):.1%})"
    return [*lines, f"| all | {share} | | | |", "", *_about_fits(rows), ""]


def _closest(row: dict) -> tuple[str, float]:
    """The set with the largest ln Z beside the true one, and its ln Z."""
    others = _all_ln_z(row)
    others.pop(row["true"])
    name = max(others, key=lambda n: others[n], default="")
    return name, others.get(name, -np.inf)


def _all_ln_z(row: dict) -> dict[str, float]:
    """Set -> ln Z, by Laplace's method where the set is not fitted."""
    return {
        name: row["ln_z"][name] if row["is_fitted"][name] else rough
        for name, rough in row["rough"].items()
    }


def _expected_share(rows: list[dict]) -> float:
    """Share of galaxies with the right set that the probabilities themselves expect.

    It is the mean probability of the chosen set, for equal prior probabilities. No rule
    is right more often, so a low share is a limit of the data.
    """
    each = [softmax([*_all_ln_z(r).values()]).max() for r in rows if r["best"]]
    return float(np.sum(each)) / len(rows)


def _about_fits(rows: list[dict]) -> list[str]:
    """Expected share, number of fits, and how well Laplace's method gives ln Z."""
    differences = [
        r["rough"][n] - r["ln_z"][n]
        for r in rows
        for n in r["rough"]
        if np.isfinite(r["ln_z"][n])
    ]
    n_fitted = sum(sum(r["is_fitted"].values()) for r in rows)
    n_all = sum(len(r["rough"]) for r in rows)
    text = (
        f"Expected from the probabilities of the sets: {_expected_share(rows):.1%}. "
        f"Fitted: {n_fitted} of {n_all} pairs of galaxy and set."
    )
    if not differences:
        return [text]
    middle, low, high = (np.quantile(differences, q) for q in (0.5, 0.0, 1.0))
    return [
        f"{text} ln Z by Laplace's method minus ln Z: median {middle:+.1f}, "
        f"{low:+.1f} to {high:+.1f} nat."
    ]
