"""The posterior network against sbi's: held-out log density at equal times.

Both see the same simulations and are scored on the same noisy stars, with the clocks
stopped. Our times include compilation; sbi's leave out its imports.
"""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from common.clock import (
    NOT_RUN,
    PEERS,
    Clock,
    first_time,
    has_peer,
    ratio,
    run_peer,
)

import chemsbi_jax as cs
from chemsbi_jax import npe as networks
from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig

CALIBRATION = FitConfig(n_epochs=3, steps_per_epoch=50)  # measures the time of a step
EPOCH = 200  # steps between two looks at the clock
SPARE = 0.9  # share of a budget that is planned: the machine may slow down
GOAL = 50  # ours must beat sbi for good in at most this part of its time


def run(config, out: Path) -> dict:
    """Train ours and sbi's for each budget, and ours until it beats sbi for good."""
    folder = config.peer_data or make_data(config, out / "stars")
    train_set, test = (dict(np.load(folder / f"{k}.npz")) for k in ("train", "test"))
    recipe = replace(
        networks.NpeConfig(),
        batch_size=config.npe_batch_size,
        learning_rate=config.npe_learning_rate,
    )
    speed = calibrate(train_set, test, recipe)
    report = {"n_train": len(train_set["x"]), "calibration": speed, "ours": []}
    for budget in config.budgets:
        planned = replace(recipe, fit=fit_into(budget, speed))
        report["ours"].append(
            {"budget": budget} | train(train_set, test, planned, budget)
        )
    report["sbi"] = run_sbi(config, folder, out)
    if config.sbi_converged:
        converged = json.loads(config.sbi_converged.read_text())
        report["beat"] = beat(train_set, test, recipe, config, converged)
    return report


def make_data(config, folder: Path) -> Path:
    """The reference emulator's stars, for both sides.

    Raises:
        OSError: the reference's weights are not on the machine.
    """
    if not (folder / "test.npz").exists():
        if "CHEMSBI_DATA" not in os.environ:
            raise OSError(
                "Set CHEMSBI_DATA to a folder with reference/, for the stars."
            )
        sizes = ["--n-train", str(config.n_train), "--n-test", str(config.n_test)]
        command = [sys.executable, PEERS / "make_data.py", "--out", folder, *sizes]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return folder


def train(train_set: dict, test: dict, recipe, budget: float = np.inf) -> dict:
    """Train ours from scratch; its time and its score, in the end and on the way."""
    clock, prior, on_the_way = Clock(), cs.paper_prior(), []

    def on_epoch(epoch: int, npe: networks.Npe, _: float) -> bool:
        on_the_way.append((epoch, clock.read(), npe))
        return clock.read().seconds > budget

    latent = eqx.filter_jit(priors.to_normal)(prior, jnp.asarray(train_set["theta"]))
    stars = networks.StoredStars(latent, jnp.asarray(train_set["abundances"]))
    npe, _ = networks.train_npe(
        jax.random.key(0), stars, prior, recipe, quiet=True, on_epoch=on_epoch
    )
    time = clock.read()
    steps = recipe.fit.steps_per_epoch
    curve = [
        {"steps": epoch * steps, "heldout_log_prob": score(npe, test)} | t._asdict()
        for epoch, t, npe in on_the_way
    ]
    done = {"planned_steps": recipe.fit.n_epochs * steps, "curve": curve}
    return time._asdict() | {"heldout_log_prob": score(npe, test)} | done


@eqx.filter_jit
def _log_prob(npe: networks.Npe, theta, values):
    return networks.log_prob(npe, theta, values).mean()


def score(npe: networks.Npe, test: dict) -> float:
    """Mean log q(theta | x) over the test stars, in nats, as the peer's."""
    return float(_log_prob(npe, test["theta"], test["x"]))


def calibrate(train_set: dict, test: dict, recipe) -> dict:
    """Seconds a step, and seconds before the first one: mostly compilation."""
    curve = train(train_set, test, replace(recipe, fit=CALIBRATION))["curve"]
    first, last = curve[0], curve[-1]
    numbers = {}
    for k in ("seconds", "cpu_seconds"):
        step = (last[k] - first[k]) / (last["steps"] - first["steps"])
        numbers |= {f"{k}_a_step": step}
        numbers |= {f"{k}_to_start": max(0.0, first[k] - step * first["steps"])}
    return numbers


