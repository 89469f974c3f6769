"""Checks of the comparison of yield sets: evidences, recovery, and the exact method.

    python experiments/check_comparison.py --sets tng,nkt13+k10+w7 --out plots

For mock galaxies of each set: does that set have the largest ln Z? For one galaxy of
each set: with --n-brute ln Z by brute force on the simulator (prior draws of the local
parameters at a grid of global ones), with --nuts the posterior by NUTS, with --flow
the exact method with the set's network as a guide. With --n-covered: is the truth of
mock galaxies within the intervals? Writes check_comparison.md and .json.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from common.brute_force import GRID_SIDE, brute_evidence
from common.guides import against_flow, both, flow_line
from common.recovery import fits_of_sets, recovery_table
from scipy.stats import chi2
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import priors, results
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.galaxy.any_yields import (
    YieldModel,
    abundances_of,
    model_of_yields,
    needed_elements,
)
from chemsbi_jax.galaxy.grid import GridPosterior
from chemsbi_jax.galaxy.guided import infer_guided
from chemsbi_jax.galaxy.nuts.sampler import run_nuts
from chemsbi_jax.galaxy.set_fit import evidence_of
from chemsbi_jax.inference.comparison import set_names
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.files import whole_file


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the files."""
    name: str = "check_comparison"
    """Name of both files, without its suffix."""
    sets: str = "tng,nkt13+k10+w7,lc18r_v150+k10+w7"
    """Yield sets with commas between them, or all."""
    n_galaxies: int = 2
    """Mock galaxies of each set, for the recovery."""
    n_stars: int = 20
    """Stars of each galaxy."""
    sigma: float = 0.05
    """Error of every abundance [dex]."""
    elements: Literal["eight", "all"] = "eight"
    """Abundances of the stars: the default eight, or all of the sets.
    The sets must have the same."""
    keep: str = ""
    """Abundances that are measured, as fe_h,mg_fe,o_fe,si_fe; empty: all of these."""
    margin: float = 50.0
    """Largest distance of a fitted set from the best one in ln Z [nat];
    other sets have ln Z by Laplace's method."""
    n_covered: int = 0
    """Mock galaxies of each set whose truth is compared with its posterior."""
    n_brute: tuple[int, ...] = ()
    """Numbers of stars of the brute-force evidence."""
    n_prior: int = 400_000
    """Prior draws of the local parameters at each point of the brute force."""
    nuts: tuple[int, ...] = ()
    """Numbers of stars that NUTS is compared with."""
    flow: tuple[int, ...] = ()
    """Numbers of stars of the exact method with the network and without it."""
    n_seeds: int = 4
    """Repeats of this comparison with other draws."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress, no table on the screen."""


def main(config: Config) -> dict:
    """All checks; returns the content of the JSON file."""
    lowest = {"n_galaxies": 0, "n_stars": 1, "n_prior": 100, "margin": 0}
    for name in ("n_brute", "flow"):
        if getattr(config, name):  # `check_flags` takes no numbers at all for a mistake
            lowest[name] = 1
    check_flags(config, **lowest, n_covered=0, n_seeds=2)
    keys = jax.random.split(jax.random.key(config.seed), 5)
    models = load_models(config)
    flags = {k: str(v) if isinstance(v, Path) else v for k, v in asdict(config).items()}
    found = {"flags": flags, "recovery": [], "coverage": [], "brute": [], "nuts": [],
             "flow": []}  # fmt: skip
    for row in recover(keys[0], models, config):
        found["recovery"].append(row)
        write(found, config)
    for model in models.values():
        if config.n_covered:
            found["coverage"].append(covered(keys[3], model, config))
        for n in config.n_brute:
            found["brute"].append(brute_force(keys[1], model, n, config))
            write(found, config)
        for n in config.nuts:
            found["nuts"].append(against_nuts(keys[2], model, n, config))
        for n in config.flow:
            # common random numbers: rows differ by their number of stars alone
            key_mock, key_fits = jax.random.split(keys[4])
            stars, _ = mock(key_mock, model, n, config)
            found["flow"].append(against_flow(key_fits, model, stars, config.n_seeds))
        write(found, config)
    if not config.quiet:
        print(report(found))
    return found


def write(found: dict, config: Config) -> None:
    """The files, as far as the checks are done."""
    results.write_summary(config.out / f"{config.name}.json", found)
    with whole_file(config.out / f"{config.name}.md") as path:
        path.write_text(report(found), encoding="utf-8")


def load_models(config: Config) -> dict[str, YieldModel]:
    """The model of each set."""
    models = {}
    for name in set_names(config.sets):
        measured = abundances_of(name) if config.elements == "all" else cs.ABUNDANCES
        models[name] = model_of_yields(name, measured=measured, quiet=config.quiet)
    if len({m.abundances for m in models.values()}) > 1:
        raise cs.InputError(
            f"Expected sets with the same abundances; got {config.sets}. Leave out "
            "--elements all."
        )
    return models


def mock(key, model: YieldModel, n: int, config: Config) -> tuple[cs.Stars, np.ndarray]:
    """Stars of a galaxy whose global parameters come from the prior."""
    key_theta, key_noise = jax.random.split(key)
    theta = np.array(priors.sample(key_theta, cs.paper_prior(), 3 * n + 20))
    theta[:, :2] = theta[0, :2]
    yields = needed_elements(cs.load_yields(model.name), model.abundances)
    clean = simulate_blocks(jnp.asarray(theta), yields, cs.CLEAN, True)
    clean = clean[np.isfinite(clean).all(axis=1)][:n]
    noise = np.asarray(jax.random.normal(key_noise, clean.shape))
    noisy = clean + config.sigma * noise
    stars = cs.Stars.complete(noisy, config.sigma, yields.abundances)
    if config.keep:
        seen = stars.observed & np.isin(stars.abundances, config.keep.split(","))
        stars = stars._replace(observed=seen)
    return stars, theta[0, :2]


