"""Train sbi's NPE and time it: a masked autoregressive flow, 8 hidden, 4 transforms.

Run by benchmark.py with a Python that has sbi 0.27 and torch. All settings of `train`
are sbi's defaults. Two private methods of its trainer are extended: `_get_losses`,
which runs for each batch, and `_converged`, which runs after each epoch. The clocks
stop while held-out stars are scored. With `--budgets` (seconds) training ends after the
last one, without it where sbi stops by itself:

    PEER_PYTHON experiments/benchmarks/peers/sbi_npe.py --train train.npz \
        --test test.npz --out sbi.json --budgets 30 60 300
"""

import argparse
import json
import math
import os
import tempfile
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import sbi
import torch
from sbi.inference import NPE
from sbi.neural_nets import posterior_nn
from sbi.utils import MultipleIndependent
from sbi.utils.tracking import TensorBoardTracker
from torch.distributions import Normal, Uniform
from torch.utils.tensorboard import SummaryWriter

# The reference's prior for sbi: Gaussians not truncated (it only rejects draws)
GAUSSIANS = ((-2.3, 0.3), (-2.89, 0.3), (-0.3, 0.3), (0.55, 0.1), (0.5, 0.1))
BIRTH_TIME = (2.0, 12.8)  # Gyr
# Support of the prior that drew the stars, for the leakage of the flow
LOW = torch.tensor([-math.inf, -math.inf, -math.inf, 0.294, 0.0, BIRTH_TIME[0]])
HIGH = torch.tensor([math.inf, math.inf, math.inf, math.inf, 1.0, BIRTH_TIME[1]])
N_LEAKAGE = 200  # draws a star


class OutOfTime(Exception):
    """The last budget is spent."""


class Stopwatch:
    """Wall-clock and process seconds, all threads; stopped inside `with`."""

    def __init__(self):
        self.started = np.array([time.perf_counter(), time.process_time()])

    def read(self) -> tuple[float, float]:
        """Return seconds and CPU seconds so far."""
        now = np.array([time.perf_counter(), time.process_time()])
        return tuple((now - self.started).tolist())

    def __enter__(self):
        self.paused = np.array(self.read())

    def __exit__(self, *_):
        self.started += np.array(self.read()) - self.paused


class WatchedNPE(NPE):
    """sbi's trainer, scored on held-out stars at each budget and after each epoch."""

    def watch(self, report: dict, out: Path, test: tuple, budgets: list[float]) -> None:
        """Start the clock and set the record's file; called just before `train`."""
        self.report, self.out, self.test = report, out, test
        self.budgets = sorted(budgets)
        self.stopwatch = Stopwatch()

    def _get_losses(self, batch, loss_args):
        if self.budgets and self.stopwatch.read()[0] >= self.budgets[0]:
            with self.stopwatch:
                self.record("budgets", budget=self.budgets.pop(0))
            if not self.budgets:
                raise OutOfTime
        return super()._get_losses(batch, loss_args)

    def _converged(self, epoch, stop_after_epochs):
        converged = super()._converged(epoch, stop_after_epochs)
        with self.stopwatch:
            if epoch > 0:
                self.record("history", validation_log_prob=-self._val_loss)
        return converged

    def record(self, where: str, **more) -> None:
        """Score the weights now and those best on sbi's validation set, and save."""
        best_net = deepcopy(self._neural_net)
        best_net.load_state_dict(self._best_model_state_dict)
        now, best = score(self._neural_net, *self.test), score(best_net, *self.test)
        seconds, cpu_seconds = self.stopwatch.read()
        entry = dict(
            seconds=seconds,
            cpu_seconds=cpu_seconds,
            epochs=self.epoch,  # complete ones
            # inside an epoch sbi has not validated yet: take what favours it
            heldout_log_prob=max(now, best) if where == "budgets" else best,
            heldout_log_prob_now=now,
        )
        self.report[where].append(entry | more)
        print(json.dumps(self.report[where][-1]), flush=True)
        torch.save(best_net.state_dict(), self.out.with_suffix(".pt"))
        write(self.out, self.report)


