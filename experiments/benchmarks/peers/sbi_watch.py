"""sbi's trainer with a stopwatch: scored on held-out stars while it trains.

Two private methods of sbi 0.27 are extended: `_get_losses`, called for each batch, and
`_converged`, called after each epoch. The training itself is sbi's own.
"""

import json
import os
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from sbi.inference import NPE


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