def recover(key, models: dict[str, YieldModel], config: Config) -> Iterator[dict]:
    """For each mock galaxy: ln Z of every set; one galaxy of each set in turn."""
    n_all = len(models) * config.n_galaxies
    bar = tqdm(total=n_all, desc="galaxies", disable=config.quiet)
    for j in range(config.n_galaxies):
        for i, true in enumerate(models):
            own = jax.random.fold_in(key, i * config.n_galaxies + j)
            key_mock, key_fit = jax.random.split(own)
            stars, truth = mock(key_mock, models[true], config.n_stars, config)
            fits = fits_of_sets(key_fit, models, stars, config.margin)
            bar.update()
            yield {"true": true, "truth": truth, **fits._asdict()}
    bar.close()


def covered(key, model: YieldModel, config: Config) -> dict:
    """Distances of the truth from the posterior means of mock galaxies."""
    pulls, levels, draws = [], [], []
    for i in tqdm(range(config.n_covered), desc="coverage", disable=config.quiet):
        key_mock, key_fit = jax.random.split(jax.random.fold_in(key, i))
        stars, truth = mock(key_mock, model, config.n_stars, config)
        found = infer_guided(key_fit, model.networks, stars).posterior
        offset = np.asarray(found.mean) - truth
        pulls.append(offset / found.sd)
        squared = offset @ np.linalg.solve(found.covariance, offset)
        levels.append(chi2.cdf(squared, len(offset)))
        draws.append(found.checks["effective_draws_median"])
    pulls, levels = np.array(pulls), np.array(levels)
    return {
        "set": model.name,
        "abundances": len(model.abundances),
        "n": config.n_stars,
        "galaxies": config.n_covered,
        "pull_mean": pulls.mean(axis=0),
        "pull_rms": np.sqrt((pulls**2).mean(axis=0)),
        "within_68": float((levels < 0.68).mean()),
        "within_95": float((levels < 0.95).mean()),
        "effective_draws": float(np.median(draws)),
    }


def brute_force(key, model: YieldModel, n: int, config: Config) -> dict:
    """Evidence by the exact method, and by prior draws on the simulator."""
    key_mock, key_fit, key_prior = jax.random.split(key, 3)
    stars, _ = mock(key_mock, model, n, config)
    key_infer, key_evidence = jax.random.split(key_fit)
    guided = infer_guided(key_infer, model.networks, stars)
    ours = evidence_of(key_evidence, model.networks, guided)
    yields = needed_elements(cs.load_yields(model.name), model.abundances)
    used, quiet = stars.take(guided.exact.is_used), config.quiet
    shape = GridPosterior(*(np.asarray(x, float) for x in guided.exact.grid))
    brute = brute_evidence(
        key_prior, yields, used, guided.posterior, shape, config.n_prior, quiet
    )
    return {
        "set": model.name,
        "n": len(used.values),
        "ln_z": ours.value,
        "error": ours.error,
        "brute": brute.value,
        "brute_error": brute.error,
        "brute_bias": brute.bias,
        "brute_draws": brute.effective_draws,
        "brute_grid_error": brute.grid_error,
    }


def against_nuts(key, model: YieldModel, n: int, config: Config) -> dict:
    """Shift [sigma of NUTS] and ratio of the widths of the exact method and NUTS."""
    key_mock, key_infer, key_nuts = jax.random.split(key, 3)
    stars, _ = mock(key_mock, model, n, config)
    npe, forward = model.networks
    ours = infer_guided(key_infer, model.networks, stars).posterior
    nuts = run_nuts(key_nuts, forward, stars, npe, ours, quiet=config.quiet)
    shift = (ours.mean - nuts.posterior.mean) / nuts.posterior.sd
    return {"set": model.name, "n": n, "shift": shift,
            "width": ours.sd / nuts.posterior.sd,
            "converged": nuts.convergence["converged"]}  # fmt: skip


def report(found: dict) -> str:
    """A table of the recovery, and three lists, as Markdown."""
    lines = recovery_table(found["recovery"]) if found["recovery"] else []
    lines += [
        f"- {r['set']}, {r['n']} stars: ln Z {r['ln_z']:.2f} ± {r['error']:.2f}, by "
        f"brute force on the simulator {r['brute']:.2f} ± {r['brute_error']:.2f} (at "
        f"least {r['brute_draws']:.0f} effective draws a star; error of the sum over "
        f"{GRID_SIDE**2} points {r['brute_grid_error']:+.3f})"
        for r in found["brute"]
    ]
    lines += [
        f"- {r['set']}, {r['n']} stars: `exact` minus NUTS: "
        f"{both(r['shift'], '+.3f')} sigma; ratios of the widths "
        f"{both(r['width'], '.3f')}; NUTS {'' if r['converged'] else 'not '}converged"
        for r in found["nuts"]
    ]
    lines += [
        f"- {r['set']}, {r['abundances']} abundances, {r['galaxies']} galaxies of "
        f"{r['n']} stars: {r['within_68']:.0%} within 68 %, {r['within_95']:.0%} "
        f"within 95 %, mean pulls {both(r['pull_mean'], '+.2f')}, rms pulls "
        f"{both(r['pull_rms'], '.2f')}, effective draws {r['effective_draws']:.0f}"
        for r in found["coverage"]
    ]
    lines += [flow_line(r) for r in found["flow"]]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
