"""Make a table of mock stars of one galaxy with known parameters.

    python experiments/make_mock.py --truth -2.1 -2.6 --out mock.ecsv

The local parameters come from the paper prior and the abundances from the simulator;
noise is added once. The shipped example table is made by this script with its default
flags. Needs the published yield tables, or a table of your own (--yields FILE).
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import chemsbi_jax as cs
from chemsbi_jax import priors
from chemsbi_jax.catalog import write_stars
from chemsbi_jax.constants import N_GLOBAL, PARAMETERS
from chemsbi_jax.errors import InputError
from chemsbi_jax.noise import SIGMA, add_noise
from chemsbi_jax.scripts import check_flags, run_script, simulate_blocks

DECIMALS = 4  # of the table [dex]


@dataclass(frozen=True)
class Config:
    """Flags of this script."""

    out: Path = Path("chemsbi_jax/pretrained/stars/example_galaxy.ecsv")
    """Table to write (ECSV)."""
    truth: tuple[float, float] = (-2.1, -2.6)
    """alpha_imf and log10_n_ia of the galaxy."""
    n: int = 1000
    """Stars."""
    sigma: float = SIGMA
    """Noise of every abundance [dex]."""
    yields: str = "tng"
    """Yield set: tng, alternative, alternative-reference, or a table of your own."""
    seed: int = 2
    """Of everything random."""
    quiet: bool = False
    """No progress bar."""


def main(config: Config) -> cs.Stars:
    """Simulate the stars and write their table."""
    check_flags(config, n=1)
    if not config.sigma > 0.0:
        raise InputError(f"Expected --sigma above 0 dex; got {config.sigma:g}.")
    yields = cs.load_yields(config.yields)
    key_theta, key_noise = jax.random.split(jax.random.key(config.seed))
    theta = priors.sample(key_theta, cs.paper_prior(), config.n)
    theta = theta.at[:, :N_GLOBAL].set(jnp.asarray(config.truth))
    clean = simulate_blocks(theta, yields, cs.CLEAN, config.quiet)
    values = np.asarray(add_noise(key_noise, jnp.asarray(clean), config.sigma), float)
    values = values[np.isfinite(values).all(axis=1)].round(DECIMALS)
    if len(values) == 0:
        raise InputError(
            "Expected --truth of a galaxy that has stars; the model makes none with "
            f"{config.truth}."
        )
    unknown = np.full(len(values), np.nan)
    stars = cs.Stars(
        values,
        np.full_like(values, config.sigma),
        np.ones(values.shape, bool),
        unknown,
        unknown,
        np.arange(1, len(values) + 1).astype(str),
    )
    truth = dict(zip(PARAMETERS[:N_GLOBAL], config.truth, strict=True))
    meta = {
        "description": "Mock stars of one galaxy, made by experiments/make_mock.py",
        "truth": truth,
        "yields": config.yields,
        "noise_dex": config.sigma,
        "seed": config.seed,
    }
    write_stars(config.out, stars, meta)
    if not config.quiet:
        print(f"{len(values)} stars of a galaxy with {truth} are in {config.out}.")
    return stars


if __name__ == "__main__":
    sys.exit(run_script(main, Config))
