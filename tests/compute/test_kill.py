"""SIGKILL at random moments of a training: a rerun gives the same bits as no kill."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from chemsbi_jax import emulator as em
from chemsbi_jax import priors
from chemsbi_jax.compute.train import FitConfig
from chemsbi_jax.errors import WeightsError
from chemsbi_jax.results import write_summary
from helpers.paths import ROOT

N_EPOCHS = 120  # short ones, so that many kills fall into the writing of a state
FINAL = ["emulator.json", "emulator.safetensors", "losses.json"]
CHILD = """
import sys
sys.path.insert(0, sys.argv[1])
from compute.test_kill import train
train(sys.argv[2])
"""


def train(out, tell=lambda word: print(word, flush=True)):
    """What is killed: train a small emulator, save it; tell each step on stdout."""
    out = Path(out)
    theta = priors.sample(jax.random.key(1), priors.paper_prior(), 2000)
    mixing = np.random.default_rng(2).normal(0.0, 0.2, (6, 8))
    emulator, result = em.train_emulator(
        jax.random.key(3),
        theta,
        np.tanh(np.asarray(theta) @ mixing),
        priors.box(priors.wide_prior()),
        em.EmulatorConfig(hidden=(32, 32), fit=FitConfig(N_EPOCHS, 3)),
        checkpoint=out / "checkpoint",
        quiet=True,
        on_epoch=lambda i, *_: tell(i),
    )
    tell("saving")
    em.save_emulator(out, emulator, {"note": "made by a test"})
    write_summary(out / "losses.json", {"losses": result.held_out_loss})


def start(out):
    here = str(ROOT / "tests")
    command = [sys.executable, "-c", CHILD, here, str(out)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill_at(out, word, delay):
    """Whether SIGKILL came in time, `delay` seconds after the word."""
    with start(out) as process:
        for line in process.stdout:
            if line.strip() == word:
                time.sleep(delay)
                process.send_signal(signal.SIGKILL)
    assert process.returncode in (0, -signal.SIGKILL)
    return process.returncode != 0


def epochs_of(out):
    """The epochs that a run to the end has to do."""
    told = []
    train(out, told.append)
    assert told[-1] == "saving"
    return told[:-1]


def final(out):
    return {name: (out / name).read_bytes() for name in FINAL}


def assert_whole_or_absent(out, expected):
    """After a kill: files of the final content, or a clear refusal of what is there."""
    for name in FINAL:
        assert not (out / name).exists() or (out / name).read_bytes() == expected[name]
    try:
        em.load_emulator(out)
    except WeightsError:
        assert not all((out / name).exists() for name in FINAL[:2])


def survive(n_kills, tmp_path, seed):
    """Kill `n_kills` times, go on until done; returns how many kills hit a write."""
    choose = random.Random(seed)
    assert epochs_of(tmp_path / "whole") == list(range(1, N_EPOCHS + 1))
    expected, out = final(tmp_path / "whole"), tmp_path / "killed"
    done, killed, mid_write = 0, 0, 0
    step = max(1, 3 * N_EPOCHS // (2 * n_kills))  # the end is reached, with saves in it
    while killed < n_kills:
        done = min(done + choose.randint(1, step), N_EPOCHS + 1)
        word = str(done) if done <= N_EPOCHS else "saving"
        if kill_at(out, word, choose.uniform(0.0, 0.02)):
            killed += 1
            mid_write += bool(list(out.rglob(".*")))
            assert_whole_or_absent(out, expected)
        else:
            assert final(out) == expected
            shutil.rmtree(out)
            done = 0
        if out.exists():
            found = [p.stem[6:] for p in (out / "checkpoint").glob("epoch-*")]
            done = max(done, *map(int, found), 0)
    assert epochs_of(out)[:1] in ([], [done + 1])  # nothing that was saved is redone
    assert final(out) == expected
    assert [*(out / "checkpoint").glob(".*")] == []
    assert epochs_of(out) == []  # all is there already
    assert final(out) == expected
    return mid_write


# test_resume.py has one kill in the default selection
@pytest.mark.slow
def test_two_kills(tmp_path):
    survive(2, tmp_path, seed=0)


@pytest.mark.slow
def test_twenty_kills(tmp_path):
    n = survive(20, tmp_path, seed=1)
    print(f"{n} of 20 kills fell into the writing of a file")