def fit_into(budget: float, speed: dict) -> FitConfig:
    """The longest schedule that should end within the budget."""
    left = SPARE * budget - speed["seconds_to_start"]
    n_epochs = max(1, int(left / (EPOCH * speed["seconds_a_step"])))
    return FitConfig(n_epochs=n_epochs, steps_per_epoch=EPOCH)


def beat(train_set: dict, test: dict, recipe, config, converged: dict) -> dict:
    """How soon a short schedule of ours is better than sbi at its convergence."""
    goal = max(converged["history"], key=lambda entry: entry["heldout_log_prob"])
    short = replace(
        recipe,
        n_held_out=min(recipe.n_held_out, 1000),
        learning_rate=config.beat_learning_rate,
        fit=FitConfig(config.beat_epochs, config.beat_steps),
    )
    ours = train(train_set, test, short)
    sooner = first_time(
        ours["curve"], "heldout_log_prob", lambda x: x > goal["heldout_log_prob"]
    )
    peer = converged["history"][-1]  # sbi stops after epochs without gain
    return {"goal": goal["heldout_log_prob"], "sbi": peer, "ours": ours} | {
        "first_better": sooner,
        "times_sooner": ratio(sooner, peer),
    }


def run_sbi(config, folder: Path, out: Path) -> dict | str:
    """The NPE of sbi with the same budgets, in its own process."""
    if not has_peer(config.peer_python, "sbi"):
        return NOT_RUN
    files = ["--train", folder / "train.npz", "--test", folder / "test.npz"]
    sizes = ["--sample-stars", config.n_stars, "--sample-draws", config.n_draws]
    budgets = ["--budgets", *config.budgets]
    return run_peer(
        config.peer_python, "sbi_npe.py", out / "sbi.json", *files, *sizes, *budgets
    )


def rows(report: dict) -> list[str]:
    """Lines of the report."""
    speed, sbi = report["calibration"], report["sbi"]
    lines = [
        f"- ours starts after {speed['seconds_to_start']:.1f} s "
        f"({speed['cpu_seconds_to_start']:.1f} CPU s, mostly compilation; within the "
        f"budgets); a step takes {1e3 * speed['seconds_a_step']:.1f} ms",
        "",
        "| budget [s] | ours [nats] | wall, CPU s | sbi [nats] | wall, CPU s |",
        "|---|---|---|---|---|",
    ]
    for i, ours in enumerate(report["ours"]):
        peer = NOT_RUN if sbi == NOT_RUN else _cell(sbi["budgets"][i])
        peer = f"{NOT_RUN} | " if peer == NOT_RUN else peer
        lines.append(f"| {ours['budget']:g} | {_cell(ours)} | {peer} |")
    if "beat" in report:
        lines += ["", *_beat_rows(report["beat"])]
    return lines


def _cell(entry: dict) -> str:
    times = f"{entry['seconds']:.1f}, {entry['cpu_seconds']:.1f}"
    return f"{entry['heldout_log_prob']:.3f} | {times}"


def _beat_rows(beat: dict) -> list[str]:
    sbi, sooner, end = beat["sbi"], beat["first_better"], beat["ours"]
    lines = [
        f"- sbi converged (an earlier run): {beat['goal']:.3f} nats after "
        f"{sbi['seconds']:.0f} s ({sbi['cpu_seconds']:.0f} CPU s)"
    ]
    if sooner is None:
        last = f"{end['heldout_log_prob']:.3f} nats at the end"
        return [*lines, f"- ours: not better than sbi, {last}"]
    times = beat["times_sooner"]
    goal = "reached" if times["seconds"] >= GOAL else "not reached"
    return [
        *lines,
        f"- ours: {sooner['heldout_log_prob']:.3f} nats in {sooner['seconds']:.1f} s "
        f"({sooner['cpu_seconds']:.1f} CPU s): {times['seconds']:.0f} times sooner "
        f"({times['cpu_seconds']:.0f} times in CPU seconds; goal {GOAL}: {goal}); "
        f"{end['heldout_log_prob']:.3f} nats at the end, after {end['seconds']:.1f} s",
    ]