def score(net, theta: torch.Tensor, x: torch.Tensor) -> float:
    """Mean log q(theta | x) over the stars, in nats."""
    was_training = net.training
    net.train(False)
    with torch.no_grad():
        log_prob = net.log_prob(theta[None], condition=x).mean().item()
    net.train(was_training)
    return log_prob


def write(path: Path, report: dict) -> None:
    """Write JSON so that a reader never sees half a file."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1))
    os.replace(partial, path)


def log_acceptance(net, x: torch.Tensor) -> float:
    """Mean log of the flow's mass inside the prior; negative, 0 = no leakage."""
    with torch.no_grad():
        draws = net.sample((N_LEAKAGE,), condition=x)  # (draw, star, param)
    inside = ((draws > LOW) & (draws < HIGH)).all(-1).float().mean(0)
    return inside.clamp(min=1 / N_LEAKAGE).log().mean().item()


def time_sampling(posterior, x: torch.Tensor, n_draw: int, n_loop: int) -> dict:
    """Seconds for `n_draw` draws of each star, batched and in a loop over stars."""
    n_star, n_loop = len(x), min(n_loop, len(x))
    start = time.perf_counter()
    posterior.sample_batched((n_draw,), x=x, show_progress_bars=False)
    batched = time.perf_counter() - start
    start = time.perf_counter()
    for star in x[:n_loop]:
        posterior.sample((n_draw,), x=star, show_progress_bars=False)
    loop = time.perf_counter() - start
    return dict(
        n_stars=n_star,
        n_draws=n_draw,
        batched_seconds=batched,
        loop_stars_timed=n_loop,
        loop_seconds=loop * n_star / n_loop,
        loop_extrapolated=n_loop < n_star,
    )


def load(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Theta (n, 6) and noisy abundances (n, 8)."""
    data = np.load(path)
    return tuple(torch.as_tensor(data[k], dtype=torch.float32) for k in ("theta", "x"))


def train(flags, report: dict, logs: str):
    """Train until sbi stops or the budgets are spent; return the posterior."""
    prior = [Normal(torch.tensor([m]), torch.tensor([s])) for m, s in GAUSSIANS]
    prior.append(Uniform(*(torch.tensor([t]) for t in BIRTH_TIME)))
    trainer = WatchedNPE(
        MultipleIndependent(prior, validate_args=False),
        posterior_nn(model="maf", hidden_features=8, num_transforms=4),
        tracker=TensorBoardTracker(SummaryWriter(logs)),
        show_progress_bars=False,
    )
    theta, x = load(flags.train)
    trainer.watch(report, flags.out, load(flags.test), flags.budgets)
    try:
        trainer.append_simulations(theta, x).train(max_num_epochs=flags.max_epochs)
        report["converged"] = trainer.epoch <= flags.max_epochs
    except OutOfTime:
        trainer._neural_net.load_state_dict(trainer._best_model_state_dict)
    trainer._neural_net.train(False)
    return trainer.build_posterior(trainer._neural_net)


def main() -> None:
    """Train, time the draws, write JSON and the best weights beside it (.pt)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--budgets", type=float, nargs="*", default=[])
    parser.add_argument("--max-epochs", type=int, default=2**31 - 1)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--sample-stars", type=int, default=1000, help="0 = skip")
    parser.add_argument("--sample-draws", type=int, default=1000)
    parser.add_argument("--loop-stars", type=int, default=100)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    torch.manual_seed(flags.seed)
    versions = dict(sbi=sbi.__version__, torch=torch.__version__)
    report = dict(versions=versions, threads=flags.threads, seed=flags.seed)
    report |= dict(converged=False, done=False, budgets=[], history=[])
    with tempfile.TemporaryDirectory() as logs:  # sbi would write where it is called
        posterior = train(flags, report, logs)
    _, x = load(flags.test)
    report["log_acceptance"] = log_acceptance(posterior.posterior_estimator, x)
    if flags.sample_stars:
        stars = x[: flags.sample_stars]
        report["sampling"] = time_sampling(
            posterior, stars, flags.sample_draws, flags.loop_stars
        )
    write(flags.out, report | dict(done=True))


if __name__ == "__main__":
    main()
