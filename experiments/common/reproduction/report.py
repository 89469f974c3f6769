"""The tables of `reproduce.py` in markdown, and the published values."""

from collections.abc import Mapping, Sequence

import numpy as np

LABELS = {
    "flow": "flow (ours)",
    "gaussian": "gaussian (ours)",
    "wrong sign": "reference: wrong sign",
    "marginal product": "reference: marginal product",
    "nuts": "NUTS",
}
_README = "reference's README"
_PAPER = "Buck+ 2025 (arXiv 2503.02456)"
_HMC = "HMC, Philcox & Rybizki 2019 (other mocks, with ages)"
_TNG = (
    (_README, 1000, "-2.294 ± 0.003", "-2.888 ± 0.005"),
    (_PAPER, 1000, "-2.298 ± 0.002", "-2.885 ± 0.003"),
    (_HMC, 100, "-2.31 ± 0.01", "-2.90 ± 0.01"),
)
_ALTERNATIVE = (
    (_README, 1000, "-2.385 ± 0.003", "-3.072 ± 0.007"),
    (_HMC, 100, "-2.22 ± 0.02", "-2.96 ± 0.025"),
)
PUBLISHED = {
    "tng": _TNG,
    "chempy-tng-200": _TNG,
    "chempy-alternative": _ALTERNATIVE,
    "alternative": _ALTERNATIVE,
    "illustris-tng": (
        (_README, 1000, "-2.270 ± 0.005", "-2.913 ± 0.006"),
        (_HMC, 100, "-2.28 ± 0.01", "-2.89 ± 0.01"),
        (
            "numpyro NUTS, github.com/vepe99/chempy_hmc (ages, model error)",
            200,
            "-2.281 ± 0.007",
            "-2.888 ± 0.008",
        ),
    ),
}
"""Data set -> (source, number of stars, alpha_imf, log10_n_ia)."""


def plus_minus(mean: float, sd: float) -> str:
    """Mean and standard deviation, two digits of the latter and at least 0.001."""
    digits = int(np.clip(1 - np.floor(np.log10(sd)), 3, 8))
    return f"{mean:.{digits}f} ± {sd:.{digits}f}"


def cell(mean: Sequence[float], sd: Sequence[float], rho: float | None) -> str:
    """Both parameters and their correlation in one cell of a table."""
    text = f"{plus_minus(mean[0], sd[0])}, {plus_minus(mean[1], sd[1])}"
    return text if rho is None else f"{text} (ρ {rho:.2f})"


def posterior_cell(numbers: Mapping) -> str:
    """A posterior in one cell."""
    rho = numbers["correlation"]
    return cell(numbers["mean"], numbers["sd"], None if rho == 0.0 else rho)


def nuts_cell(summary: Mapping | None) -> str:
    """A NUTS summary in one cell."""
    if summary is None:
        return "not run"
    if not summary.get("convergence", {}).get("converged", True):
        return "not converged"
    both = summary["alpha_imf"], summary["log10_n_ia"]
    means, sds = [p["mean"] for p in both], [p["sd"] for p in both]
    return cell(means, sds, summary.get("correlation"))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(str(c) for c in line) + " |" for line in lines]


def summary_lines(content: Mapping) -> list[str]:
    """One row a data set: our result with the most stars beside the published ones."""
    rows = []
    for key, entry in content["galaxies"].items():
        published = "; ".join(
            f"{a}, {b} ({source.split(',')[0].split(' (')[0]}, N = {n})"
            for source, n, a, b in PUBLISHED[key]
        )
        if entry["missing"]:
            rows.append([entry["title"], "-", f"missing: {entry['missing']}", "", "",
                         published])  # fmt: skip
            continue
        n = max(map(int, entry["results"]))
        fit, nuts = entry["model_fit"], nuts_cell(entry["nuts"].get(n))
        ours = posterior_cell(entry["results"][n]["flow"])
        verdict = "no" if fit["flagged"] else f"yes (p = {fit['p_value']:.2f})"
        rows.append([entry["title"], n, ours, nuts, verdict,
                     published])  # fmt: skip
    header = ["stars", "N", "flow: α_IMF, log10 N_Ia", "NUTS", "model fits?",
              "published"]  # fmt: skip
    return table(header, rows)


