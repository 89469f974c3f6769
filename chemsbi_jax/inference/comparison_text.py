"""The comparison of yield sets as text: two tables and what they mean."""

from typing import Any

import numpy as np

from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.errors import counted

MISFIT = (
    "No set reproduces these stars (the misfit alarm fires for all {n}). Their log "
    "evidences differ by up to {spread:.0f} nat: the posterior probabilities of the "
    "sets compare models that do not fit, and should not be quoted. Stacking weights "
    "give the mixture with the best prediction of a left-out star."
)
SOME_MISFIT = (
    "The misfit alarm fires for {n} of {all} sets. The evidence of a set that does not "
    "reproduce the stars measures only the size of the misfit."
)
NO_MISFIT = "No set has a misfit alarm."
TERMS = (
    "elpd: expected log predictive density [nat]. With k-hat above 0.7 the density of "
    "a left-out star is not reliable."
)
SCATTER = (
    "The results of the sets scatter by {scatter} (standard deviation of the means), "
    "while the formal width of one result is {formal} (median): the scatter between "
    "yield sets is up to {ratio:.1f} times the statistical error. Quote the scatter "
    "beside the interval."
)


def markdown(found: Any) -> str:
    """Text of a `YieldComparison`."""
    parts = [
        f"# Comparison of yield sets with {found.n_stars} stars",
        _main_table(found),
        TERMS,
        _residual_table(found),
        *_sentences(found),
    ]
    return "\n\n".join(p for p in parts if p) + "\n"


def _main_table(found: Any) -> str:
    head = (
        "yields", "alpha_imf", "log10_n_ia", "ln Z - best", "probability",
        "elpd of a left-out star - best", "stars with k-hat > 0.7", "stacking weight",
        "elpd of a left-out abundance [nat a star]", "alarm", "not explained",
    )  # fmt: skip
    rows = [_main_row(found, r) for r in found.records]
    mixture = found.mixture
    if mixture is not None:
        cells = _intervals(mixture.mean, mixture.sd)
        rows.append(["mixture by stacking", *cells, *[""] * (len(head) - 3)])
    return _table(head, rows)


def _main_row(found: Any, record: Any) -> list[str]:
    if record.failed:
        return [record.name, f"no posterior: {record.failed}", *[""] * 9]
    name = record.name
    best_z = max(found.ln_z.values())
    elpd = {k: v.sum() for k, v in found.elpd.items()}
    each = [v for v in record.element.values() if v is not None and np.isfinite(v)]
    p_value = f"p = {record.p_value:.1g}"
    return [
        name,
        *_intervals(record.mean, record.sd),
        f"{found.ln_z[name] - best_z:.1f} ± {record.ln_z_error:.1f}",
        f"{found.probability[name]:.2g}",
        f"{elpd[name] - max(elpd.values()):.1f}",
        str(found.n_bad_k(record)),
        f"{found.weights.get(name, float('nan')):.2f}",
        f"{np.mean(each):.2f}" if each else "",
        f"{'fires' if record.flagged else 'silent'} ({p_value})",
        str(len(record.left_out)),
    ]


def _residual_table(found: Any) -> str:
    names = list(dict.fromkeys(a for r in found.fitted for a in r.residual))
    if not names:
        return ""
    rows = [
        [r.name, *(_signed(r.residual.get(a)) for a in names),
         *(_signed(r.element.get(a), ".2f") for a in names)]
        for r in found.fitted
    ]  # fmt: skip
    head = [
        "yields", *(f"residual {a} [dex]" for a in names),
        *(f"elpd {a} [nat a star]" for a in names),
    ]  # fmt: skip
    text = (
        "Mean residuals (observed minus expected), and log predictive density of each "
        "abundance given the others."
    )
    return f"{text}\n\n{_table(head, rows)}"


def _sentences(found: Any) -> list[str]:
    if not found.fitted:
        return ["No set has a posterior for these stars."]
    n, n_all = sum(r.flagged for r in found.fitted), len(found.fitted)
    values = [*found.ln_z.values()]
    spread = max(values) - min(values)
    if n == 0:
        text = [NO_MISFIT]
    elif n == n_all:
        text = [MISFIT.format(n=n, spread=spread)]
    else:
        text = [SOME_MISFIT.format(n=n, all=n_all)]
    lost = found.n_stars - int(found.is_common.sum())
    if lost:
        do = "this star does" if lost == 1 else "these do"
        text.append(
            f"At least one set does not explain {counted(lost, 'star')}; {do} not "
            "count in the evidences and predictive densities of any set."
        )
    if n_all > 1:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = float(np.max(found.scatter / found.formal_width))
        text.append(
            SCATTER.format(
                scatter=_both(found.scatter),
                formal=_both(found.formal_width),
                ratio=ratio,
            )  # fmt: skip
        )
    return text


def _both(pair: np.ndarray) -> str:
    each = zip(GLOBAL_PARAMETERS, pair, strict=True)
    return " and ".join(f"{value:.3f} in {name}" for name, value in each)


def _intervals(mean: Any, sd: Any) -> list[str]:
    return [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, sd, strict=True)]


def _signed(value: float | None, form: str = "+.3f") -> str:
    return "" if value is None or not np.isfinite(value) else f"{value:{form}}"


def _table(head: Any, rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
