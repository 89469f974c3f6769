"""Shared parameters, width budget and misfit alarm of star tables, as Markdown."""

from collections.abc import Mapping, Sequence

from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.diagnostics.misfit import LESS_SCATTER

FAR = 0.8  # posterior widths from 0: named
BLOCKS = ("yields", "population", "all")  # of the budget
N_RESIDUALS = 3  # the largest


def findings(rows: Sequence[Mapping]) -> str:
    """Markdown: one line a table.

    Args:
        rows: of shared_errors.py --study tables.
    """
    lines = [
        f"| stars | yield factors [dex] and slopes [dex per dex] more than {FAR:g} sd "
        "from 0 | zero points [dex], likewise | population [prior widths], likewise | "
        f"decrease of the width [%] if {', '.join(BLOCKS)} are held: `alpha_imf`; "
        "`log10_n_ia` | second misfit alarm: p; largest mean residuals [dex] |",
        "|---|---|---|---|---|---|",
        *(_line(row) for row in rows if row["converged"]),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Mapping) -> str:
    named = [_far(row[block]) for block in ("yields", "zero_points", "population")]
    budget = "; ".join(
        ", ".join(f"{100 * row['budget'][block][name]:.0f}" for block in BLOCKS)
        for name in GLOBAL_PARAMETERS
    )
    cells = (f"{row['name']} ({row['n_stars']})", *named, budget, _alarm(row))
    return f"| {' | '.join(cells)} |"


def _far(block: Mapping[str, Mapping]) -> str:
    """Parameters whose mean is more than `FAR` widths from 0, with their errors."""
    far = {n: p for n, p in block.items() if abs(p["mean"]) > FAR * p["sd"]}
    each = (f"`{n}` {p['mean']:+.2f} ± {p['sd']:.2f}" for n, p in far.items())
    return ", ".join(each) or "none"


def _alarm(row: Mapping) -> str:
    fit = row.get("model_fit")
    if not fit:
        return ""
    mean = fit["mean_residual_dex"]
    worst = sorted(mean, key=lambda name: -abs(mean[name]))[:N_RESIDUALS]
    each = ", ".join(f"{name} {mean[name]:+.3f}" for name in worst)
    kind = "less scatter than the errors" if LESS_SCATTER in fit["text"] else "alarm"
    kind = kind if fit["flagged"] else "none"
    return f"{kind}, p = {fit['p_value']:.2g}; {each}"
