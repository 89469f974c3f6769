"""Checks of the comparison of yield sets: evidences, recovery, and the exact method.

    python experiments/check_comparison.py --sets tng,nkt13+k10+w7 --out plots

For mock galaxies of each set: does that set have the largest ln Z? For one galaxy of
each set: ln Z by brute force on the simulator (prior draws of the local parameters at a
grid of global ones), and with --nuts the posterior by NUTS. With --n-covered: is the
truth of mock galaxies within the intervals? Writes check_comparison.md and .json.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import logsumexp
from scipy.stats import chi2, norm
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
from chemsbi_jax.galaxy.guided import infer_guided
from chemsbi_jax.galaxy.nuts.sampler import run_nuts
from chemsbi_jax.galaxy.set_fit import evidence_of
from chemsbi_jax.inference.comparison import set_names
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.files import whole_file

GRID_SIGMA, GRID_SIDE = 3.6, 7  # of the brute force around the posterior


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table."""
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
    n_covered: int = 0
    """Mock galaxies of each set whose truth is compared with its posterior."""
    n_brute: int = 0
    """Stars of the brute-force evidence; 0: none."""
    n_prior: int = 20_000
    """Prior draws of the local parameters at each point of the brute force."""
    nuts: tuple[int, ...] = ()
    """Numbers of stars that NUTS is compared with."""
    seed: int = 0
    """Of everything random."""
    quiet: bool = False
    """No progress, no table on the screen."""


def main(config: Config) -> dict:
    """All checks; returns the content of check_comparison.json."""
    lowest = {"n_galaxies": 0, "n_stars": 1, "n_brute": 0, "n_prior": 100}
    check_flags(config, **lowest, n_covered=0)
    keys = jax.random.split(jax.random.key(config.seed), 4)
    models = load_models(config)
    found = {
        "recovery": recover(keys[0], models, config),
        "coverage": [covered(keys[3], m, config) for m in models.values()]
        if config.n_covered
        else [],
        "brute": [brute_force(keys[1], m, config) for m in models.values()]
        if config.n_brute
        else [],
        "nuts": [
            against_nuts(keys[2], m, n, config)
            for m in models.values()
            for n in config.nuts
        ],
    }
    results.write_summary(config.out / "check_comparison.json", found)
    text = report(found)
    with whole_file(config.out / "check_comparison.md") as path:
        path.write_text(text, encoding="utf-8")
    if not config.quiet:
        print(text)
    return found


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


def recover(key, models: dict[str, YieldModel], config: Config) -> list[dict]:
    """For each mock galaxy: ln Z of every set."""
    rows = []
    n_all = len(models) * config.n_galaxies
    bar = tqdm(total=n_all, desc="galaxies", disable=config.quiet)
    for i, true in enumerate(models):
        for j in range(config.n_galaxies):
            own = jax.random.fold_in(key, i * config.n_galaxies + j)
            key_mock, key_fit = jax.random.split(own)
            stars, truth = mock(key_mock, models[true], config.n_stars, config)
            ln_z = {}
            for n, m in models.items():
                ln_z[n] = ln_z_of(key_fit, m, stars)  # key reuse: common random numbers
            best = max(ln_z, key=lambda n: ln_z[n])
            rows.append({"true": true, "truth": truth, "best": best, "ln_z": ln_z})
            bar.update()
    bar.close()
    return rows


def ln_z_of(key, model: YieldModel, stars: cs.Stars) -> float:
    """Evidence of the stars; -inf if the set leaves some out or has no posterior."""
    key_infer, key_evidence = jax.random.split(key)
    try:
        guided = infer_guided(key_infer, model.networks, stars)
    except cs.InputError:
        return -np.inf
    if not guided.exact.is_used.all():
        return -np.inf
    return evidence_of(key_evidence, model.networks, guided).value


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


def brute_force(key, model: YieldModel, config: Config) -> dict:
    """Evidence by the exact method, and by prior draws on the simulator."""
    key_mock, key_fit, key_prior = jax.random.split(key, 3)
    stars, _ = mock(key_mock, model, config.n_brute, config)
    key_infer, key_evidence = jax.random.split(key_fit)
    guided = infer_guided(key_infer, model.networks, stars)
    ours = evidence_of(key_evidence, model.networks, guided)
    mean = np.asarray(guided.posterior.mean)
    root = np.linalg.cholesky(guided.posterior.covariance)
    units = np.linspace(-GRID_SIGMA, GRID_SIGMA, GRID_SIDE)
    grid = np.stack(np.meshgrid(units, units), axis=-1).reshape(-1, 2)
    theta = np.array(priors.sample(key_prior, cs.paper_prior(), config.n_prior))
    yields = needed_elements(cs.load_yields(model.name), model.abundances)
    total = []
    for at in tqdm(mean + grid @ root.T, desc="brute force", disable=config.quiet):
        theta[:, :2] = at
        made = simulate_blocks(jnp.asarray(theta), yields, cs.CLEAN, True)
        total.append(likelihood(made, stars).sum() + log_prior(at))
    cell = (units[1] - units[0]) ** 2 * abs(np.linalg.det(root))
    value = float(logsumexp(total) + np.log(cell))
    return {"set": model.name, "n": config.n_brute, "ln_z": ours.value,
            "error": ours.error, "brute": value}  # fmt: skip


def likelihood(made: np.ndarray, stars: cs.Stars) -> np.ndarray:
    """Log of the mean likelihood of each star over the simulations."""
    seen, each = stars.observed, []
    for values, errors, s in zip(stars.values, stars.errors, seen, strict=True):
        away = (made[:, s] - values[s]) / errors[s]
        constant = -np.log(errors[s]).sum() - 0.5 * s.sum() * np.log(2.0 * np.pi)
        gain = np.nan_to_num(-0.5 * (away**2).sum(axis=1), nan=-np.inf)
        each.append(logsumexp(gain) - np.log(len(gain)) + constant)
    return np.array(each)


def log_prior(at: np.ndarray) -> float:
    """Log density of the global parameters."""
    mean, sd = priors.moments(tuple(cs.paper_prior())[:2])
    return float(norm.logpdf(at, mean, sd).sum())


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
    """Four lists as Markdown."""
    rows = found["recovery"]
    lines = []
    if rows:
        n_right = sum(r["true"] == r["best"] for r in rows)
        lines.append(f"Largest ln Z for the true set: {n_right} of {len(rows)}.\n")
        for r in rows:
            values = ", ".join(f"{k} {v:.1f}" for k, v in r["ln_z"].items())
            lines.append(f"- {r['true']}: {values}")
    lines += [
        f"- {r['set']}, {r['n']} stars: ln Z {r['ln_z']:.2f} ± {r['error']:.2f}, by "
        f"brute force {r['brute']:.2f}"
        for r in found["brute"]
    ]
    lines += [
        f"- {r['set']}, {r['n']} stars: exact less NUTS {np.round(r['shift'], 3)} "
        f"sigma, widths {np.round(r['width'], 3)}, converged {r['converged']}"
        for r in found["nuts"]
    ]
    lines += [
        f"- {r['set']}, {r['abundances']} abundances, {r['galaxies']} galaxies of "
        f"{r['n']} stars: {r['within_68']:.0%} within 68 %, {r['within_95']:.0%} "
        f"within 95 %, mean pull {np.round(r['pull_mean'], 2)}, rms pull "
        f"{np.round(r['pull_rms'], 2)}, effective draws {r['effective_draws']:.0f}"
        for r in found["coverage"]
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
