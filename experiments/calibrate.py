"""Is the posterior right? Ranks, coverage and TARP for single stars and for galaxies.

    python experiments/calibrate.py --out plots

Draws parameters from the prior, makes noisy stars, infers, and records where the truth
falls. Writes calibration_SOURCE.md, .metrics.json and .config.json, with the source of
the stars in their names, and figures with 99 % bands into the folder calibration.
"""

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from common.alarms import alarm_table, check_alarms
from jax.tree_util import Partial
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import diagnostics, plots, priors
from chemsbi_jax.cli.run import check_flags, run_script, write_record
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.emulator import Emulator
from chemsbi_jax.galaxy.amortised.batch import infer_galaxies
from chemsbi_jax.galaxy.any_yields import needed_elements
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.npe.measurements import AnyErrors
from chemsbi_jax.npe.model import features
from chemsbi_jax.npe.reading import as_table
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.files import whole_file
from chemsbi_jax.types import Stars

CONFIDENCE = 0.99
N_DRAWS = 1000
SHOWN = (0.5, 0.68, 0.95)
STARS_A_CALL = 20_000


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table and the figures."""
    weights: str = "tng"
    """Networks: tng, tng-any, tng-legacy, nkt13-k10-w7, or a folder."""
    n_single: int = 4000
    """Single stars; 0 leaves this part out."""
    n_galaxies: int = 300
    """Galaxies per number of stars; 0 leaves this part out."""
    n_stars: tuple[int, ...] = (1, 10, 100, 1000)
    """Stars per galaxy."""
    n_alarms: int = 0
    """Galaxies per number of stars (without 1) that test the misfit alarm."""
    methods: tuple[Literal["flow", "gaussian", "exact"], ...] = ("flow", "gaussian")
    """Ways to combine the stars; exact takes seconds a galaxy of 1000."""
    source: Literal["emulator", "simulator"] = "emulator"
    """What makes the stars."""
    yields: str = "tng"
    """Yield set, if the simulator is used."""
    stars: Literal["complete", "any", "apogee", "galah"] = "complete"
    """Measured abundances. complete: all, errors of 0.05 dex;
    apogee, galah: as in the survey; any: any gaps and errors."""
    dated: bool = False
    """Whether the stars have birth times, with errors."""
    seed: int = 1
    """Random seed."""
    quiet: bool = False
    """No progress bars."""


def main(config: Config) -> dict:
    """Run both parts; returns the verdicts."""
    check_flags(config, n_single=0, n_galaxies=0, n_stars=1, n_alarms=0)
    watch = Stopwatch(config.quiet)
    key_single, key_galaxies, key_alarms = jax.random.split(
        jax.random.key(config.seed), 3
    )
    npe, _ = load_networks(config.weights)
    model = star_maker(config)
    rows = []
    if config.n_single:
        with watch("single stars"):
            rows += check_single(key_single, npe, model, config)
    for i, n in enumerate(config.n_stars if config.n_galaxies else ()):
        with watch(f"galaxies of {n}"):
            key = jax.random.fold_in(key_galaxies, i)
            rows += check_galaxies(key, npe, model, n, config)
    alarms = [
        count_alarms(jax.random.fold_in(key_alarms, n), npe, model, n, config)
        for n in config.n_stars
        if n > 1 and config.n_alarms
    ]
    metrics = {"rows": rows, "alarms": alarms, "seconds": watch.seconds}
    parts = [table(rows)] if rows else []
    text = "\n".join(parts + ([alarm_table(alarms)] if alarms else []))
    name = f"calibration_{config.source}"
    with whole_file(config.out / f"{name}.md") as path:
        path.write_text(text)
    write_record(config.out, name, config, metrics)
    if not config.quiet:
        print(text)
    return metrics


def count_alarms(key, npe, model, n: int, config: Config) -> dict:
    """False alarms of the misfit test with `n` stars."""
    emulator = Partial(cs.emulate, emulator=emulator_of(config))

    def stars_of(key, theta) -> Stars:
        return make_stars(key, theta, model, config)[1]

    return check_alarms(key, npe, emulator, stars_of, config.n_alarms, n, config.quiet)


@cache
def emulator_of(config: Config) -> Emulator:
    """The emulator of the weights."""
    return cs.load_emulator(config.weights)


def star_maker(config: Config):
    """A function theta (n, 6) -> noise-free abundances (n, element)."""
    emulator = emulator_of(config)
    if config.source == "emulator":
        return jax.jit(Partial(cs.emulate, emulator=emulator))
    yields = needed_elements(cs.load_yields(config.yields), emulator.abundances)
    return lambda theta: simulate_blocks(theta, yields, cs.CLEAN, quiet=True)


def make_stars(key, theta, model, config: Config) -> tuple[np.ndarray, Stars]:
    """Noisy stars for theta (n, 6); rows without a star or a reading are left out."""
    names = emulator_of(config).abundances
    measure = AnyErrors(config.stars, config.dated, tuple(names))
    abundances, theta = jnp.asarray(model(theta)), jnp.asarray(theta)
    inputs = np.asarray(measure.observe(key, abundances, theta[:, -1]))
    good = np.isfinite(np.asarray(abundances)).all(axis=1)
    good &= (inputs[:, len(names) : -2] > 0.0).any(axis=1)
    return np.asarray(theta)[good], as_table(inputs[good], names)


def check_single(key, npe, model, config: Config) -> list[dict]:
    """All six parameters of single stars."""
    key_theta, key_noise, key_draws, key_tarp = jax.random.split(key, 4)
    theta = priors.sample(key_theta, npe.prior, config.n_single)
    theta, stars = make_stars(key_noise, theta, model, config)
    draws = np.asarray(cs.sample_stars(key_draws, npe, stars, N_DRAWS))
    # in latents, where all parameters have one scale
    truths, draws = (
        np.asarray(priors.to_normal(npe.prior, jnp.asarray(x))) for x in (theta, draws)
    )
    seen = np.asarray(features(npe, jnp.asarray(npe.reader.inputs(stars)))).T
    references = data_references(truths, seen)
    name = f"single stars, {config.source}"
    return [judge(key_tarp, name, truths, draws, references, PARAMETERS, config)]


def data_references(truths: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """TARP's reference points from the data: a linear guess, moved by one sigma.

    A reference that ignores the data cannot see a posterior that ignores them too.
    """
    half = len(truths) // 2
    columns = np.column_stack([seen, np.ones(len(seen))])
    fit = np.linalg.lstsq(columns[:half], truths[:half], rcond=None)[0]
    return columns @ fit + 1.0


def make_galaxies(keys, npe, model, n: int, config: Config):
    """Truths (galaxy, 2) from the prior, and the noisy stars of each galaxy."""
    key_truth, key_star = jax.random.split(keys[0])
    truths = priors.sample(key_truth, npe.prior, config.n_galaxies)[:, :N_GLOBAL]
    theta = priors.sample(key_star, npe.prior, config.n_galaxies * n)
    theta = theta.at[:, :N_GLOBAL].set(jnp.repeat(truths, n, axis=0))
    theta = np.asarray(theta).reshape(config.n_galaxies, n, -1)
    blocks = jnp.asarray(model(theta.reshape(-1, theta.shape[-1])))
    measured, keys = (
        iter(blocks.reshape(*theta.shape[:2], -1)),
        iter(jax.random.split(keys[1], config.n_galaxies)),
    )
    galaxies = [
        make_stars(next(keys), t, lambda _: next(measured), config)[1] for t in theta
    ]
    # a galaxy of a single star may have none
    kept = [i for i, stars in enumerate(galaxies) if len(stars.values)]
    return np.asarray(truths)[kept], [galaxies[i] for i in kept]


def check_galaxies(key, npe, model, n: int, config: Config) -> list[dict]:
    """The two global parameters given n stars each."""
    key_theta, key_noise, key_draws, key_tarp = jax.random.split(key, 4)
    truths, galaxies = make_galaxies((key_theta, key_noise), npe, model, n, config)
    emulator = Partial(cs.emulate, emulator=emulator_of(config))
    bar = tqdm(total=len(galaxies) * len(config.methods), disable=config.quiet)
    bar.set_description(f"{n} stars")
    draws = {m: [] for m in config.methods}
    for m in config.methods:
        size = 1 if m == "exact" else max(1, min(len(galaxies), STARS_A_CALL // n))
        for i in range(0, len(galaxies), size):
            seed, some = jax.random.fold_in(key_draws, i), galaxies[i : i + size]
            if m == "exact":
                (stars,) = some
                found = cs.infer_galaxy(seed, npe, stars, m, N_DRAWS, forward=emulator)
                draws[m].append(found.draws)
            else:
                draws[m].extend(infer_galaxies(seed, npe, some, m, N_DRAWS, emulator))
            bar.update(len(some))
    bar.close()
    return [
        judge(
            key_tarp,  # key reuse: the same reference points for all methods
            f"{n} stars, {m}, {config.source}",
            np.asarray(truths),
            np.array(draws[m]),
            None,
            PARAMETERS[:N_GLOBAL],
            config,
        )
        for m in config.methods
    ]


def judge(key, name, truths, draws, references, parameters, config: Config) -> dict:
    """Ranks, coverage and TARP of one set, with figures."""
    # each family holds together: 99 % for all of its parameters at once
    confidence = 1.0 - (1.0 - CONFIDENCE) / len(parameters)
    ranks = np.asarray(diagnostics.ranks(truths, draws))
    test = diagnostics.rank_test(ranks, N_DRAWS, confidence)
    central = diagnostics.central_coverage(truths, draws, confidence=confidence)
    joint = diagnostics.ellipsoid_coverage(
        truths[:, :N_GLOBAL], draws[..., :N_GLOBAL], confidence=CONFIDENCE
    )
    scale = truths.std(axis=0)
    tarp = diagnostics.tarp(key, truths, draws, references, scale)
    figures(name, ranks, joint, tarp, parameters, config)
    levels, measured = np.asarray(joint.levels), np.asarray(joint.measured)[:, 0]
    return {
        "set": name,
        "n": len(truths),
        "coverage": {
            str(s): round(float(np.interp(s, levels, measured)), 3) for s in SHOWN
        },
        "ranks_inside": np.asarray(test.inside).tolist(),
        "rank_p_values": np.asarray(test.p_value).round(4).tolist(),
        "central_inside": np.asarray(central.inside).tolist(),
        "coverage_inside": bool(np.all(joint.inside)),
        "tarp_inside": bool(np.all(tarp.inside)),
    }


def figures(name, ranks, joint, tarp, parameters, config: Config) -> None:
    """Three figures of one set."""
    stem = name.replace(",", "").replace(" ", "_")
    band = (np.asarray(joint.band.lower), np.asarray(joint.band.upper))
    tarp_band = (np.asarray(tarp.band.lower), np.asarray(tarp.band.upper))
    drawn = {
        "ranks": plots.plot_ranks(ranks, N_DRAWS, parameters),
        "coverage": plots.plot_coverage(
            np.asarray(joint.levels), np.asarray(joint.measured), band, ["joint"]
        ),
        "tarp": plots.plot_tarp(
            np.asarray(tarp.levels), np.asarray(tarp.measured), tarp_band
        ),
    }
    for kind, figure in drawn.items():
        plots.save_figure(figure, config.out / "calibration" / f"{stem}_{kind}.png")


def table(rows: list[dict]) -> str:
    """Markdown for the README."""
    lines = [
        "| set | n | 50 % | 68 % | 95 % | ranks | marginals | joint | TARP |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    verdict = {True: "inside", False: "**outside**"}
    for r in rows:
        c = [f"{100 * r['coverage'][str(s)]:.1f}" for s in SHOWN]
        counts = [
            f"{sum(r[k])} of {len(r[k])} inside"
            for k in ("ranks_inside", "central_inside")
        ]
        cells = [r["set"], str(r["n"]), *c, *counts]
        cells += [verdict[r["coverage_inside"]], verdict[r["tarp_inside"]]]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
