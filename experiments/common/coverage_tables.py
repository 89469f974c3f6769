"""Markdown of the numbers of shared_coverage.py, for docs/shared_errors_tests.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from chemsbi_jax.constants import GLOBAL_PARAMETERS
from chemsbi_jax.storage.files import whole_file

SMALLEST_P = 1e-10
OF_ALL = "joint", *GLOBAL_PARAMETERS


def write_markdown(path: Path, content: Mapping) -> None:
    """The table of a study, beside its JSON file.

    The studies of the prior have one table, shared_coverage.md, with a row for each
    JSON file in the folder.

    Args:
        path: of the JSON file.
        content: of this file.
    """
    text, target = _of_sets, path.with_suffix(".md")
    if "sd_over_prior" in content:
        text = _of_power
    elif "tests" in content:
        target = path.with_name("shared_coverage.md")
        each = [
            json.loads(file.read_text(encoding="utf-8"))
            for study in ("prior", "forms")
            for file in path.parent.glob(f"shared_coverage_{study}_*.json")
        ]
        content = {"rows": sorted(each, key=_place)}
        text = _of_tests
    with whole_file(target) as file:
        file.write_text(text(content), encoding="utf-8")


def _place(content: Mapping) -> tuple:
    return content["study"] == "forms", content["flags"]["n_stars"]


def _of_sets(content: Mapping) -> str:
    lines = [
        "| yield set of the stars | 68 % joint | 95 % joint | median chi2 |",
        "|---|---|---|---|",
    ]
    names = {f"`{name}`": row for name, row in content["sets"].items()}
    for name, row in ({"all": content} | names).items():
        shares = [f"{100 * inside['joint']:.0f} %" for inside in row["inside"].values()]
        chi2 = f"{row['median_chi2']:.1f}"
        lines.append(f"| {' | '.join((name, *shares, chi2))} |")
    each = content["sd"], content["rms_error"]
    widths, errors = (", ".join(f"{x[p]:.2f}" for p in GLOBAL_PARAMETERS) for x in each)
    lines.append(
        f"\nWidths and rms errors of the mean, in widths of the prior: {widths}; "
        f"{errors}. {content['n']} galaxies."
    )
    return "\n".join(lines) + "\n"


def _of_tests(content: Mapping[str, Sequence]) -> str:
    named = "joint, `alpha_imf`, `log10_n_ia`"
    lines = [
        f"| stars (galaxies) | 68 % {named} | 95 % {named} | p: {named}, TARP | least "
        "p of a yield factor | parameters inside their bands | widths | 20 % too "
        "narrow: p joint, inside |",
        "|---|---|---|---|---|---|---|---|",
        *map(_row_of_tests, content["rows"]),
    ]
    return "\n".join(lines) + "\n"


def _row_of_tests(content: Mapping) -> str:
    tests = content["tests"]
    shares = [
        ", ".join(f"{100 * inside[name]:.1f}" for name in OF_ALL) + " %"
        for inside in content["inside"].values()
    ]
    p_values = [tests["joint"], *tests["each"].values(), tests["tarp"]]
    worst = min(tests["factors"], key=tests["factors"].get)
    n, narrow = len(content["sd"]), tests["too_narrow"]
    form = ", `--study forms`" if content["study"] == "forms" else ""
    cells = (
        f"{content['flags']['n_stars']} ({content['n']}){form}",
        *shares,
        ", ".join(map(_p, p_values)),
        f"`{worst}` {_p(tests['factors'][worst])}",
        f"{n * tests['share_inside']:.0f} of {n}",
        ", ".join(f"{content['sd'][p]:.2f}" for p in GLOBAL_PARAMETERS),
        f"{_p(narrow['joint'])}, {n * narrow['share_inside']:.0f}",
    )
    return f"| {' | '.join(cells)} |"


def _p(value: float) -> str:
    """Text of a p value; smaller ones than `SMALLEST_P` are rounding errors."""
    return "<1e-10" if value < SMALLEST_P else f"{value:.2g}"


def _of_power(content: Mapping) -> str:
    """Widths in those of the prior, `alpha_imf` and `log10_n_ia`."""
    rows = content["sd_over_prior"]
    numbers = list(next(iter(rows.values())))
    lines = [
        f"| measured | {' | '.join(f'N = {n}' for n in numbers)} |",
        "|---|" + "---|" * len(numbers),
    ]
    for label, each in rows.items():
        cells = [
            ", ".join(f"{each[n][p]:.2f}" for p in GLOBAL_PARAMETERS) for n in numbers
        ]
        lines.append(f"| {' | '.join((label, *cells))} |")
    return "\n".join(lines) + "\n"
