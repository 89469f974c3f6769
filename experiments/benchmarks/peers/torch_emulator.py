"""Train the reference's emulator in a plain PyTorch loop and time it.

The reference recipe: 6-100-40-k, tanh, inputs as they are, mean squared error, Adam
at 1e-3, batches of 64 in one shuffled order, 20 epochs. Run by benchmark.py:

    PEER_PYTHON experiments/benchmarks/peers/torch_emulator.py --train train.npz \
        --valid valid.npz --out torch.json
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

HIDDEN = (100, 40)


def load(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Theta (n, 6) and abundances (n, k) in dex, without the models that have none."""
    data = np.load(path)
    theta, abundances = data["theta"], data["abundances"]
    usable = np.isfinite(abundances).all(axis=1) & (abundances != 0).any(axis=1)
    return tuple(
        torch.as_tensor(v[usable], dtype=torch.float32) for v in (theta, abundances)
    )


def make_network(n_in: int, n_out: int) -> nn.Module:
    """Two hidden layers with tanh."""
    first, second = HIDDEN
    return nn.Sequential(
        nn.Linear(n_in, first),
        nn.Tanh(),
        nn.Linear(first, second),
        nn.Tanh(),
        nn.Linear(second, n_out),
    )


def run_epoch(network, optimizer, theta, abundances, batch_size: int) -> float:
    """One pass over the training set; return the mean loss of the batches."""
    loss_fn = nn.MSELoss()
    losses = []
    for start in range(0, len(theta), batch_size):
        batch = slice(start, start + batch_size)
        optimizer.zero_grad()
        loss = loss_fn(network(theta[batch]), abundances[batch])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return float(np.mean(losses))


def errors(network, theta, abundances) -> dict:
    """Errors of the network in dex: rms of all and each, mean, median |error|."""
    with torch.no_grad():
        error = (network(theta) - abundances).double()
    return dict(
        rms_dex=error.square().mean().sqrt().item(),
        rms_dex_each=error.square().mean(0).sqrt().tolist(),
        mean_dex_each=error.mean(0).tolist(),
        median_abs_dex=error.abs().median().item(),
    )


def train(flags, report: dict) -> nn.Module:
    """Train, score each epoch with the clocks stopped, and save as it goes."""
    theta, abundances = load(flags.train)
    valid = load(flags.valid)
    also = load(flags.also) if flags.also else None
    order = torch.randperm(len(theta))
    theta, abundances = theta[order], abundances[order]
    network = make_network(theta.shape[1], abundances.shape[1])
    optimizer = torch.optim.Adam(network.parameters(), lr=flags.learning_rate)
    report |= dict(n_train=len(theta), n_valid=len(valid[0]), history=[])
    seconds = cpu_seconds = 0.0
    for epoch in range(1, flags.epochs + 1):
        wall, cpu = time.perf_counter(), time.process_time()
        loss = run_epoch(network, optimizer, theta, abundances, flags.batch_size)
        seconds += time.perf_counter() - wall
        cpu_seconds += time.process_time() - cpu
        entry = dict(epochs=epoch, seconds=seconds, cpu_seconds=cpu_seconds)
        entry |= dict(train_loss=loss, **errors(network, *valid))
        if also:
            entry["also"] = errors(network, *also)
        report["history"].append(entry)
        print(f"{epoch} {seconds:.1f} s, rms {entry['rms_dex']:.5f} dex", flush=True)
        flags.out.write_text(json.dumps(report, indent=1))
    return network


def main() -> None:
    """Train; write JSON and the weights beside it (.pt)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--valid", type=Path, required=True)
    parser.add_argument("--also", type=Path, help="a second set to be scored on")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    flags = parser.parse_args()
    torch.set_num_threads(flags.threads)
    torch.manual_seed(flags.seed)
    report = dict(versions=dict(torch=torch.__version__), done=False)
    report |= dict(threads=flags.threads, seed=flags.seed)
    network = train(flags, report)
    torch.save(network.state_dict(), flags.out.with_suffix(".pt"))
    flags.out.write_text(json.dumps(report | dict(done=True), indent=1))


if __name__ == "__main__":
    main()
