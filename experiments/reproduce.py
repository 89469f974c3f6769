"""The reference's table and figures with the right formula, its own ones beside it.

    python experiments/reproduce.py                  # shipped weights, into plots/
    python experiments/reproduce.py --from-scratch   # simulates and trains everything

Writes reproduction.md, reproduction.json, the star tables that were used (stars/) and
figures. "N stars" are the first N of a random order of each table, which --seed
decides. Data sets that are not on the machine are named as missing; nothing is
downloaded (experiments/download.py does). NUTS results appear where --nuts has
summaries that experiments/nuts.py made from the tables in stars/.
"""

import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import jax
import numpy as np
from common.reproduction.galaxies import (
    Galaxy,
    load_galaxies,
    missing_yields,
    simulator,
    try_weights,
)
from common.reproduction.inference import (
    METHODS,
    NAMED_TRUTHS,
    as_numbers,
    combine_all,
    combine_published,
    find_nuts,
    fitting_numbers,
    prior_moments,
    recover,
    summarise_recovery,
)
from common.reproduction.report import PUBLISHED, report
from common.reproduction.training import Scratch, train_from_scratch

import chemsbi_jax as cs
from chemsbi_jax import plots, results
from chemsbi_jax.catalog import write_stars
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.diagnostics import gaussian_coverage
from chemsbi_jax.galaxy.checks import check_fit
from chemsbi_jax.galaxy.networks import Networks, load_networks
from chemsbi_jax.plots.reproduction import plot_recovery
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.storage.files import whole_file


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for tables, figures and (from scratch) weights."""
    weights: str = "tng"
    """Networks: tng, or a folder."""
    legacy_weights: str = "tng-legacy"
    """Networks for stars that Chempy itself made: tng-legacy, or a folder."""
    nuts: Path = Path("runs/nuts")
    """Folder that is searched for summaries of experiments/nuts.py."""
    n_stars: tuple[int, ...] = (1, 10, 100, 200, 500, 1000)
    """Numbers of stars."""
    from_scratch: bool = False
    """Simulate and train first, instead of --weights."""
    scratch: Scratch = Scratch()
    """Sizes of --from-scratch."""
    skip_recovery: bool = False
    """Leave out the recovery of known truths, as --from-scratch does.
    To make it afterwards: --weights OUT/weights."""
    recovery_n_stars: tuple[int, ...] = (200, 1000)
    """Numbers of stars of the recovery."""
    recovery_draws: int = 20
    """Truths from the prior, besides the four named ones."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress, no tables on the screen."""


def main(config: Config) -> dict:
    """Infer everything that is there; returns the content of reproduction.json."""
    check_flags(config, n_stars=1, recovery_n_stars=1, recovery_draws=0)
    check_flags(config.scratch, **dict.fromkeys(asdict(config.scratch), 1))
    watch = Stopwatch(config.quiet)
    keys = jax.random.split(jax.random.key(config.seed), 5)
    if config.from_scratch:
        config = replace(config, weights=str(config.out / "weights"))
        train_from_scratch(keys[0], config.scratch, Path(config.weights), watch)
    networks = load_networks(config.weights)
    with watch("stars"):
        n = max(config.n_stars)
        galaxies = load_galaxies(keys[1], n, config.seed)
    content = {"weights": config.weights, "seed": config.seed, "galaxies": {}}
    for i, (name, galaxy) in enumerate(galaxies.items()):
        key = jax.random.fold_in(keys[2], i)
        with watch(name):
            content["galaxies"][name] = reproduce(key, name, galaxy, config)
    content["published_draws"] = combine_published()
    if not (config.skip_recovery or config.from_scratch):
        with watch("recovery"):
            content["recovery"] = run_recovery(keys[3], networks, config)
    return finish(content, config, watch)


def reproduce(key, name: str, galaxy: Galaxy, config: Config) -> dict:
    """One data set: table, checks and figures, or the reason why it is missing."""
    weights = config.legacy_weights if galaxy.is_legacy else config.weights
    entry = {
        "title": galaxy.title,
        "note": galaxy.note,
        "truth": galaxy.truth,
        "weights": weights,
        "missing": galaxy.missing or try_weights(weights),
        "published": PUBLISHED[name],
    }
    if entry["missing"] or galaxy.stars is None:
        return entry
    key_galaxy, key_check, key_draws = jax.random.split(key, 3)
    stars, (npe, forward) = galaxy.stars, load_networks(weights)
    file = config.out / "stars" / f"{name}.ecsv"
    write_stars(file, stars)
    numbers = fitting_numbers(config.n_stars, len(stars.values))
    found = combine_all(key_galaxy, (npe, forward), stars, numbers)
    draws = cs.sample_stars(key_draws, npe, stars, 1000)
    fit = check_fit(
        key_check, Networks(npe, forward), stars, draws, found[numbers[-1]]["flow"]
    )
    draw_galaxy(name, found, galaxy.truth, prior_moments(npe.prior), config.out)
    return entry | {
        "model_fit": {
            "flagged": fit.is_flagged, "p_value": fit.p_value, "text": fit.text
        },
        "results": {
            n: {m: as_numbers(p, galaxy.truth) for m, p in found[n].items()}
            for n in numbers
        },
        "nuts": find_nuts(config.nuts, file),
    }  # fmt: skip


