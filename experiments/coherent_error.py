"""Bias of the product of N single-star posteriors, by posterior network and emulator.

    python experiments/coherent_error.py --weights tng
    python experiments/coherent_error.py --weights tng-any --stars galah --dated

An error that all stars of a galaxy share adds up N times, while the width shrinks with
sqrt(N). It is measured at a few truths with a hundred thousand stars each
(`diagnostics.score`). With the yield tables on the machine the same stars are also made
by the exact simulator: the difference is the emulator's share. With --n-galaxy 1000 the
method `flow`, which takes the mean error out, is compared with `exact` on a galaxy at
each truth, and so is the plain product.
Writes coherent_error_WEIGHTS.md and .json, with a row for each kind of stars so far.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

import chemsbi_jax as cs
from chemsbi_jax import npe as networks
from chemsbi_jax import priors
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import N_GLOBAL
from chemsbi_jax.diagnostics import ScoreTest, score_test
from chemsbi_jax.errors import DatasetError, InputError
from chemsbi_jax.galaxy.networks import load_networks
from chemsbi_jax.npe.reading import AnyStarReader, as_table
from chemsbi_jax.results.stopwatch import Stopwatch
from chemsbi_jax.simulator.blocks import simulate_blocks
from chemsbi_jax.storage.files import whole_files
from chemsbi_jax.storage.weights import load_spec, weights_folder

FIXED = ((-2.1, -2.6), (-2.6, -3.3))  # along the degeneracy; the others from the prior
BLOCK = 8192  # stars at a time
SHOWN = (10, 200, 1000)  # stars of a galaxy
APART = 0.05  # prior widths, of the differences: five widths of a thousand stars


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table."""
    weights: str = "tng"
    """Networks: tng, tng-any, or a folder."""
    stars: Literal["complete", "any", "apogee", "galah"] = "complete"
    """Measured abundances. complete: all, errors of 0.05 dex;
    apogee, galah: as in the survey; any: any gaps and errors."""
    dated: bool = False
    """Whether the stars have birth times, with errors."""
    n_truths: int = 12
    """Number of pairs (alpha_imf, log10_n_ia):
    two fixed ones, then draws from the prior."""
    n_stars: int = 131_072
    """Stars that the emulator makes, at each pair."""
    n_simulated: int = 16_384
    """Stars that the simulator makes as well, at each pair; 0: none."""
    n_galaxy: int = 0
    """Stars of a galaxy at each truth that `exact` checks; 0 leaves this part out."""
    yields: str = "tng"
    """Yield set, if the simulator is used."""
    seed: int = 0
    """Random seed."""
    quiet: bool = False
    """No progress bar."""


def main(config: Config) -> dict:
    """Measure at all truths; returns the row of these stars."""
    check_flags(config, n_truths=1, n_stars=2, n_simulated=0, n_galaxy=0)
    npe, emulator = load_networks(config.weights)
    if not isinstance(npe.reader, AnyStarReader) and (
        config.dated or config.stars != "complete"
    ):
        raise InputError(
            f"--weights {config.weights} reads complete stars without birth times "
            f"only; got --stars {config.stars}{' --dated' if config.dated else ''}. "
            "Use --weights tng-any, or leave out --stars and --dated."
        )
    simulator = load_simulator(config)
    watch = Stopwatch(config.quiet)
    key_truth, key_stars = jax.random.split(jax.random.key(config.seed))
    fixed = jnp.asarray(FIXED)
    drawn = priors.sample(key_truth, npe.prior, config.n_truths)[:, :N_GLOBAL]
    truths = jnp.concatenate([fixed, drawn])[: config.n_truths]
    measure = networks.AnyErrors(config.stars, config.dated, npe.reader.abundances)
    tests, shares, galaxies = [], [], []
    with watch("scores"):
        for i, truth in enumerate(tqdm(truths, disable=config.quiet)):
            key_i = jax.random.fold_in(key_stars, i)
            key_scores, key_galaxy, key_infer = jax.random.split(key_i, 3)
            of_emulator = scores(
                key_scores, npe, emulator, truth, measure, config.n_stars
            )
            tests.append(score_test(*finite(*of_emulator)))
            if simulator:
                n = min(config.n_simulated, config.n_stars)
                other = scores(
                    key_scores,  # key reuse: the same stars by the simulator
                    npe,
                    simulator,
                    truth,
                    measure,
                    n,
                )
                shares.append(share(of_emulator, other))
            if config.n_galaxy:
                n = config.n_galaxy
                stars = make_galaxy(key_galaxy, npe, emulator, truth, measure, n)
                galaxies.append(compare_with_exact(key_infer, npe, emulator, stars))
    row = (
        describe(tests, shares)
        | describe_galaxies(galaxies, config.n_galaxy)
        | {
            "stars": config.stars + (", dated" if config.dated else ""),
            "truths": truths,
            "seconds": watch.seconds,
            "n_stars": config.n_stars,
            "seed": config.seed,
            "weights_sha256": load_spec(weights_folder(config.weights), "npe")[
                "sha256"
            ],
        }
    )
    rows = keep(row, config)
    if not config.quiet:
        print(table(rows))
    return row


