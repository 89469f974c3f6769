"""The emulator against the reference recipe in PyTorch: error against time."""

from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from common.clock import NOT_RUN, Clock, first_time, has_peer, ratio, run_peer

import chemsbi_jax as cs
from chemsbi_jax import emulator as em
from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.files import whole_file

GOAL = 10  # times sooner
SETS = {"paper": "paper prior", "wide": "wide prior"}


def run(config, out: Path) -> dict:
    """Train both on the same simulations; scored on the same two test sets."""
    files = make_data(config, out / "simulations")
    train_set, paper, wide = (_finite(dict(np.load(f))) for f in files.values())
    recipe = replace(
        em.EmulatorConfig(),
        hidden=config.emulator_hidden,
        batch_size=config.emulator_batch_size,
        learning_rate=config.emulator_learning_rate,
        fit=FitConfig(config.emulator_epochs, config.emulator_steps),
    )
    ours = train(train_set, {"paper": paper, "wide": wide}, recipe)
    report = {"n_train": len(train_set["theta"]), "ours": ours, "torch": NOT_RUN}
    if not has_peer(config.peer_python, "torch"):
        return report
    flags = ["--epochs", config.peer_epochs, "--train", files["train"]]
    flags += ["--valid", files["paper"], "--also", files["wide"]]
    torch = run_peer(
        config.peer_python, "torch_emulator.py", out / "torch.json", *flags
    )
    history = torch["history"]
    for entry in history:
        entry |= {"rms_paper": entry["rms_dex"], "rms_wide": entry["also"]["rms_dex"]}
    return report | {"torch": history, "sooner": compare(ours["curve"], history)}


def compare(ours: list[dict], peer: list[dict]) -> dict:
    """When each reached the peer's best error, on either test set."""
    report = {}
    for name in SETS:
        column = f"rms_{name}"
        best = min(peer, key=lambda entry: entry[column])
        first = first_time(ours, column, lambda x, goal=best[column]: x <= goal)
        report[name] = {"goal": best[column], "torch": best, "ours": first}
        report[name]["times_sooner"] = ratio(first, best)
    return report


def make_data(config, folder: Path) -> dict[str, Path]:
    """Our simulator's stars; made once, and kept in the output folder."""
    keys = jax.random.split(jax.random.key(config.seed), 3)
    sets = {
        "train": (cs.wide_prior(), config.n_simulations),
        "paper": (cs.paper_prior(), config.n_valid),
        "wide": (cs.wide_prior(), config.n_valid),
    }
    files = {}
    for key, (name, (prior, n)) in zip(keys, sets.items(), strict=True):
        files[name] = folder / f"{name}_{config.yields}_{n}_{config.seed}.npz"
        if not files[name].exists():
            theta = priors.sample(key, prior, n)
            yields = cs.load_yields(config.yields)
            abundances = simulate_blocks(theta, yields, cs.CLEAN, quiet=True)
            with whole_file(files[name]) as path:
                np.savez(path, theta=np.asarray(theta), abundances=abundances)
    return files


def train(train_set: dict, tests: dict, recipe: em.EmulatorConfig) -> dict:
    """Train ours; its errors at the end of every epoch, scored afterwards."""
    clock, on_the_way = Clock(), []

    def on_epoch(epoch: int, emulator: em.Emulator, _: float) -> None:
        on_the_way.append((epoch, clock.read(), emulator))

    box = priors.box(cs.wide_prior())
    arrays = train_set["theta"], train_set["abundances"]
    em.train_emulator(
        jax.random.key(0), *arrays, box, recipe, quiet=True, on_epoch=on_epoch
    )
    time = clock.read()
    steps = recipe.fit.steps_per_epoch
    curve = []
    for epoch, t, emulator in on_the_way:
        errors = {f"rms_{k}": rms(emulator, test) for k, test in tests.items()}
        curve.append({"steps": epoch * steps} | t._asdict() | errors)
    return time._asdict() | {"hidden": list(recipe.hidden), "curve": curve}


def rms(emulator: em.Emulator, test: dict) -> float:
    """Root of the mean squared error of all abundances [dex], as the peer's."""
    error = np.asarray(cs.emulate(test["theta"], emulator)) - test["abundances"]
    return float(np.sqrt(np.mean(np.square(error, dtype=float))))


def _finite(stars: dict) -> dict:
    good = np.isfinite(stars["abundances"]).all(axis=1)
    return {k: v[good] for k, v in stars.items()}


def rows(report: dict) -> list[str]:
    """Lines of the report."""
    ours = report["ours"]["curve"]
    lines = ["| | wall s | CPU s | rms, paper prior [dex] | rms, wide prior [dex] |"]
    lines += ["|---|---|---|---|---|"]
    lines += [_row("ours", e) for e in _few(ours)]
    if report["torch"] == NOT_RUN:
        return [*lines, f"| PyTorch | {NOT_RUN} | | | |"]
    lines += [_row("PyTorch", e) for e in _few(report["torch"])] + [""]
    for name, entry in report["sooner"].items():
        lines.append(f"- {SETS[name]}: {_sooner(entry)}")
    return lines


def _sooner(entry: dict) -> str:
    goal, torch, ours = entry["goal"], entry["torch"], entry["ours"]
    text = f"PyTorch's best is {goal:.5f} dex after {torch['seconds']:.1f} s"
    if ours is None:
        return f"{text}; ours did not get there"
    times = entry["times_sooner"]
    is_reached = "reached" if times["seconds"] >= GOAL else "not reached"
    return (
        f"{text}, ours was there after {ours['seconds']:.1f} s, compilation included: "
        f"{times['seconds']:.1f} times sooner ({times['cpu_seconds']:.1f} times in CPU "
        f"seconds; goal {GOAL}: {is_reached})"
    )


def _few(curve: list[dict]) -> list[dict]:
    """At most six entries, the first and the last among them."""
    places = np.unique(np.linspace(0, len(curve) - 1, 6).round().astype(int))
    return [curve[i] for i in places]


def _row(name: str, entry: dict) -> str:
    times = f"{entry['seconds']:.1f} | {entry['cpu_seconds']:.1f}"
    return f"| {name} | {times} | {entry['rms_paper']:.5f} | {entry['rms_wide']:.5f} |"