def draw_galaxy(name: str, found: dict, truth, prior, out: Path) -> None:
    """Convergence with N, and the posterior of all stars, with every formula."""
    numbers = list(found)

    def moments(method: str) -> tuple[np.ndarray, np.ndarray]:
        each = [found[n][method] for n in numbers]
        sds = [np.sqrt(np.diag(p.covariance)) for p in each]
        return np.array([p.mean for p in each]), np.array(sds)

    others = {m: moments(m) for m in METHODS[1:]}
    fig = plots.plot_convergence(numbers, *moments("flow"), truth, others, "flow")
    plots.save_figure(fig, out / f"convergence_{name}.png")
    last = dict(found[numbers[-1]])
    fig = plots.plot_galaxy(last.pop("flow"), truth, prior, last)
    plots.save_figure(fig, out / f"posterior_{name}.png")


def run_recovery(key, networks: tuple, config: Config) -> dict:
    """Known truths with every formula: cases, summary and figure."""
    npe, forward = networks
    note = "Stars of our simulator (TNG yields, clean), 0.05 dex noise."
    if missing_yields("tng"):
        note = (
            "The yield tables are not on this machine: these stars are the emulator's, "
            "so an error of the emulator does not show."
        )
    else:
        forward = simulator("tng")
    numbers, n_random = config.recovery_n_stars, config.recovery_draws
    cases = recover(key, networks, forward, numbers, n_random, config.quiet)
    draw_recovery(cases, prior_moments(npe.prior), config.out)
    draw_coverage(cases, config.out)
    return {
        "note": note,
        "summary": summarise_recovery(cases),
        "cases": [case._asdict() for case in cases],
    }


def draw_recovery(cases, prior, out: Path) -> None:
    """Distance of every formula at every truth."""
    found: dict = {}
    for case in cases:
        by_method = found.setdefault(case.n_stars, {})
        by_method.setdefault(case.method, []).append(case.mahalanobis)
    pulls = {n: {k: np.array(x) for k, x in each.items()} for n, each in found.items()}
    n, method = cases[0].n_stars, cases[0].method
    truths = [c.truth for c in cases if (c.n_stars, c.method) == (n, method)]
    distance = np.linalg.norm((np.array(truths) - prior[0]) / prior[1], axis=1)
    labels = [f"({a:g}, {b:g})" for a, b in NAMED_TRUTHS]
    plots.save_figure(plot_recovery(distance, pulls, labels), out / "recovery.png")


def draw_coverage(cases, out: Path) -> None:
    """How often the regions of every formula hold the truth, with many stars."""
    n = max(case.n_stars for case in cases)
    curves = []
    for method in METHODS:
        chosen = [c for c in cases if (c.n_stars, c.method) == (n, method)]
        # a Gaussian's regions depend on the distance alone
        at = np.array([[case.mahalanobis, 0.0] for case in chosen])
        unit = np.broadcast_to(np.eye(2), (len(at), 2, 2))
        curves.append(gaussian_coverage(at, np.zeros_like(at), unit))
    measured = np.concatenate([np.asarray(c.measured) for c in curves], axis=1)
    band = (np.asarray(curves[0].band.lower), np.asarray(curves[0].band.upper))
    names = [m if m in METHODS[:2] else f"reference: {m}" for m in METHODS]
    fig = plots.plot_coverage(np.asarray(curves[0].levels), measured, band, names)
    plots.save_figure(fig, out / "coverage_beside_reference.png")


def finish(content: dict, config: Config, watch: Stopwatch) -> dict:
    """Write the tables and the numbers, and show them."""
    content |= {"seconds": dict(watch.seconds), "from_scratch": config.from_scratch}
    text = "\n".join(report(content)) + "\n"
    with whole_file(config.out / "reproduction.md") as path:
        path.write_text(text, encoding="utf-8")
    results.write_summary(config.out / "reproduction.json", content)
    if not config.quiet:
        print(text, f"Tables and figures are in {config.out}.", sep="\n")
    return content


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
