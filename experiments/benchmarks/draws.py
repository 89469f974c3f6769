"""Many stars at once: draws of every star, and the posterior of their galaxy."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common.clock import NOT_RUN, has_peer, measure, run_peer
from jax.tree_util import Partial
from jaxtyping import Array

import chemsbi_jax as cs
from benchmarks.npe import make_data
from chemsbi_jax import npe as networks
from chemsbi_jax import priors
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.npe.model import sample_latents, star_keys
from chemsbi_jax.npe.noise import SIGMA, add_noise
from chemsbi_jax.npe.training import new_npe

GOALS = {"shipped": 1.0, "reference": 0.5}  # s for 1000 x 1000 draws
GALAXY_GOAL = 5.0  # s for 1000 stars with the flow method


def run(config, out: Path, npe_report: dict | None) -> dict:
    """Times of both networks, warm; sbi's come from its own run."""
    prior = cs.paper_prior()
    shipped, weights = load(config, prior)
    nets = {
        "shipped": (shipped, weights),
        "reference": (untrained(prior, networks.MafFlow()), "reference, untrained"),
    }
    report = {"n_stars": config.n_stars, "n_draws": config.n_draws}
    stars = make_stars(shipped, prior, config)
    for name, (npe, weights) in nets.items():
        report[name] = {"weights": weights} | time_network(npe, stars, config.n_draws)
    report["sbi"] = peer = sbi_times(config, out, npe_report)
    if isinstance(peer, dict):
        best = min(peer["batched_seconds"], peer["loop_seconds"])
        for name in nets:
            ours = report[name]["sample_all_cores"]["seconds"]
            report[name]["times_sbi"] = best / ours
    return report


def load(config, prior: priors.Prior) -> tuple[networks.Npe, str]:
    """The named weights; an untrained network of that kind takes as long."""
    try:
        return cs.load_npe(config.weights), config.weights
    except WeightsError:
        flow = networks.SplineFlow()
        return untrained(prior, flow), f"default, untrained: no {config.weights} here"


def untrained(prior: priors.Prior, flow) -> networks.Npe:
    """A new network of this kind; its posterior is the prior."""
    return new_npe(jax.random.key(0), prior, networks.NpeConfig(flow=flow))


def make_stars(npe: networks.Npe, prior: priors.Prior, config) -> cs.Stars:
    """Prior stars by the shipped emulator, or whatever numbers without it."""
    key_theta, key_any, key_noise = jax.random.split(jax.random.key(config.seed), 3)
    n, sigma = config.n_stars, SIGMA
    try:
        theta = priors.sample(key_theta, prior, n)
        abundances = cs.emulate(theta, cs.load_emulator(config.weights))
    except WeightsError:
        abundances = jax.random.normal(key_any, (n, len(cs.ABUNDANCES)))
    values = np.asarray(add_noise(key_noise, jnp.nan_to_num(abundances), sigma))
    unknown = np.full(n, np.nan)
    return cs.Stars(
        values,
        np.full_like(values, sigma),
        np.ones(values.shape, bool),
        unknown,
        unknown,
        np.arange(n).astype(str),
    )


@eqx.filter_jit
def _sample_on_one(key, npe: networks.Npe, values: Array, n_draws: int) -> Array:
    latent = sample_latents(star_keys(key, len(values)), npe, values, n_draws)
    return priors.from_normal(npe.prior, latent)


def time_network(npe: networks.Npe, stars: cs.Stars, n_draws: int) -> dict:
    """Draws on one core and on all, and the galaxy by both methods on all."""
    key, values = jax.random.key(1), jnp.asarray(stars.values)
    forward = Partial(cs.emulate, emulator=cs.load_emulator("tng"))

    def infer(method: str):
        # key reuse: timings only
        return cs.infer_galaxy(key, npe, stars, method, forward=forward)  # key reuse:

    return {
        # key reuse: the same work is timed on one core and on all
        "sample_one_core": measure(lambda: _sample_on_one(key, npe, values, n_draws)),
        "sample_all_cores": measure(
            lambda: cs.sample_stars(key, npe, stars, n_draws)  # key reuse: as above
        ),
        "infer_flow": measure(lambda: infer("flow")),
        "infer_gaussian": measure(lambda: infer("gaussian")),
    }


def sbi_times(config, out: Path, npe_report: dict | None) -> dict | str:
    """Draws of sbi: of the network that the npe part trained, or of a new one."""
    if npe_report and npe_report["sbi"] != NOT_RUN:
        return npe_report["sbi"]["sampling"]
    if not has_peer(config.peer_python, "sbi"):
        return NOT_RUN
    folder = config.peer_data or make_data(config, out / "stars")
    flags = ["--train", folder / "train.npz", "--test", folder / "test.npz"]
    flags += ["--sample-stars", config.n_stars, "--sample-draws", config.n_draws]
    flags += ["--budgets", config.budgets[0]]
    script, file = "sbi_npe.py", out / "sbi_draws.json"
    return run_peer(config.peer_python, script, file, *flags)["sampling"]


def rows(report: dict) -> list[str]:
    """Lines of the report."""
    lines = [
        f"{report['n_stars']} stars x {report['n_draws']} draws; warm seconds "
        "(CPU seconds), and those of compilation",
        "",
        "| network | one core | all cores | galaxy, flow | galaxy, Gaussian | vs sbi |",
        "|---|---|---|---|---|---|",
    ]
    for name in GOALS:
        r = report[name]
        parts = ("sample_one_core", "sample_all_cores", "infer_flow", "infer_gaussian")
        cells = " | ".join(_cell(r[k]) for k in parts)
        sooner = f"{r['times_sbi']:.0f} times" if "times_sbi" in r else NOT_RUN
        lines.append(f"| {name} ({r['weights']}) | {cells} | {sooner} |")
    sbi = report["sbi"]
    text = NOT_RUN
    if sbi != NOT_RUN:
        text = f"{sbi['batched_seconds']:.1f} s batched, {sbi['loop_seconds']:.1f} s "
        text += "in a loop over stars"
    goals = ", ".join(f"{k} {v:g} s" for k, v in GOALS.items())
    goals = f"for 1000 x 1000 draws {goals}; galaxy {GALAXY_GOAL:g} s"
    return [*lines, "", f"- sbi: {text}", f"- goals on two idle cores: {goals}"]


def _cell(t: dict) -> str:
    return f"{t['seconds']:.2f} ({t['cpu_seconds']:.2f}), {t['compile_seconds']:.1f}"