def galaxy_lines(key: str, entry: Mapping) -> list[str]:
    """All results of one data set."""
    lines = ["", f"### {entry['title']}", ""]
    if entry["missing"]:
        return [*lines, f"Missing on this machine: {entry['missing']}"]
    truth = entry["truth"]
    told = "unknown" if truth is None else f"({truth[0]:g}, {truth[1]:g})"
    lines += [f"{entry['note']} Weights: {entry['weights']}. Truth {told}.", ""]
    lines += [entry["model_fit"]["text"], ""]
    rows = [
        [n, *map(posterior_cell, by.values()), nuts_cell(entry["nuts"].get(n))]
        for n, by in entry["results"].items()
    ]
    lines += [*table(["N", *LABELS.values()], rows), ""]
    if truth is not None:
        lines += ["Mahalanobis distance from the truth:", ""]
        rows = [
            [n, *(f"{r['mahalanobis']:.2f}" for r in results.values())]
            for n, results in entry["results"].items()
        ]
        lines += [*table(["N", *list(LABELS.values())[:-1]], rows), ""]
    lines += ["Published:", ""]
    return lines + table(["source", "N", "α_IMF", "log10 N_Ia"], PUBLISHED[key])


def published_lines(results: Mapping) -> list[str]:
    """The reference's own draws, combined with all three formulas."""
    title = ["", "### The reference's published single-star draws, combined", ""]
    if isinstance(results, str):
        return [*title, f"Missing on this machine: {results}"]
    names = ("wrong sign", "marginal product", "right")
    rows = [[n, *(posterior_cell(r[m]) for m in names)] for n, r in results.items()]
    text = "200 stars x 1000 draws of the reference's own network, their order:"
    return [*title, text, "", *table(["N", *names], rows)]


def recovery_lines(content: Mapping) -> list[str]:
    """Mahalanobis distance of every truth, and the summary."""
    methods, cases = list(LABELS)[:-1], content["cases"]
    rows = {}
    for case in cases:
        place = (case["truth"], case["n_stars"])
        rows.setdefault((tuple(place[0]), place[1]), {})[case["method"]] = case
    header = ["truth", "N", *(LABELS[m] for m in methods)]
    body = []
    for (truth, n), by in rows.items():
        named = "" if by["flow"]["named"] else " (prior draw)"
        cells = [f"{by[m]['mahalanobis']:.2f} ({by[m]['chi2']:.1f})" for m in methods]
        body.append([f"({truth[0]:.3f}, {truth[1]:.3f}){named}", n, *cells])
    summary = [
        [
            row["n"], LABELS[row["method"]], f"{row['share_below_3']:.0%}",
            f"{row['mean_chi2']:.2f}",
            f"{row['expected_chi2']:.0f} ± {row['expected_error']:.2f}",
        ]
        for row in content["summary"]
    ]  # fmt: skip
    short = ["N", "formula", "distance below 3", "mean chi2", "expected"]
    lines = ["", "### Recovery of known truths", "", content["note"], ""]
    lines += [*table(short, summary), "", "Mahalanobis distance (chi2):", ""]
    return lines + table(header, body)


def report(content: dict) -> list[str]:
    """The whole of reproduction.md."""
    lines = [
        "## Reproduction of the reference",
        "",
        f"Weights: {content['weights']}. Each cell: alpha_imf, log10_n_ia (mean ± sd). "
        "N stars are the first N of a random order of the table (seed "
        f"{content['seed']}).",
        "",
        *summary_lines(content),
    ]
    for name, entry in content["galaxies"].items():
        lines += galaxy_lines(name, entry)
    lines += published_lines(content["published_draws"])
    if "recovery" in content:
        lines += recovery_lines(content["recovery"])
    total = sum(content["seconds"].values())
    each = ", ".join(f"{k} {v:.1f}" for k, v in content["seconds"].items())
    return [*lines, "", f"Seconds: {each}; together {total:.0f}."]
