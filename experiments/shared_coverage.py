"""Coverage of the second interval on many galaxies at once.

    python experiments/shared_coverage.py --n-stars 100
    python experiments/shared_coverage.py --study sets --n-stars 100

`prior` draws all shared parameters from their priors. `sets` makes the stars with other
published yield sets, in equal shares, and infers with TNG and its yield factors: local
parameters from the prior, without zero points, scatter and outliers. Writes
shared_coverage_STUDY_N.json with the shares of galaxies inside the regions of 68 and
95 %, of both galaxy parameters, jointly, and of each other shared parameter.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from scipy import stats as distributions

import chemsbi_jax as cs
from chemsbi_jax import priors, results
from chemsbi_jax.cli.run import check_flags, run_script
from chemsbi_jax.constants import N_GLOBAL, YIELD_FACTORS
from chemsbi_jax.emulator import emulate_yields, load_yield_emulator
from chemsbi_jax.galaxy.hierarchical import SharedErrors, load_shared_network
from chemsbi_jax.galaxy.hierarchical.mock import LIMIT, draw_stars
from chemsbi_jax.galaxy.hierarchical.network import sample, summarise
from chemsbi_jax.galaxy.hierarchical.shared import make_layout, psi_names
from chemsbi_jax.galaxy.hierarchical.star import Model, make_stars
from chemsbi_jax.simulator.blocks import simulate_blocks

LEVELS = (0.68, 0.95)
SETS = ",".join(
    (
        "alternative",
        "nkt13+k10+w7",
        "lc18r_v0+k10+w7",
        "lc18r_v150+k10+wdd2",
        "lc18i_v150+k10+w7",
        "lc18m_v0+k10+w7",
    )
)


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("plots")
    """Folder for the table."""
    study: Literal["prior", "sets"] = "prior"
    """Where the galaxies come from."""
    sets: str = SETS
    """Yield sets of the galaxies of `sets`."""
    n_galaxies: int = 200
    """Galaxies, of all sets together."""
    n_stars: int = 100
    """Stars of a galaxy."""
    error: float = 0.05
    """Error of the abundances [dex]."""
    n_draws: int = 500
    """Draws of each posterior."""
    seed: int = 0
    """Of everything random."""
    quiet: bool = False
    """No progress bars, no table on the screen."""


def main(config: Config) -> dict:
    """Draw galaxies, infer each, count; returns the content of the JSON file."""
    check_flags(config, n_galaxies=10, n_stars=2, n_draws=50)
    key_galaxies, key_infer = jax.random.split(jax.random.key(config.seed))
    make = from_prior if config.study == "prior" else from_sets
    truth, stars, counts, labels = make(key_galaxies, config)
    draws = infer(key_infer, stars, counts, config.n_draws)
    content = {"study": config.study, "flags": vars(config) | {"out": str(config.out)}}
    content |= count(truth, draws)
    if config.study == "sets":
        each = {s: np.flatnonzero(labels == s) for s in dict.fromkeys(labels)}
        content["sets"] = {s: count(truth[i], draws[i]) for s, i in each.items()}
    path = config.out / f"shared_coverage_{config.study}_{config.n_stars}.json"
    results.write_summary(path, content)
    if not config.quiet:
        report(content)
    return content


def like_stars(n: int, error: float, prior):
    """Errors of stars with all eight abundances and no birth times."""
    unknown, shape = np.full(n, np.nan), (n, len(cs.ABUNDANCES))
    empty = cs.Stars(
        np.zeros(shape),
        np.full(shape, error),
        np.ones(shape, bool),
        unknown,
        unknown,
        np.arange(n).astype(str),
    )
    return make_stars(empty, SharedErrors(), prior)


def from_prior(key, config: Config):
    """Galaxies whose shared parameters are all drawn from their priors."""
    prior, settings = cs.paper_prior(), SharedErrors()
    layout = make_layout(settings, YIELD_FACTORS)
    model = Model(Partial(emulate_yields, emulator=load_yield_emulator()), prior)
    like = like_stars(config.n_stars, config.error, prior)

    @jax.jit
    def one(key):
        key_psi, key_stars = jax.random.split(key)
        psi = jax.random.normal(key_psi, layout.scale.shape)
        psi = jnp.clip(psi, -LIMIT, LIMIT)
        width = settings.outlier_width
        return psi, *draw_stars(key_stars, model, layout, psi, like, width)

    keys = jax.random.split(key, config.n_galaxies)
    psi, stars, counts = jax.lax.map(one, keys)
    return np.asarray(psi), stars, counts, np.full(len(keys), "tng")


def from_sets(key, config: Config):
    """Galaxies of other yield sets; their truth has the two galaxy parameters only."""
    names, prior = config.sets.split(","), cs.paper_prior()
    key_psi, key_local, key_noise = jax.random.split(key, 3)
    shape = (config.n_galaxies, config.n_stars)
    galaxy = jax.random.normal(key_psi, (config.n_galaxies, 1, N_GLOBAL))
    local = jax.random.normal(key_local, (*shape, 4))
    first = jnp.broadcast_to(galaxy, (*shape, N_GLOBAL))
    latents = jnp.concatenate([first, local], axis=-1)
    theta = np.asarray(priors.from_normal(prior, latents))
    labels = np.array([names[i % len(names)] for i in range(config.n_galaxies)])
    clean = np.empty((*shape, len(cs.ABUNDANCES)))
    for name in names:
        yields = cs.load_yields(name)
        columns = [yields.abundances.index(a) for a in cs.ABUNDANCES]
        rows = theta[labels == name].reshape(-1, theta.shape[-1])
        made = simulate_blocks(rows, yields, cs.CLEAN, config.quiet)
        clean[labels == name] = made[:, columns].reshape(-1, *clean.shape[1:])
    noise = config.error * np.asarray(jax.random.normal(key_noise, clean.shape))
    born = np.all(np.isfinite(clean), axis=-1)
    values = np.where(np.isfinite(clean), clean + noise, 0.0)
    values = np.pad(values, ((0, 0), (0, 0), (0, 1))).astype(np.float32)
    like = like_stars(config.n_stars, config.error, prior)
    stars = jax.tree.map(lambda x: np.broadcast_to(x, (len(values), *x.shape)), like)
    stars = stars._replace(values=values)
    return np.asarray(galaxy[:, 0]), stars, np.asarray(born, np.float32), labels


def infer(key, stars, counts, n_draws: int) -> np.ndarray:
    """Draws of psi of every galaxy (galaxy, draw, psi)."""
    network = load_shared_network().network
    ratio = jnp.ones(len(psi_names(YIELD_FACTORS)))

    @jax.jit
    def one(row):
        summary = summarise(network, *row[1:])
        return sample(row[0], network, summary, ratio, n_draws)

    keys = jax.random.split(key, len(counts))
    return np.asarray(jax.lax.map(one, (keys, stars, counts)))


def count(truth: np.ndarray, draws: np.ndarray) -> dict:
    """Shares inside regions, ranks, and widths in units of the prior's."""
    n, names = truth.shape[1], psi_names(YIELD_FACTORS)
    rank = (draws[..., :n] < truth[:, None]).mean(axis=1)
    galaxy = draws[..., :N_GLOBAL]
    away = truth[:, :N_GLOBAL] - galaxy.mean(axis=1)
    chi2 = [
        d @ np.linalg.solve(np.cov(x.T), d) for d, x in zip(away, galaxy, strict=True)
    ]
    regions = {
        str(level): {
            "joint": float(np.mean(chi2 < distributions.chi2.ppf(level, 2))),
            **dict(
                zip(
                    names,
                    (np.abs(rank - 0.5) < level / 2).mean(axis=0).tolist(),
                    strict=False,
                )
            ),
        }
        for level in LEVELS
    }
    p = [distributions.kstest(r, "uniform").pvalue for r in rank.T]
    return {
        "n": len(truth),
        "inside": regions,
        "median_chi2": float(np.median(chi2)),
        "rank_p": dict(zip(names, map(float, p), strict=False)),
        "sd": dict(zip(names, draws.std(axis=1).mean(axis=0).tolist(), strict=True)),
    }


def report(content: dict) -> None:
    """Coverage of the galaxy's parameters, and the least p of the ranks."""
    rows = {"all": content} | content.get("sets", {})
    for name, row in rows.items():
        keys = ("joint", "alpha_imf", "log10_n_ia")
        parts = []
        for level in LEVELS:
            shares = (f"{k} {row['inside'][str(level)][k]:.3f}" for k in keys)
            parts.append(f"{level}: {', '.join(shares)}")
        worst = min(row["rank_p"], key=row["rank_p"].get)
        print(
            f"{name}: {row['n']} galaxies; {'; '.join(parts)}; median chi2 "
            f"{row['median_chi2']:.2f}; ranks: least p {row['rank_p'][worst]:.4f} "
            f"({worst}); widths {row['sd']['alpha_imf']:.3f}, "
            f"{row['sd']['log10_n_ia']:.3f} of the prior"
        )


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