def load_simulator(config: Config):
    """The exact model, or None where its tables are missing (which is printed)."""
    if not config.n_simulated:
        return None
    try:
        yields = cs.load_yields(config.yields)
    except DatasetError as error:
        print(f"without the emulator's share: {error}", file=sys.stderr)
        return None
    return lambda theta: jnp.asarray(
        simulate_blocks(np.asarray(theta), yields, cs.CLEAN, quiet=True)
    )


def scores(key, npe, forward, truth, measure, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores and curvatures of stars at one truth; NaN where there is no star."""
    latent = priors.to_normal(tuple(npe.prior)[:N_GLOBAL], truth)
    parts = []
    for block in range(-(-n // BLOCK)):
        key_theta, key_noise = jax.random.split(jax.random.fold_in(key, block))
        theta = priors.sample(key_theta, npe.prior, BLOCK)
        theta = theta.at[:, :N_GLOBAL].set(truth)
        clean = forward(theta)
        inputs = measure.observe(key_noise, clean, theta[:, -1])
        inputs = inputs[:, : len(npe.reader.blank())]
        good = jnp.isfinite(inputs).all(axis=1, keepdims=True)
        safe = jnp.where(good, inputs, npe.reader.blank())
        found = slope_and_curvature(npe, latent, safe)
        parts.append([jnp.where(good.reshape(-1, *(1,) * (x.ndim - 1)), x, jnp.nan)
                      for x in found])  # fmt: skip
    slope, curvature = (np.concatenate(x)[:n] for x in zip(*parts, strict=True))
    return slope.astype(float), curvature.astype(float)


@eqx.filter_jit
def slope_and_curvature(npe, latent, inputs) -> tuple[jax.Array, jax.Array]:
    """Of each star's log likelihood; the curvature from differences of the slope.

    A spline of ReLU networks has kinks: second derivatives at a place do not see them.
    """

    def at(place: jax.Array) -> jax.Array:
        each = jnp.broadcast_to(place, (len(inputs), N_GLOBAL))
        return networks.global_slope(npe, each, inputs)

    steps = APART * jnp.eye(N_GLOBAL)
    change = [(at(latent - s) - at(latent + s)) / (2.0 * APART) for s in steps]
    return at(latent), jnp.stack(change, axis=-1)


def make_galaxy(key, npe, forward, truth, measure, n: int) -> cs.Stars:
    """Noisy stars of the emulator at one truth; fewer where it has no star."""
    key_theta, key_noise = jax.random.split(key)
    theta = priors.sample(key_theta, npe.prior, n).at[:, :N_GLOBAL].set(truth)
    inputs = np.asarray(measure.observe(key_noise, forward(theta), theta[:, -1]))
    return as_table(inputs[np.isfinite(inputs).all(axis=1)], measure.abundances)


def compare_with_exact(key, npe, forward, stars: cs.Stars) -> list[list[float]]:
    """Shifts of the plain product and of `flow`, in sigma of `exact`."""
    key_exact, key_flow = jax.random.split(key)
    exact = cs.infer_galaxy(key_exact, npe, stars, "exact", forward=forward)
    plain = cs.infer_galaxy(key_flow, npe, stars)
    # key reuse: common random numbers
    flow = cs.infer_galaxy(key_flow, npe, stars, forward=forward)  # key reuse: as said
    sd = np.sqrt(np.diag(exact.covariance))
    return [((np.asarray(g.mean) - exact.mean) / sd).tolist() for g in (plain, flow)]


def describe_galaxies(shifts: list, n: int) -> dict:
    """Rms and largest shift from `exact`, of the plain product and of `flow`."""
    if not shifts:
        return {}
    each = np.abs(np.array(shifts))  # (truth, method, parameter)
    rms, most = np.sqrt((each**2).mean(axis=(0, 2))), each.max(axis=(0, 2))
    return {"n_galaxy": n, "galaxy_rms": rms.tolist(), "galaxy_largest": most.tolist()}


def share(of_emulator: tuple, of_simulator: tuple) -> ScoreTest:
    """What the emulator adds: the same stars from both models, in the same units."""
    n = len(of_simulator[0])
    difference = of_simulator[0] - of_emulator[0][:n]
    return score_test(*finite(difference, of_emulator[1][:n]))


def finite(slope: np.ndarray, curvature: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Without the rows that the model has no star for."""
    good = np.isfinite(slope).all(axis=1)
    return slope[good], curvature[good]


def describe(tests: list[ScoreTest], shares: list[ScoreTest]) -> dict:
    """Rms over truths and parameters of what one star adds, less the chance in it."""

    def rms(each: list[ScoreTest]) -> float:
        square = np.mean([t.shift**2 - t.error**2 for t in each])
        return float(np.sqrt(max(square, 0.0)))

    width = np.array([t.width for t in tests])
    return {
        "network": rms(tests),
        "largest": float(np.max(np.abs([t.shift for t in tests]))),
        "error": float(np.max([t.error for t in tests])),
        "emulator": rms(shares) if shares else None,
        "width": [float(width.min()), float(width.mean()), float(width.max())],
    }


def keep(row: dict, config: Config) -> list[dict]:
    """The rows of these weights so far, with this one; on disk, too."""
    stem = config.out / f"coherent_error_{Path(config.weights).name}"
    path = stem.with_name(f"{stem.name}.json")
    rows = json.loads(path.read_text()) if path.exists() else []
    # numbers of other networks of this name do not apply
    same = [r for r in rows if r.get("weights_sha256") == row["weights_sha256"]]
    rows = [r for r in same if r["stars"] != row["stars"]]
    rows.append(row | {"truths": np.asarray(row["truths"]).round(4).tolist()})
    with whole_files(path, stem.with_name(f"{stem.name}.md")) as (as_json, as_table):
        as_json.write_text(json.dumps(rows, indent=1) + "\n")
        as_table.write_text(table(rows))
    return rows


def table(rows: list[dict]) -> str:
    """Markdown: shifts of the product in sigma at some numbers of stars."""
    head = " | ".join(f"N = {n}" for n in SHOWN)
    lines = [
        f"| stars | network's share [sigma, rms]: {head} | largest at N = 1000 "
        "| emulator's share at N = 1000 | width over scatter: least, mean, most "
        "| from `exact` at N: plain product, rms (largest) | `flow` |",
        "|---" * (len(SHOWN) + 6) + "|",
    ]
    for r in rows:
        cells = [f"{r['network'] * n**0.5:.2f}" for n in SHOWN]
        cells.append(f"{r['largest'] * 1000**0.5:.2f} ± {r['error'] * 1000**0.5:.2f}")
        known = r["emulator"] is not None
        cells.append(f"{r['emulator'] * 1000**0.5:.2f}" if known else "")
        cells.append(", ".join(f"{w:.3f}" for w in r["width"]))
        cells += galaxy_cells(r)
        lines.append(f"| {r['stars']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def galaxy_cells(row: dict) -> list[str]:
    """How far the plain product and `flow` are from `exact`; blank if not measured."""
    if "n_galaxy" not in row:
        return ["", ""]
    each = zip(row["galaxy_rms"], row["galaxy_largest"], strict=True)
    plain, flow = (f"{rms:.2f} ({most:.2f})" for rms, most in each)
    return [f"{row['n_galaxy']}: {plain}", flow]


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
