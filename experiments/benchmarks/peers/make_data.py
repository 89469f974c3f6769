"""Make the noisy stars on which sbi is measured: train.npz and test.npz.

As the reference did: theta from the paper prior, abundances by the reference's own
emulator, 0.05 dex of noise. `CHEMSBI_DATA` names the folder with its weights:

    CHEMSBI_DATA=DATA python experiments/benchmarks/peers/make_data.py --out FOLDER
"""

import argparse
import os
from pathlib import Path

import jax
import numpy as np

from chemsbi_jax.constants import ABUNDANCES, ELEMENTS
from chemsbi_jax.priors import paper_prior, sample

NOISE = 0.05  # dex, of every abundance
KEPT = [i for i, element in enumerate(ELEMENTS) if element != "H"]  # ABUNDANCES


def reference_emulator(path: Path, theta: np.ndarray) -> np.ndarray:
    """Abundances (n, 8) in dex by the reference's 6-100-40-9 tanh network."""
    weights = np.load(path)
    hidden = theta
    for layer in ("l1", "l2"):
        hidden = np.tanh(
            hidden @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"]
        )
    return (hidden @ weights["l3.weight"].T + weights["l3.bias"])[:, KEPT]


def write_stars(path: Path, seed: int, n_star: int, weights: Path) -> None:
    """Write `theta` (n, 6), noisy `x` (n, 8) and noise-free `abundances` (n, 8)."""
    key_theta, key_noise = jax.random.split(jax.random.key(seed))
    theta = np.asarray(sample(key_theta, paper_prior(), n_star), dtype=np.float32)
    abundances = reference_emulator(weights, theta).astype(np.float32)
    noise = np.asarray(jax.random.normal(key_noise, (n_star, len(ABUNDANCES))))
    x = (abundances + NOISE * noise).astype(np.float32)
    np.savez(path, theta=theta, x=x, abundances=abundances)
    print(f"{path}: {n_star} stars, mean {x.mean(0).round(3)}, sd {x.std(0).round(3)}")


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--n-train", type=int, default=100_000)
    parser.add_argument("--n-test", type=int, default=5_000)
    parser.add_argument("--seed", type=int, default=0, help="test set: seed + 1")
    flags = parser.parse_args()
    if "CHEMSBI_DATA" not in os.environ:
        parser.error("set CHEMSBI_DATA to the folder that has reference/")
    weights = Path(os.environ["CHEMSBI_DATA"]) / "reference" / "reference_emulator.npz"
    flags.out.mkdir(parents=True, exist_ok=True)
    write_stars(flags.out / "train.npz", flags.seed, flags.n_train, weights)
    write_stars(flags.out / "test.npz", flags.seed + 1, flags.n_test, weights)


if __name__ == "__main__":
    main()
